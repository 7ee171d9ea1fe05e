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

mc_status mc_compile_buffer_limit(mc_compile *c, const mc_value *value, uint64_t *out) {
    uint32_t old = 0;
    if (mc_value_get(value, "per_request_buffer_limit_bytes") != NULL) { /* the deprecated spelling */
        MC_TRY(mc_value_read_u32(value, "per_request_buffer_limit_bytes", &old, c->error));
        *out = old;
    }
    return mc_value_read_u64(value, "request_body_buffer_limit", out, c->error);
}

mc_status mc_compile_about(mc_compile *c, const mc_value *value, mc_route *out) {
    MC_TRY(mc_compile_metadata(c, value, "metadata", &out->metadata));
    MC_TRY(mc_compile_route_tracing(c, value, out));
    MC_TRY(mc_compile_buffer_limit(c, value, &out->body_buffer_limit));
    return mc_read_text(c->arena, value, "stat_prefix", &out->stat_prefix, c->error);
}
