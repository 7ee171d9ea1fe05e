#include "route/cors.h"

#include "route/compile.h"

static mc_status compile_origins(mc_arena *arena, const mc_value *value, mc_cors_policy *out, mc_error *error) {
    const mc_value *items;
    size_t count;
    MC_TRY(mc_value_read_list(value, "allow_origin_string_match", &items, &count, error));
    mc_string_match *origins = mc_arena_zalloc(arena, count * sizeof *origins);
    if (origins == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(mc_string_match_compile(arena, &items[i], &origins[i], error), error,
                           "allow_origin_string_match[%zu]", i));
    }
    out->origins = origins;
    out->origin_count = (uint32_t)count;
    return MC_OK;
}

mc_status mc_cors_policy_compile(mc_arena *arena, const mc_value *value, const mc_cors_policy **out, mc_error *error) {
    mc_cors_policy *policy = mc_arena_zalloc(arena, sizeof *policy);
    if (policy == NULL) {
        return MC_ENOMEM;
    }
    MC_TRY(compile_origins(arena, value, policy, error));
    MC_TRY(mc_read_text(arena, value, "allow_methods", &policy->allow_methods, error));
    MC_TRY(mc_read_text(arena, value, "allow_headers", &policy->allow_headers, error));
    MC_TRY(mc_read_text(arena, value, "expose_headers", &policy->expose_headers, error));
    MC_TRY(mc_read_text(arena, value, "max_age", &policy->max_age, error));
    MC_TRY(mc_read_tri(value, "allow_credentials", &policy->allow_credentials, error));
    MC_TRY(mc_read_tri(value, "allow_private_network_access", &policy->allow_private_network_access, error));
    MC_TRY(mc_read_tri(value, "forward_not_matching_preflights", &policy->forward_not_matching_preflights, error));
    policy->has_filter_enabled = mc_value_get(value, "filter_enabled") != NULL;
    policy->has_shadow_enabled = mc_value_get(value, "shadow_enabled") != NULL;
    policy->filter_enabled = MC_FRACTION_ALL;
    policy->shadow_enabled = (mc_fraction){0, 100, MC_SLICE_NONE};
    MC_TRY(mc_fraction_read(arena, value, "filter_enabled", &policy->filter_enabled, error));
    MC_TRY(mc_fraction_read(arena, value, "shadow_enabled", &policy->shadow_enabled, error));
    *out = policy;
    return MC_OK;
}

int mc_cors_origin_allowed(const mc_cors_policy *policy, mc_slice origin) {
    for (uint32_t i = 0; i < policy->origin_count; i++) {
        /* What matches "*" lets everyone in. */
        int holds = mc_string_match_test(&policy->origins[i], MC_SLICE("*"));
        if (holds == 0) {
            holds = mc_string_match_test(&policy->origins[i], origin);
        }
        if (holds != 0) {
            return holds;
        }
    }
    return 0;
}

mc_status mc_compile_cors(mc_compile *c, const mc_value *value, const mc_cors_policy **out) {
    const mc_value *cors;
    MC_TRY(mc_value_read_object(value, "cors", &cors, c->error));
    return cors == NULL ? MC_OK : mc_error_in(mc_cors_policy_compile(c->arena, cors, out, c->error), c->error, "cors");
}
