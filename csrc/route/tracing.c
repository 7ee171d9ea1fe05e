/* Tracing and Decorator of a route (TR-1, TR-2, TR-4). */
#include "route/tracing.h"

#include "route/compile.h"

static mc_status read_sampling(const mc_value *object, const char *field, const char *runtime_key, mc_fraction *out,
                               mc_error *error) {
    const mc_value *percent;
    *out = MC_FRACTION_ALL;
    out->runtime_key = mc_slice_cstr(runtime_key);
    MC_TRY(mc_value_read_object(object, field, &percent, error));
    return percent == NULL ? MC_OK : mc_error_in(mc_fraction_read_percent(percent, out, error), error, "%s", field);
}

mc_status mc_read_operation(mc_arena *arena, const mc_value *object, const char *field, const mc_format **out,
                            mc_error *error) {
    mc_slice text = MC_SLICE_NONE;
    *out = NULL;
    MC_TRY(mc_value_read_string(object, field, &text, error));
    return text.n == 0 ? MC_OK : mc_error_in(mc_format_compile_text(arena, text, true, out, error), error, "%s", field);
}

static mc_status compile_tracing(mc_arena *arena, const mc_value *value, mc_route_tracing *out, mc_error *error) {
    MC_TRY(read_sampling(value, "client_sampling", MC_TRACING_CLIENT_KEY, &out->client_sampling, error));
    MC_TRY(read_sampling(value, "random_sampling", MC_TRACING_RANDOM_KEY, &out->random_sampling, error));
    MC_TRY(read_sampling(value, "overall_sampling", MC_TRACING_OVERALL_KEY, &out->overall_sampling, error));
    const mc_value *tags = mc_value_get(value, "custom_tags");
    MC_TRY(tags == NULL ? MC_OK : mc_value_copy(arena, tags, &out->custom_tags));
    MC_TRY(mc_read_text(arena, value, "operation", &out->operation, error));
    MC_TRY(mc_read_text(arena, value, "upstream_operation", &out->upstream_operation, error));
    MC_TRY(mc_read_operation(arena, value, "operation", &out->operation_format, error));
    MC_TRY(mc_read_operation(arena, value, "upstream_operation", &out->upstream_operation_format, error));
    return mc_custom_tags_compile(arena, value, &out->tags, error);
}

mc_status mc_compile_route_tracing(mc_compile *c, const mc_value *value, mc_route *out) {
    const mc_value *tracing, *decorator;
    MC_TRY(mc_value_read_object(value, "tracing", &tracing, c->error));
    MC_TRY(mc_value_read_object(value, "decorator", &decorator, c->error));
    if (tracing != NULL) {
        mc_route_tracing *compiled = mc_arena_zalloc(c->arena, sizeof *compiled);
        if (compiled == NULL) {
            return MC_ENOMEM;
        }
        MC_TRY(mc_error_in(compile_tracing(c->arena, tracing, compiled, c->error), c->error, "tracing"));
        out->tracing = compiled;
    }
    if (decorator != NULL) {
        mc_decorator *compiled = mc_arena_zalloc(c->arena, sizeof *compiled);
        if (compiled == NULL) {
            return MC_ENOMEM;
        }
        compiled->propagate = true;
        MC_TRY(mc_error_in(mc_read_text(c->arena, decorator, "operation", &compiled->operation, c->error), c->error,
                           "decorator"));
        MC_TRY(mc_error_in(mc_value_read_bool(decorator, "propagate", &compiled->propagate, c->error), c->error,
                           "decorator"));
        out->decorator = compiled;
    }
    return MC_OK;
}
