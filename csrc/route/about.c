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

static mc_status read_sampling(mc_compile *c, const mc_value *value, const char *field, mc_fraction *out) {
    const mc_value *percent;
    *out = MC_FRACTION_ALL;
    MC_TRY(mc_value_read_object(value, field, &percent, c->error));
    return percent == NULL ? MC_OK
                           : mc_error_in(mc_fraction_read_percent(percent, out, c->error), c->error, "%s", field);
}

static mc_status read_tracing(mc_compile *c, const mc_value *value, mc_route_tracing *out) {
    const mc_value *tags = mc_value_get(value, "custom_tags");
    MC_TRY(read_sampling(c, value, "client_sampling", &out->client_sampling));
    MC_TRY(read_sampling(c, value, "random_sampling", &out->random_sampling));
    MC_TRY(read_sampling(c, value, "overall_sampling", &out->overall_sampling));
    if (tags != NULL) {
        MC_TRY(mc_value_copy(c->arena, tags, &out->custom_tags));
    }
    MC_TRY(mc_read_text(c->arena, value, "operation", &out->operation, c->error));
    return mc_read_text(c->arena, value, "upstream_operation", &out->upstream_operation, c->error);
}

static mc_status compile_tracing(mc_compile *c, const mc_value *value, mc_route *out) {
    const mc_value *tracing;
    MC_TRY(mc_value_read_object(value, "tracing", &tracing, c->error));
    if (tracing == NULL) {
        return MC_OK;
    }
    mc_route_tracing *made = mc_arena_zalloc(c->arena, sizeof *made);
    if (made == NULL) {
        return MC_ENOMEM;
    }
    out->tracing = made;
    return mc_error_in(read_tracing(c, tracing, made), c->error, "tracing");
}

static mc_status compile_decorator(mc_compile *c, const mc_value *value, mc_route *out) {
    const mc_value *decorator;
    MC_TRY(mc_value_read_object(value, "decorator", &decorator, c->error));
    if (decorator == NULL) {
        return MC_OK;
    }
    mc_decorator *made = mc_arena_zalloc(c->arena, sizeof *made);
    if (made == NULL) {
        return MC_ENOMEM;
    }
    out->decorator = made;
    made->propagate = true;
    MC_TRY(
        mc_error_in(mc_read_name(c->arena, decorator, "operation", &made->operation, c->error), c->error, "decorator"));
    return mc_error_in(mc_value_read_bool(decorator, "propagate", &made->propagate, c->error), c->error, "decorator");
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
    MC_TRY(compile_tracing(c, value, out));
    MC_TRY(compile_decorator(c, value, out));
    MC_TRY(mc_compile_buffer_limit(c, value, &out->body_buffer_limit));
    return mc_read_text(c->arena, value, "stat_prefix", &out->stat_prefix, c->error);
}
