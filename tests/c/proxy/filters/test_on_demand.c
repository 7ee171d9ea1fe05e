/* FL-59, RT-59: requests that wait for their virtual host. */
#include "filter_test.h"

#define KIND                                                                                                           \
    TYPE("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager")                          \
    ",'stat_prefix':'in','http_filters':[" FILTER("d", "on_demand.v3.OnDemand",                                        \
                                                  "") ","                                                              \
                                                      "{'name':'r','typed_config':{" HTTP(                             \
                                                          "router.v3.Router") "}}],'route_config':{'name':'rc',"
#define CONFIG(hosts)                                                                                                  \
    "{'static_resources':{'listeners':[{'name':'main','address':{'socket_address':{'address':'127.0.0.1',"             \
    "'port_value':10000}},'filter_chains':[{'filters':[{'name':'hcm','typed_config':{" KIND                            \
    "'vhds':{'asking':'~v'},'virtual_hosts':[" hosts "]}}}]}]}]}}"
#define ANSWERS(domain, path)                                                                                          \
    "{'name':'" domain "','domains':['" domain "'],'routes':[{'match':{'prefix':'" path "'},"                          \
    "'direct_response':{'status':200,'body':{'inline_string':'" domain "'}}}]}"
#define OWN      CONFIG(ANSWERS("own", "/"))
#define MORE     CONFIG(ANSWERS("own", "/") "," ANSWERS("a.com:81", "/"))
#define NO_ROUTE CONFIG(ANSWERS("own", "/") "," ANSWERS("a.com:81", "/other"))

#define GET_A  "GET / HTTP/1.1\r\nHost: A.com:81\r\n\r\n"
#define KEY    MC_SLICE("rc/a.com:81")
#define POST_A "POST / HTTP/1.1\r\nHost: A.com:81\r\nContent-Length: 4\r\n\r\n"

static const char *quoted(const char *text) {
    static char json[8192];
    snprintf(json, sizeof json, "%s", text);
    for (char *c = json; *c != 0; c++) {
        *c = *c == '\'' ? '"' : *c;
    }
    return json;
}

static void start(void) {
    mc_error error = {0};
    CHECK_INT(pipeline_open(&p, quoted(OWN), 42, &error), MC_OK);
    CHECK_INT(mc_engine_names_open(p.engine, MC_SLICE("~v"), UINT32_MAX, UINT32_MAX), MC_OK);
    CHECK_INT(pipeline_client(&p, &client, "main"), MC_OK);
    pipeline_settle(&p);
}

static void configure(const char *json) {
    mc_error error = {0};
    CHECK_INT(pipeline_configure(&p, quoted(json), &error), MC_OK);
}

/* Sends, and returns how often the host was asked for. */
static int asks(pipeline_peer *who, const char *text) {
    mc_name_cache *cache;
    mc_slice key;
    int count = 0;
    pipeline_send(who, mc_slice_cstr(text));
    pipeline_settle(&p);
    mc_loop_turn(p.engine->control, 0);
    for (; mc_engine_names_take(p.engine, &cache, &key); count++) {
        CHECK_SLICE(cache->name, "~v");
        CHECK(mc_slice_eq(key, KEY));
        mc_free((void *)key.p);
    }
    return count;
}

static void tell(void) {
    CHECK_INT(mc_engine_names_set(p.engine, MC_SLICE("~v"), KEY, NULL, 0, MC_SLICE_NONE), MC_OK);
    mc_engine_names_drop(p.engine, MC_SLICE("~v"), KEY);
    pipeline_settle(&p);
}

TEST(who_has_a_route_asks_for_nothing) {
    start();
    CHECK_INT(asks(&client, "GET / HTTP/1.1\r\nHost: own\r\n\r\n"), 0);
    CHECK_HAS(take(), "\r\n\r\nown");
    end();
}

/* difference: on-demand-asked-once */
TEST(many_wait_for_one_and_begin_anew) {
    pipeline_peer other;
    start();
    CHECK_INT(pipeline_client(&p, &other, "main"), MC_OK);
    CHECK_INT(asks(&client, GET_A), 1);
    CHECK_INT(asks(&other, GET_A), 0);
    configure(MORE);
    CHECK_INT(client.in.length + other.in.length, 0);
    tell();
    CHECK_HAS(take(), "\r\n\r\na.com:81");
    CHECK(other.in.length > 0);
    CHECK_U64(counter("http.in.downstream_rq_total"), 4); /* each leg is one */
    CHECK_U64(counter("http.in.downstream_rq_2xx"), 2);
    CHECK_INT(asks(&client, GET_A), 0);
    CHECK_HAS(take(), "\r\n\r\na.com:81");
    pipeline_client_close(&other);
    end();
}

TEST(no_such_host) {
    start();
    CHECK_INT(asks(&client, GET_A), 1);
    tell();
    CHECK_HAS(take(), "404 Not Found");
    CHECK_U64(counter("http.in.downstream_rq_total"), 1);
    CHECK_INT(asks(&client, GET_A), 1); /* once more: an answer is not kept */
    tell();
    CHECK_HAS(take(), "404 Not Found");
    end();
}

/* difference: on-demand-without-route */
TEST(a_host_without_a_route_is_asked_for_once) {
    start();
    CHECK_INT(asks(&client, GET_A), 1);
    configure(NO_ROUTE);
    tell();
    CHECK_INT(asks(&client, ""), 0);
    CHECK_HAS(take(), "404 Not Found");
    end();
}

TEST(a_body_comes_along) {
    start();
    CHECK_INT(asks(&client, POST_A "ab"), 1);
    CHECK_INT(asks(&client, "cd"), 0);
    configure(MORE);
    tell();
    CHECK_HAS(take(), "\r\n\r\na.com:81");
    end();
}

TEST(half_a_request_goes_on_without_a_route) {
    start();
    CHECK_INT(asks(&client, POST_A "ab"), 1);
    configure(MORE);
    tell();
    CHECK_HAS(take(), "404 Not Found");
    end();
}

TEST(who_goes_away_while_it_waits) {
    pipeline_peer other;
    start();
    CHECK_INT(pipeline_client(&p, &other, "main"), MC_OK);
    CHECK_INT(asks(&other, GET_A), 1);
    pipeline_client_close(&other);
    CHECK_INT(asks(&client, GET_A), 1); /* nobody waited any more */
    configure(MORE);
    tell();
    CHECK_HAS(take(), "\r\n\r\na.com:81");
    end();
}

TEST(the_end_finds_some_waiting) {
    start();
    CHECK_INT(asks(&client, GET_A), 1);
    pipeline_close(&p);
    mc_buffer_clear(&client.in);
}

/* The nth allocation from where the request is sent fails, and the nth from where it begins anew; whether one did. */
static bool exchange(long nth, bool late) {
    start();
    pipeline_send(&client, MC_SLICE(POST_A "abcd"));
    mc_test_alloc_fail_at(late ? 0 : nth);
    (void)asks(&client, "");
    bool failed = !late && mc_test_alloc_pending() == 0;
    mc_test_alloc_fail_at(0);
    configure(MORE);
    CHECK_INT(mc_engine_names_set(p.engine, MC_SLICE("~v"), KEY, NULL, 0, MC_SLICE_NONE), MC_OK);
    mc_test_alloc_fail_at(late ? nth : 0);
    pipeline_settle(&p);
    failed = failed || (late && mc_test_alloc_pending() == 0);
    mc_test_alloc_fail_at(0);
    end();
    return failed;
}

TEST(memory_may_run_out_at_any_time) {
    long nth = 1;
    for (int late = 0; late < 2; late++) {
        for (nth = 1; exchange(nth, late == 1); nth++) {
        }
        CHECK(nth > 3);
    }
}
