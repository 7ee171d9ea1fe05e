#include "http/set_cookie.h"

static mc_status read_attribute(mc_arena *arena, const mc_value *attribute, mc_slice *all, mc_error *error) {
    mc_slice name = MC_SLICE_NONE, value = MC_SLICE_NONE;
    MC_TRY(mc_value_read_string(attribute, "name", &name, error));
    MC_TRY(mc_value_read_string(attribute, "value", &value, error));
    const mc_slice parts[] = {*all, MC_SLICE("; "), name, value.n > 0 ? MC_SLICE("=") : MC_SLICE_NONE, value};
    return mc_arena_concat(arena, parts, 5, all);
}

mc_status mc_set_cookie_read(mc_arena *arena, const mc_value *cookie, mc_set_cookie *out, mc_error *error) {
    const mc_value *attributes;
    size_t count;
    uint64_t ttl_ms = 0;
    *out = (mc_set_cookie){.has_ttl = mc_value_get(cookie, "ttl") != NULL};
    MC_TRY(mc_read_name(arena, cookie, "name", &out->name, error));
    MC_TRY(mc_read_text(arena, cookie, "path", &out->path, error));
    MC_TRY(mc_value_read_duration_ms(cookie, "ttl", &ttl_ms, error));
    out->ttl_s = ttl_ms / 1000;
    MC_TRY(mc_value_read_list(cookie, "attributes", &attributes, &count, error));
    for (size_t i = 0; i < count; i++) {
        MC_TRY(
            mc_error_in(read_attribute(arena, &attributes[i], &out->attributes, error), error, "attributes[%zu]", i));
    }
    return MC_OK;
}

mc_status mc_set_cookie_write(const mc_set_cookie *cookie, mc_slice value, mc_arena *arena, mc_slice *out) {
    char seconds[20];
    const mc_slice age = mc_slice_of(seconds, cookie->ttl_s == 0 ? 0 : mc_format_u64(seconds, cookie->ttl_s));
    const mc_slice parts[] = {cookie->name,
                              MC_SLICE("=\""),
                              value,
                              MC_SLICE("\""),
                              age.n > 0 ? MC_SLICE("; Max-Age=") : MC_SLICE_NONE,
                              age,
                              cookie->path.n > 0 ? MC_SLICE("; Path=") : MC_SLICE_NONE,
                              cookie->path,
                              cookie->attributes,
                              MC_SLICE("; HttpOnly")};
    return mc_arena_concat(arena, parts, sizeof parts / sizeof parts[0], out);
}
