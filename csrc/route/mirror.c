/* Mirroring and internal redirects: what a route says of copies of its requests, and of redirects it follows itself (RT-55, RT-56). */
#include "route/compile.h"
#include "route/mutation_list.h"

/* --- mirroring --- */

static mc_status compile_mirror(mc_compile *c, const mc_value *value, mc_mirror_policy *out) {
    mc_slice name = MC_SLICE_NONE, header = MC_SLICE_NONE;
    MC_TRY(mc_value_read_string(value, "cluster", &name, c->error));
    MC_TRY(mc_value_read_string(value, "cluster_header", &header, c->error));
    if ((name.n > 0) == (header.n > 0)) {
        return mc_error_set(c->error, MC_EINVAL, "", "must have either cluster or cluster_header");
    }
    MC_TRY(mc_dup_lower(c->arena, header, &out->cluster_header));
    out->cluster_id = MC_NO_CLUSTER;
    if (name.n > 0 && c->table != NULL) {
        MC_TRY(mc_compile_cluster(c, value, "cluster", &out->cluster, &out->cluster_id));
    } else {
        MC_TRY(mc_arena_dup(c->arena, name, &out->cluster));
    }
    out->fraction = MC_FRACTION_ALL;
    MC_TRY(mc_fraction_read(c->arena, value, "runtime_fraction", &out->fraction, c->error));
    MC_TRY(mc_read_tri(value, "trace_sampled", &out->trace_sampled, c->error));
    MC_TRY(mc_value_read_bool(value, "disable_shadow_host_suffix_append", &out->keep_host, c->error));
    MC_TRY(mc_read_text(c->arena, value, "host_rewrite_literal", &out->host_rewrite_literal, c->error));
    if (mc_value_get(value, "request_headers_mutations") == NULL) {
        return MC_OK;
    }
    mc_mutation_list *mutations = mc_arena_zalloc(c->arena, sizeof *mutations);
    out->mutations = mutations;
    return mutations == NULL ? MC_ENOMEM
                             : mc_mutation_list_compile(c->arena, value, "request_headers_mutations",
                                                        MC_HEADERS_OF_REQUEST, mutations, c->error);
}

mc_status mc_compile_mirrors(mc_compile *c, const mc_value *value, mc_mirror_policies *out) {
    const mc_value *items;
    size_t count;
    MC_TRY(mc_value_read_list(value, "request_mirror_policies", &items, &count, c->error));
    if (count == 0) {
        return MC_OK;
    }
    mc_mirror_policy *policies = mc_arena_zalloc(c->arena, count * sizeof *policies);
    if (policies == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(compile_mirror(c, &items[i], &policies[i]), c->error, "request_mirror_policies[%zu]", i));
    }
    *out = (mc_mirror_policies){policies, (uint32_t)count};
    return MC_OK;
}

mc_status mc_cluster_policies_compile(mc_arena *arena, const mc_value *options, mc_cluster_policies *out,
                                      mc_error *error) {
    mc_compile c = {.arena = arena, .error = error};
    const mc_value *policy, *outliers;
    *out = (mc_cluster_policies){.retry = NULL};
    MC_TRY(mc_value_read_object(options, "retry_policy", &policy, error));
    if (policy != NULL) {
        MC_TRY(mc_error_in(mc_compile_retry_policy(&c, policy, &out->retry), error, "retry_policy"));
    }
    MC_TRY(mc_value_read_object(options, "outlier_detection", &outliers, error));
    MC_TRY(mc_error_in(mc_match_predicate_compile(arena, outliers, "error_matcher", &out->error_matcher, error), error,
                       "outlier_detection"));
    if (mc_value_get(options, "hash_policy") != NULL) {
        MC_TRY(mc_hash_policies_compile(mc_value_get(options, "hash_policy"), arena, &out->hash, error));
    }
    return mc_compile_mirrors(&c, options, &out->mirrors);
}

/* --- internal redirects --- */

static mc_status compile_codes(mc_compile *c, const mc_value *value, mc_internal_redirect_policy *out) {
    const mc_value *items;
    size_t count;
    MC_TRY(mc_value_read_list(value, "redirect_response_codes", &items, &count, c->error));
    if (count > 5) {
        return mc_error_set(c->error, MC_EINVAL, "redirect_response_codes", "must have at most 5 entries");
    }
    out->codes = count == 0 ? 1u << 2 : 0; /* 302 */
    for (size_t i = 0; i < count; i++) {
        for (unsigned code = 301; code <= 308; code++) {
            /* Others are no redirects and say nothing. */
            if (items[i].kind == MC_NUMBER && items[i].number == code && (code <= 303 || code >= 307)) {
                out->codes |= 1u << (code - 300);
            }
        }
    }
    return MC_OK;
}

static mc_status compile_predicate(mc_compile *c, const mc_value *value, mc_redirect_predicate *out) {
    static const mc_name_value kinds[] = {
        {"envoy.extensions.internal_redirect.allow_listed_routes.v3.AllowListedRoutesConfig",
         MC_REDIRECT_ALLOW_LISTED_ROUTES},
        {"envoy.extensions.internal_redirect.previous_routes.v3.PreviousRoutesConfig", MC_REDIRECT_PREVIOUS_ROUTES},
        {"envoy.extensions.internal_redirect.safe_cross_scheme.v3.SafeCrossSchemeConfig",
         MC_REDIRECT_SAFE_CROSS_SCHEME},
        {NULL, 0}};
    const mc_value *config;
    uint64_t kind;
    MC_TRY(mc_read_extension(value, "typed_config", kinds, &config, &kind, c->error));
    out->kind = (mc_redirect_predicate_kind)kind;
    return mc_error_in(
        mc_read_texts(c->arena, config, "allowed_route_names", &out->routes, &out->route_count, c->error), c->error,
        "typed_config");
}

static mc_status compile_predicates(mc_compile *c, const mc_value *value, mc_internal_redirect_policy *out) {
    const mc_value *items;
    size_t count;
    MC_TRY(mc_value_read_list(value, "predicates", &items, &count, c->error));
    mc_redirect_predicate *predicates = mc_arena_zalloc(c->arena, count * sizeof *predicates);
    if (predicates == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(compile_predicate(c, &items[i], &predicates[i]), c->error, "predicates[%zu]", i));
    }
    out->predicates = predicates;
    out->predicate_count = (uint32_t)count;
    return MC_OK;
}

static mc_status compile_copied(mc_compile *c, const mc_value *value, mc_internal_redirect_policy *out) {
    const mc_slice *names;
    MC_TRY(mc_read_texts(c->arena, value, "response_headers_to_copy", &names, &out->header_to_copy_count, c->error));
    for (uint32_t i = 0; i < out->header_to_copy_count; i++) {
        if (names[i].n > 0 && (names[i].p[0] == ':' || mc_slice_ieq(names[i], MC_SLICE("host")))) {
            return mc_error_set(c->error, MC_EINVAL, "response_headers_to_copy", "must not be host or begin with ':'");
        }
        MC_TRY(mc_dup_lower(c->arena, names[i], (mc_slice *)&names[i]));
    }
    out->headers_to_copy = names;
    return MC_OK;
}

static mc_status compile_policy(mc_compile *c, const mc_value *value, mc_internal_redirect_policy *out) {
    out->max_internal_redirects = 1;
    MC_TRY(mc_value_read_u32(value, "max_internal_redirects", &out->max_internal_redirects, c->error));
    MC_TRY(mc_value_read_bool(value, "allow_cross_scheme_redirect", &out->allow_cross_scheme, c->error));
    MC_TRY(compile_codes(c, value, out));
    MC_TRY(compile_predicates(c, value, out));
    return compile_copied(c, value, out);
}

mc_status mc_compile_internal_redirects(mc_compile *c, const mc_value *value, const mc_internal_redirect_policy **out) {
    const mc_value *policy;
    mc_slice action = MC_SLICE_NONE;
    MC_TRY(mc_value_read_object(value, "internal_redirect_policy", &policy, c->error));
    MC_TRY(mc_value_read_string(value, "internal_redirect_action", &action, c->error));
    bool deprecated = policy == NULL && mc_slice_eq(action, MC_SLICE("HANDLE_INTERNAL_REDIRECT"));
    if (policy == NULL && !deprecated) {
        return MC_OK;
    }
    mc_internal_redirect_policy *made = mc_arena_zalloc(c->arena, sizeof *made);
    if (made == NULL) {
        return MC_ENOMEM;
    }
    *out = made;
    return policy != NULL ? mc_error_in(compile_policy(c, policy, made), c->error, "internal_redirect_policy")
                          : compile_policy(c, value, made); /* it has max_internal_redirects and none of the rest */
}
