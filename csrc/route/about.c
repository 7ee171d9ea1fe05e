/* What routes, virtual hosts and tables carry for others to read: metadata, tracing, limits. */
#include "route/compile.h"

mc_status mc_compile_metadata(mc_compile *c, const mc_value *value, const char *field, const mc_value **out) {
    const mc_value *metadata, *namespaces;
    *out = NULL;
    MC_TRY(mc_value_read_object(value, field, &metadata, c->error));
    MC_TRY(
        mc_error_in(mc_value_read_object(metadata, "filter_metadata", &namespaces, c->error), c->error, "%s", field));
    return namespaces == NULL ? MC_OK : mc_value_copy(c->arena, namespaces, out);
}

mc_status mc_compile_metadata_match(mc_compile *c, const mc_value *value, const mc_value *above, const mc_value **out) {
    const mc_value *metadata, *own;
    *out = above;
    MC_TRY(mc_compile_metadata(c, value, "metadata_match", &metadata));
    own = mc_value_get(metadata, "envoy.lb");
    if (own == NULL || own->kind != MC_OBJECT) {
        return MC_OK;
    }
    if (above == NULL) {
        *out = own;
        return MC_OK;
    }
    /* The more specific value takes the place of the other (RT-22). */
    mc_value *merged = mc_arena_alloc(c->arena, sizeof *merged);
    mc_value *items = mc_arena_alloc(c->arena, (above->count + own->count) * sizeof *items);
    mc_slice *names = mc_arena_alloc(c->arena, (above->count + own->count) * sizeof *names);
    if (merged == NULL || items == NULL || names == NULL) {
        return MC_ENOMEM;
    }
    *merged = (mc_value){.kind = MC_OBJECT, .items = items, .names = names, .count = 0};
    for (int pass = 0; pass < 2; pass++) {
        const mc_value *from = pass == 0 ? above : own;
        for (size_t i = 0; i < from->count; i++) {
            size_t at = 0;
            while (at < merged->count && !mc_slice_eq(names[at], from->names[i])) {
                at++;
            }
            names[at] = from->names[i];
            items[at] = from->items[i];
            merged->count += at == merged->count;
        }
    }
    *out = merged;
    return MC_OK;
}

mc_status mc_compile_buffer_limits(mc_compile *c, const mc_value *value, mc_buffer_limits *out) {
    uint32_t old = 0;
    *out = (mc_buffer_limits){UINT64_MAX, UINT64_MAX};
    if (mc_value_get(value, "per_request_buffer_limit_bytes") != NULL) {
        MC_TRY(mc_value_read_u32(value, "per_request_buffer_limit_bytes", &old, c->error));
        out->old = old;
    }
    return mc_value_read_u64(value, "request_body_buffer_limit", &out->body, c->error);
}

/* RF-28. */
static uint64_t buffer_limit(const mc_buffer_limits *route, const mc_buffer_limits *host) {
    const uint64_t limits[] = {route->body, host->body, route->old, host->old};
    size_t i = 0;
    while (i < 3 && limits[i] == UINT64_MAX) {
        i++;
    }
    return limits[i];
}

mc_status mc_compile_about(mc_compile *c, const mc_value *value, const mc_buffer_limits *host, mc_route *out) {
    mc_buffer_limits own;
    MC_TRY(mc_compile_metadata(c, value, "metadata", &out->metadata));
    MC_TRY(mc_compile_route_tracing(c, value, out));
    MC_TRY(mc_compile_buffer_limits(c, value, &own));
    out->body_buffer_limit = buffer_limit(&own, host);
    return mc_read_text(c->arena, value, "stat_prefix", &out->stat_prefix, c->error);
}
