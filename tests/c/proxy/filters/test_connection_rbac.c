/* RBAC over connections (FL-18): what is asked, counted, told and refused. */
#include "base/value.h"
#include "base/value_edit.h"
#include "proxy/filters/rbac.h"

#include "../../test.h"

#define POLICY(name, permission, ip)                                                                                   \
    "{\"" name "\":{\"permissions\":[" permission "],\"principals\":[{\"direct_remote_ip\":{\"address_prefix\":\"" ip  \
    "\",\"prefix_len\":32}}]}}"
#define ANY                            "{\"any\":true}"
#define HERE(n)                        POLICY(n, ANY, "10.0.0.1")
#define AWAY(n)                        POLICY(n, ANY, "10.0.0.2")
#define RULES(field, action, policies) "\"" field "\":{\"action\":\"" action "\",\"policies\":" policies "}"

static mc_stats *stats;
static mc_slab *slab;
static mc_arena arena;
static mc_error error;

static void begin(void) {
    mc_arena_init(&arena, NULL);
    stats = mc_stats_new();
    slab = mc_slab_open(stats);
    error = (mc_error){0};
}

static void end(void) {
    mc_slab_close(slab);
    mc_stats_unref(stats);
    mc_arena_fini(&arena);
}

static mc_status compile(const char *json, mc_connection_rbac *out) {
    const mc_value *value;
    mc_filter_compile c = {.arena = &arena, .error = &error, .stats = stats};
    CHECK_INT(mc_value_parse(&arena, mc_slice_cstr(json), &value, &error), MC_OK);
    *out = (mc_connection_rbac){0};
    return mc_connection_rbac_compile(&c, value, out);
}

/* Asks about a connection of 10.0.0.1; what denied it. */
static const char *ask(const mc_connection_rbac *rbac, mc_connection_verdict *verdict) {
    mc_stream_info info;
    mc_headers none;
    mc_address peer;
    const char *denied;
    CHECK_INT(mc_address_parse(&peer, MC_SLICE("10.0.0.1"), 4000), MC_OK);
    mc_stream_info_init(&info);
    info.downstream_remote = info.downstream_direct_remote = info.downstream_local = &peer;
    mc_headers_init(&none, &arena);
    mc_route_request request = {.headers = &none, .remote = &peer, .local = &peer, .arena = &arena, .info = &info};
    CHECK_INT(mc_connection_rbac_ask(rbac, &info, &request, slab, verdict, &denied), MC_OK);
    return denied;
}

static uint64_t counted(const char *name) {
    return mc_stats_value(stats, mc_stats_find(stats, MC_COUNTER, mc_slice_cstr(name)));
}

static mc_slice told(const mc_value *metadata, const char *space, const char *key) {
    const mc_value *value = mc_value_find(mc_value_find(metadata, mc_slice_cstr(space)), mc_slice_cstr(key));
    return value == NULL ? MC_SLICE("-") : value->kind == MC_BOOL ? MC_SLICE("bool") : value->string;
}

TEST(rules_decide_and_count) {
    static const struct {
        const char *config, *denied;
    } cases[] = {
        {"{\"stat_prefix\":\"p\"," RULES("rules", "ALLOW", HERE("a")) "}", NULL},
        {"{\"stat_prefix\":\"p.\"," RULES("rules", "ALLOW", AWAY("a")) "}", "rbac_access_denied_matched_policy[none]"},
        {"{\"stat_prefix\":\"p\"," RULES("rules", "DENY", HERE("a")) "}", "rbac_access_denied_matched_policy[a]"},
        {"{\"stat_prefix\":\"p\"," RULES("rules", "LOG", HERE("a")) "}", NULL},
        {"{\"stat_prefix\":\"p\"}", NULL},
        /* no request is read yet: there is no path */
        {"{\"stat_prefix\":\"p\"," RULES("rules", "ALLOW",
                                         POLICY("a", "{\"url_path\":{\"path\":{\"prefix\":\"/\"}}}", "10.0.0.1")) "}",
         "rbac_access_denied_matched_policy[none]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mc_connection_rbac rbac;
        mc_connection_verdict verdict;
        begin();
        CHECK_INT(compile(cases[i].config, &rbac), MC_OK);
        const char *denied = ask(&rbac, &verdict);
        CHECK_SLICE(mc_slice_cstr(denied == NULL ? "" : denied), cases[i].denied == NULL ? "" : cases[i].denied);
        CHECK_U64(counted("p.rbac.denied"), denied != NULL);
        CHECK_U64(counted("p.rbac.allowed"), denied == NULL && i != 4);
        end();
    }
}

TEST(a_shadow_is_told_and_denies_nobody) {
    mc_connection_rbac rbac;
    mc_connection_verdict verdict;
    const mc_value *metadata = NULL;
    begin();
    CHECK_INT(compile("{\"stat_prefix\":\"p\",\"shadow_rules_stat_prefix\":\"sh_\"," RULES(
                          "shadow_rules", "DENY", HERE("d")) "," RULES("rules", "LOG", AWAY("l")) "}",
                      &rbac),
              MC_OK);
    CHECK(ask(&rbac, &verdict) == NULL);
    CHECK_INT(mc_connection_rbac_tell(&rbac, &verdict, &arena, &metadata), MC_OK);
    CHECK_SLICE(told(metadata, "envoy.filters.network.rbac", "sh_shadow_effective_policy_id"), "d");
    CHECK_SLICE(told(metadata, "envoy.filters.network.rbac", "sh_shadow_engine_result"), "denied");
    CHECK_SLICE(told(metadata, "envoy.common", "access_log_hint"), "bool");
    CHECK(!verdict.hint);
    end();
}

TEST(verdicts_of_several_stand_together) {
    mc_connection_rbac first, second;
    mc_connection_verdict verdict;
    const mc_value *metadata = NULL;
    begin();
    CHECK_INT(compile("{\"stat_prefix\":\"p\"," RULES("shadow_rules", "DENY", HERE("d")) "}", &first), MC_OK);
    CHECK_INT(compile("{\"stat_prefix\":\"p\"," RULES("shadow_rules", "DENY", AWAY("n")) "}", &second), MC_OK);
    CHECK(ask(&first, &verdict) == NULL);
    CHECK_INT(mc_connection_rbac_tell(&first, &verdict, &arena, &metadata), MC_OK);
    CHECK(ask(&second, &verdict) == NULL);
    CHECK_INT(mc_connection_rbac_tell(&second, &verdict, &arena, &metadata), MC_OK);
    CHECK_SLICE(told(metadata, "envoy.filters.network.rbac", "shadow_effective_policy_id"),
                "d"); /* the last that matched */
    CHECK_SLICE(told(metadata, "envoy.filters.network.rbac", "shadow_engine_result"), "allowed");
    end();
}

TEST(what_is_refused) {
    static const struct {
        const char *config, *path;
    } cases[] = {
        {"{}", "stat_prefix"},
        {"{\"stat_prefix\":\"p\",\"enforcement_type\":\"SOMETIMES\"}", "enforcement_type"},
        {"{\"stat_prefix\":\"p\"," RULES(
             "rules", "ALLOW", POLICY("a", "{\"header\":{\"name\":\"x\",\"present_match\":true}}", "10.0.0.1")) "}",
         "rules.policies[\"a\"]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mc_connection_rbac rbac;
        begin();
        CHECK_INT(compile(cases[i].config, &rbac), MC_EINVAL);
        CHECK_SLICE(mc_slice_cstr(error.path), cases[i].path);
        end();
    }
}
