/* rbac (FL-15 to FL-17): policies of permissions and principals, enforced or only counted in their shadow. */
#include "proxy/filters/rbac.h"

#include "base/value_edit.h"
#include "cel/cel.h"
#include "proxy/filters/rbac_rule.h"
#include "proxy/stream.h"
#include "route/matcher_tree.h"

/* Who is decided on, and where it is told. */
typedef struct asking {
    mc_rbac_subject subject;
    mc_connection_verdict *verdict; /* of a connection */
    mc_slab *slab;
} asking;

/* --- policies ---------------------------------------------------------------------------------------------------------- */

typedef struct policy {
    mc_slice name;
    const char *details; /* what a denial by it is told as */
    const mc_rbac_rule *permissions, *principals;
    const mc_cel_program *condition; /* NULL: none */
    mc_stat allowed, denied, shadow_allowed, shadow_denied;
} policy;

typedef enum action { ALLOW, DENY, LOG } action;

typedef struct engine {
    bool set;
    action action;
    policy *policies; /* in the order of their names */
    uint32_t count;
    const mc_matcher_tree *tree;     /* takes the place of policies (FL-15): leads to an outcome; NULL: none */
    struct outcome *outcomes;        /* all that it may lead to */
    bool logs;                       /* some outcome of the tree is LOG */
    mc_slice policy_key, result_key; /* of the metadata */
} engine;

/* What a tree leads to: a policy by name alone, and what becomes of the request. */
typedef struct outcome {
    policy policy;
    action action;
    struct outcome *next;
} outcome;

typedef struct engines {
    engine enforced, shadow;
    bool track_rules;
    mc_slice prefix, shadow_prefix; /* of metadata, as given */
    mc_slice scope, shadow_scope;   /* of stats: the chain's, also for a route */
} engines;

#define ENFORCED(X) X(allowed) X(denied)
#define SHADOW(X)   X(shadow_allowed) X(shadow_denied)

typedef struct config {
    engines engines; /* first: a route's take their place */
    struct {
        ENFORCED(MC_STAT_FIELD)
        SHADOW(MC_STAT_FIELD)
    } stats;
} config;

static const mc_slice space = MC_SLICE_INIT("envoy.filters.http.rbac");
static const mc_slice common_space = MC_SLICE_INIT("envoy.common"), hint_key = MC_SLICE_INIT("access_log_hint");

static mc_status matching_policy(const engine *engine, const mc_rbac_subject *subject, const policy **out) {
    *out = NULL;
    for (uint32_t i = 0; i < engine->count && *out == NULL; i++) {
        const policy *policy = &engine->policies[i];
        int holds = mc_rbac_rule_holds(policy->permissions, subject);
        holds = holds == 1 ? mc_rbac_rule_holds(policy->principals, subject) : holds;
        if (holds == 1 && policy->condition != NULL) {
            holds = mc_cel_holds(policy->condition, subject->info, subject->request.arena);
        }
        if (holds < 0) {
            return (mc_status)holds;
        }
        *out = holds == 1 ? policy : NULL;
    }
    return MC_OK;
}

static mc_status tell_log(const asking *asking, bool on) {
    mc_value hint = mc_value_bool(on);
    if (asking->subject.filter == NULL) {
        asking->verdict->hinted = true;
        asking->verdict->hint = on;
        return MC_OK;
    }
    return mc_filter_set_metadata(asking->subject.filter, common_space, hint_key, &hint);
}

/* FL-15: what the tree does not find is denied. */
static mc_status ask_tree(const engine *engine, const asking *asking, bool shadow, const policy **policy,
                          bool *allowed) {
    const void *found = NULL;
    MC_TRY(mc_matcher_tree_find(engine->tree, &asking->subject.input, &found));
    const outcome *outcome = found;
    *policy = outcome == NULL ? NULL : &outcome->policy;
    *allowed = outcome != NULL && outcome->action != DENY;
    return engine->logs && !shadow ? tell_log(asking, outcome != NULL && outcome->action == LOG) : MC_OK;
}

static mc_status ask_policies(const engine *engine, const asking *asking, bool shadow, const policy **policy,
                              bool *allowed) {
    MC_TRY(matching_policy(engine, &asking->subject, policy));
    *allowed = engine->action == LOG || (*policy != NULL) == (engine->action == ALLOW);
    return engine->action == LOG && !shadow ? tell_log(asking, *policy != NULL) : MC_OK;
}

/* Tells the metadata, and whether the request is allowed. */
static mc_status decide(const engine *engine, const asking *asking, bool shadow, const policy **policy, bool *allowed) {
    MC_TRY((engine->tree != NULL ? ask_tree : ask_policies)(engine, asking, shadow, policy, allowed));
    if (asking->subject.filter == NULL) {
        if (shadow) {
            asking->verdict->shadowed = true;
            asking->verdict->shadow_allowed = *allowed;
            asking->verdict->shadow_policy = *policy == NULL ? MC_SLICE_NONE : (*policy)->name;
        }
        return MC_OK;
    }
    if (*policy != NULL) {
        mc_value name = mc_value_text((*policy)->name);
        MC_TRY(mc_filter_set_metadata(asking->subject.filter, space, engine->policy_key, &name));
    }
    mc_value result = mc_value_text(*allowed ? MC_SLICE("allowed") : MC_SLICE("denied"));
    return mc_filter_set_metadata(asking->subject.filter, space, engine->result_key, &result);
}

static mc_status run_shadow(const engines *engines, const config *config, const asking *asking) {
    const policy *policy;
    bool allowed;
    mc_slab *slab = asking->slab;
    MC_TRY(decide(&engines->shadow, asking, true, &policy, &allowed));
    mc_counter_inc(slab, allowed ? config->stats.shadow_allowed : config->stats.shadow_denied);
    if (engines->track_rules && policy != NULL) {
        mc_counter_inc(slab, allowed ? policy->shadow_allowed : policy->shadow_denied);
    }
    return MC_OK;
}

/* *denied: by what; NULL: it is allowed. */
static mc_status run_enforced(const engines *engines, const config *config, const asking *asking, const char **denied) {
    const policy *policy;
    bool allowed;
    mc_slab *slab = asking->slab;
    MC_TRY(decide(&engines->enforced, asking, false, &policy, &allowed));
    mc_counter_inc(slab, allowed ? config->stats.allowed : config->stats.denied);
    if (engines->track_rules && policy != NULL) {
        mc_counter_inc(slab, allowed ? policy->allowed : policy->denied);
    }
    *denied = allowed ? NULL : policy == NULL ? "rbac_access_denied_matched_policy[none]" : policy->details;
    return MC_OK;
}

static mc_status run(const engines *engines, const config *config, const asking *asking, const char **denied) {
    *denied = NULL;
    MC_TRY(engines->shadow.set ? run_shadow(engines, config, asking) : MC_OK);
    return engines->enforced.set ? run_enforced(engines, config, asking, denied) : MC_OK;
}

static mc_filter_status decode_headers(mc_filter *filter, mc_headers *headers, bool end_stream) {
    const config *config = mc_filter_get_config(filter);
    const engines *engines = mc_filter_route_config(filter);
    asking asking;
    mc_rbac_subject *subject = &asking.subject;
    const char *denied;
    if (!engines->enforced.set && !engines->shadow.set) {
        return MC_FILTER_CONTINUE;
    }
    subject->filter = filter;
    asking.slab = mc_filter_slab(filter);
    subject->info = mc_filter_info(filter);
    if (subject->info == NULL) {
        return mc_filter_out_of_memory(filter);
    }
    mc_filter_match_input(filter, subject->info, &subject->request, &subject->input);
    if (run(engines, config, &asking, &denied) != MC_OK) {
        return mc_filter_out_of_memory(filter);
    }
    if (denied != NULL) {
        mc_filter_reply(filter, &(mc_reply){.status = 403,
                                            .body = MC_SLICE_INIT("RBAC: access denied"),
                                            .details_class = "rbac_access_denied_matched_policy",
                                            .details = denied});
    }
    return denied != NULL ? MC_FILTER_STOP : MC_FILTER_CONTINUE;
}

/* --- compiling ------------------------------------------------------------------------------------------------------------ */

static mc_status name_details(mc_filter_compile *c, policy *policy) {
    mc_slice parts[] = {MC_SLICE("rbac_access_denied_matched_policy["), policy->name, {"]", 2}}, text;
    MC_TRY(mc_arena_concat(c->arena, parts, 3, &text));
    for (char *p = (char *)text.p; *p != 0; p++) {
        *p = *p == ' ' ? '_' : *p;
    }
    policy->details = text.p;
    return MC_OK;
}

static mc_stat policy_stat(mc_filter_compile *c, mc_slice prefix, mc_slice policy, const char *name) {
    mc_slice parts[] = {prefix, MC_SLICE("policy."), policy, MC_SLICE(".")}, scope;
    return mc_arena_concat(c->arena, parts, 4, &scope) == MC_OK ? mc_filter_stat(c, MC_COUNTER, scope, name) : 0;
}

/* checked_condition is looked at by nobody, as in Envoy. */
static mc_status read_condition(mc_filter_compile *c, const mc_value *value, policy *out) {
    const mc_value *condition;
    mc_cel_options options;
    MC_TRY(mc_cel_options_read(value, "cel_config", &options, c->error));
    MC_TRY(mc_value_read_object(value, "condition", &condition, c->error));
    options.hides_node = true;
    return condition == NULL
               ? MC_OK
               : mc_error_in(mc_cel_compile_expr(c->arena, condition, &options, &out->condition, c->error), c->error,
                             "condition");
}

static mc_status read_policy(mc_filter_compile *c, mc_slice name, const mc_value *value, policy *out) {
    MC_TRY(mc_arena_dup(c->arena, name, &out->name));
    MC_TRY(name_details(c, out));
    MC_TRY(mc_rbac_rule_compile(c, value, "permissions", &out->permissions));
    MC_TRY(mc_rbac_rule_compile(c, value, "principals", &out->principals));
    return read_condition(c, value, out);
}

static void sort_by_name(policy *policies, size_t count) {
    for (size_t i = 1; i < count; i++) {
        policy moved = policies[i];
        size_t at = i;
        for (; at > 0 && mc_slice_cmp(policies[at - 1].name, moved.name) > 0; at--) {
            policies[at] = policies[at - 1];
        }
        policies[at] = moved;
    }
}

/* "rbac.<prefix>." with a dot behind a prefix that has none. */
static mc_status scope_of(mc_filter_compile *c, const mc_value *value, const char *field, mc_slice *prefix,
                          mc_slice *scope) {
    *prefix = MC_SLICE_NONE;
    MC_TRY(mc_read_text(c->arena, value, field, prefix, c->error));
    const bool dot = prefix->n > 0 && prefix->p[prefix->n - 1] != '.';
    mc_slice parts[] = {MC_SLICE("rbac."), *prefix, dot ? MC_SLICE(".") : MC_SLICE_NONE};
    return mc_arena_concat(c->arena, parts, 3, scope);
}

static mc_status read_engine(mc_filter_compile *c, const mc_value *rules, engine *out) {
    static const mc_name_value actions[] = {{"ALLOW", ALLOW}, {"DENY", DENY}, {"LOG", LOG}, {NULL, 0}};
    const mc_value *policies;
    uint64_t action = ALLOW;
    out->set = true;
    MC_TRY(mc_read_enum(rules, "action", actions, &action, c->error));
    out->action = (enum action)action;
    MC_TRY(mc_value_read_object(rules, "policies", &policies, c->error));
    const size_t count = policies == NULL ? 0 : policies->count;
    out->policies = mc_arena_zalloc(c->arena, count * sizeof *out->policies);
    if (out->policies == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(read_policy(c, policies->names[i], &policies->items[i], &out->policies[i]), c->error,
                           "policies[\"%.*s\"]", MC_SLICE_ARG(policies->names[i])));
    }
    out->count = (uint32_t)count;
    sort_by_name(out->policies, count);
    return MC_OK;
}

typedef struct outcome_context {
    mc_filter_compile *c;
    engine *engine;
} outcome_context;

static mc_status read_outcome(void *ctx, const mc_value *extension, const void **out, mc_error *error) {
    static const mc_name_value actions[] = {{"ALLOW", ALLOW}, {"DENY", DENY}, {"LOG", LOG}, {NULL, 0}};
    const outcome_context *context = ctx;
    const mc_value *typed;
    uint64_t action = ALLOW;
    outcome *outcome = mc_arena_zalloc(context->c->arena, sizeof *outcome);
    if (outcome == NULL) {
        return MC_ENOMEM;
    }
    MC_TRY(mc_value_read_object(extension, "typed_config", &typed, error));
    if (!mc_slice_eq(mc_any_type(typed), MC_SLICE("envoy.config.rbac.v3.Action"))) {
        return mc_error_set(error, MC_EINVAL, "typed_config", "must be an envoy.config.rbac.v3.Action");
    }
    MC_TRY(mc_error_in(mc_read_name(context->c->arena, typed, "name", &outcome->policy.name, error), error,
                       "typed_config"));
    MC_TRY(mc_error_in(mc_read_enum(typed, "action", actions, &action, error), error, "typed_config"));
    outcome->action = (enum action)action;
    outcome->next = context->engine->outcomes;
    context->engine->outcomes = outcome;
    context->engine->logs = context->engine->logs || action == LOG;
    MC_TRY(name_details(context->c, &outcome->policy));
    *out = outcome;
    return MC_OK;
}

static mc_status read_tree(mc_filter_compile *c, const mc_value *value, const char *field, engine *out) {
    const mc_value *matcher;
    bool reads_info = false;
    outcome_context context = {c, out};
    const mc_tree_actions actions = {read_outcome, &context};
    MC_TRY(mc_value_read_object(value, field, &matcher, c->error));
    if (matcher == NULL) {
        return MC_OK;
    }
    out->set = true;
    return mc_error_in(mc_matcher_tree_compile(c->arena, matcher, &actions, &out->tree, &reads_info, c->error),
                       c->error, "%s", field);
}

static mc_status name_keys(mc_filter_compile *c, mc_slice prefix, const char *policy, const char *result, engine *out) {
    mc_slice policy_parts[] = {prefix, mc_slice_cstr(policy)}, result_parts[] = {prefix, mc_slice_cstr(result)};
    MC_TRY(mc_arena_concat(c->arena, policy_parts, 2, &out->policy_key));
    return mc_arena_concat(c->arena, result_parts, 2, &out->result_key);
}

/* What a route does not name is named by the chain; and stats are always the chain's. */
static mc_status read_prefixes(mc_filter_compile *c, const mc_value *value, engines *out) {
    const engines *own = c->is_route ? c->own : NULL;
    MC_TRY(scope_of(c, value, "rules_stat_prefix", &out->prefix, &out->scope));
    MC_TRY(scope_of(c, value, "shadow_rules_stat_prefix", &out->shadow_prefix, &out->shadow_scope));
    if (own != NULL) {
        out->prefix = out->prefix.n == 0 ? own->prefix : out->prefix;
        out->shadow_prefix = out->shadow_prefix.n == 0 ? own->shadow_prefix : out->shadow_prefix;
        out->scope = own->scope;
        out->shadow_scope = own->shadow_scope;
    }
    return MC_OK;
}

static void track_policy(mc_filter_compile *c, policy *policy, bool shadow, mc_slice scope) {
    if (shadow) {
        policy->shadow_allowed = policy_stat(c, scope, policy->name, "shadow_allowed");
        policy->shadow_denied = policy_stat(c, scope, policy->name, "shadow_denied");
    } else {
        policy->allowed = policy_stat(c, scope, policy->name, "allowed");
        policy->denied = policy_stat(c, scope, policy->name, "denied");
    }
}

/* track_per_rule_stats: of policies, and of what a tree leads to. */
static void track(mc_filter_compile *c, engine *engine, bool shadow, mc_slice scope) {
    for (uint32_t i = 0; i < engine->count; i++) {
        track_policy(c, &engine->policies[i], shadow, scope);
    }
    for (outcome *outcome = engine->outcomes; outcome != NULL; outcome = outcome->next) {
        track_policy(c, &outcome->policy, shadow, scope);
    }
}

static mc_status read_engines(mc_filter_compile *c, const mc_value *value, engines *out, config *stats) {
    const mc_value *rules, *shadow;
    MC_TRY(mc_value_read_object(value, "rules", &rules, c->error));
    MC_TRY(mc_value_read_object(value, "shadow_rules", &shadow, c->error));
    MC_TRY(mc_value_read_bool(value, "track_per_rule_stats", &out->track_rules, c->error));
    MC_TRY(read_prefixes(c, value, out));
    MC_TRY(rules == NULL ? MC_OK : mc_error_in(read_engine(c, rules, &out->enforced), c->error, "rules"));
    MC_TRY(shadow == NULL ? MC_OK : mc_error_in(read_engine(c, shadow, &out->shadow), c->error, "shadow_rules"));
    MC_TRY(read_tree(c, value, "matcher", &out->enforced));
    MC_TRY(read_tree(c, value, "shadow_matcher", &out->shadow));
    MC_TRY(name_keys(c, out->prefix, "enforced_effective_policy_id", "enforced_engine_result", &out->enforced));
    MC_TRY(name_keys(c, out->shadow_prefix, "shadow_effective_policy_id", "shadow_engine_result", &out->shadow));
    if (out->track_rules) {
        track(c, &out->enforced, false, out->scope);
        track(c, &out->shadow, true, out->shadow_scope);
    }
    if (stats != NULL) {
#define COUNTER(name) stats->stats.name = mc_filter_stat(c, MC_COUNTER, out->scope, #name);
        ENFORCED(COUNTER)
#undef COUNTER
#define COUNTER(name) stats->stats.name = mc_filter_stat(c, MC_COUNTER, out->shadow_scope, #name);
        SHADOW(COUNTER)
#undef COUNTER
    }
    return MC_OK;
}

static mc_status compile(mc_filter_compile *c, const mc_value *value, void **out) {
    config *config = mc_arena_zalloc(c->arena, sizeof *config);
    *out = config;
    return config == NULL ? MC_ENOMEM : read_engines(c, value, &config->engines, config);
}

static mc_status compile_route(mc_filter_compile *c, const mc_value *value, void **out) {
    engines *engines = mc_arena_zalloc(c->arena, sizeof *engines);
    const mc_value *rbac;
    *out = engines;
    if (engines == NULL) {
        return MC_ENOMEM;
    }
    MC_TRY(mc_value_read_object(value, "rbac", &rbac, c->error));
    return rbac == NULL ? MC_OK : mc_error_in(read_engines(c, rbac, engines, NULL), c->error, "rbac");
}

static const mc_filter_type filter_type = {.name = "envoy.filters.http.rbac", .decode_headers = decode_headers};

const mc_filter_kind mc_filter_kind_rbac = {
    .type = "envoy.extensions.filters.http.rbac.v3.RBAC",
    .route_type = "envoy.extensions.filters.http.rbac.v3.RBACPerRoute",
    .filter = &filter_type,
    .in_tries = MC_TRY_HOST,
    .compile = compile,
    .compile_route = compile_route,
};

/* --- connections ------------------------------------------------------------------------------------------------------- */

struct mc_rbac_rules {
    config config;
};

mc_status mc_connection_rbac_ask(const mc_connection_rbac *rbac, const mc_stream_info *info, mc_route_request *request,
                                 mc_slab *slab, mc_connection_verdict *verdict, const char **denied) {
    const config *config = &rbac->rules->config;
    const asking asking = {
        .subject = {.info = info, .request = *request, .input = {.request = request}},
        .verdict = verdict,
        .slab = slab,
    };
    *verdict = (mc_connection_verdict){.shadowed = false};
    return run(&config->engines, config, &asking, denied);
}

mc_status mc_connection_rbac_tell(const mc_connection_rbac *rbac, const mc_connection_verdict *verdict, mc_arena *arena,
                                  const mc_value **metadata) {
    const mc_slice own = MC_SLICE("envoy.filters.network.rbac");
    const engine *shadow = &rbac->rules->config.engines.shadow;
    if (verdict->hinted) {
        const mc_value hint = mc_value_bool(verdict->hint), *common = mc_value_find(*metadata, common_space);
        MC_TRY(mc_value_put(arena, common, hint_key, &hint, &common));
        MC_TRY(mc_value_put(arena, *metadata, common_space, common, metadata));
    }
    if (!verdict->shadowed) {
        return MC_OK;
    }
    const mc_value *told = mc_value_find(*metadata, own);
    if (verdict->shadow_policy.n > 0) {
        const mc_value name = mc_value_text(verdict->shadow_policy);
        MC_TRY(mc_value_put(arena, told, shadow->policy_key, &name, &told));
    }
    const mc_value result = mc_value_text(verdict->shadow_allowed ? MC_SLICE("allowed") : MC_SLICE("denied"));
    MC_TRY(mc_value_put(arena, told, shadow->result_key, &result, &told));
    return mc_value_put(arena, *metadata, own, told, metadata);
}

static mc_status without_headers(mc_filter_compile *c, const engine *engine, const char *field) {
    for (uint32_t i = 0; i < engine->count; i++) {
        const policy *policy = &engine->policies[i];
        if (mc_rbac_rule_reads_headers(policy->permissions) || mc_rbac_rule_reads_headers(policy->principals)) {
            mc_error_set(c->error, MC_EINVAL, "", "a connection has no headers");
            mc_error_under(c->error, "%s.policies[\"%.*s\"]", field, MC_SLICE_ARG(policy->name));
            return MC_EINVAL;
        }
    }
    return MC_OK;
}

mc_status mc_connection_rbac_compile(mc_filter_compile *c, const mc_value *value, mc_connection_rbac *out) {
    static const mc_name_value types[] = {{"ONE_TIME_ON_FIRST_BYTE", 0}, {"CONTINUOUS", 1}, {NULL, 0}};
    struct mc_rbac_rules *rules = mc_arena_zalloc(c->arena, sizeof *rules);
    mc_slice prefix = MC_SLICE_NONE;
    uint64_t type = 0;
    if (rules == NULL) {
        return MC_ENOMEM;
    }
    MC_TRY(mc_read_name(c->arena, value, "stat_prefix", &prefix, c->error));
    const bool dot = prefix.p[prefix.n - 1] != '.';
    const mc_slice parts[] = {prefix, dot ? MC_SLICE(".") : MC_SLICE_NONE};
    MC_TRY(mc_arena_concat(c->arena, parts, 2, &c->scope));
    MC_TRY(read_engines(c, value, &rules->config.engines, &rules->config));
    MC_TRY(without_headers(c, &rules->config.engines.enforced, "rules"));
    MC_TRY(without_headers(c, &rules->config.engines.shadow, "shadow_rules"));
    MC_TRY(mc_read_enum(value, "enforcement_type", types, &type, c->error));
    MC_TRY(mc_value_read_duration_ms(value, "delay_deny", &out->delay_ms, c->error));
    out->continuous = type == 1;
    out->rules = rules;
    return MC_OK;
}
