/* Pools of one worker: which connection serves, who waits, who is refused, and how a pool ends. Attempts are made by hand against
 * the worker's own upstream; the servers are those of pipeline.h. */
#include "pool/client.h"

#include "../proxy/proxy_test.h"

#define POOL(more)       CONFIG(LISTENER("", TO_WEB), CLUSTER(more, ENDPOINT("10.0.0.1")))
#define BREAKERS(limits) "\"circuit_breakers\":{\"thresholds\":[{" limits "}]},"

typedef struct tried {
    mc_attempt attempt;
    mc_arena arena;
    mc_headers headers;
    bool ready, complete, failed, reset;
    mc_reset_reason reason;
} tried;

static pipeline p;
static mc_upstream *upstream;
static mc_host *host;
static tried tries[4];

static tried *of(mc_attempt *attempt) { return MC_CONTAINER(attempt, tried, attempt); }

static void send_request(tried *t) {
    (void)mc_conn_write(mc_attempt_conn(&t->attempt), MC_SLICE("GET / HTTP/1.1\r\nhost: h\r\n\r\n"));
    t->attempt.request_sent = true;
    t->ready = true;
}

static void on_ready(mc_attempt *attempt) { send_request(of(attempt)); }
static void on_failure(mc_attempt *attempt, mc_reset_reason reason) {
    of(attempt)->failed = true;
    of(attempt)->reason = reason;
}
static mc_headers *on_begin(mc_attempt *attempt) {
    tried *t = of(attempt);
    mc_arena_fini(&t->arena);
    mc_arena_init(&t->arena, NULL);
    mc_headers_init(&t->headers, &t->arena);
    return &t->headers;
}
static mc_status on_headers(mc_attempt *attempt, const mc_h1_head *head) { return MC_OK; }
static mc_status on_body(mc_attempt *attempt, mc_slice data) { return MC_OK; }
static mc_status on_trailers(mc_attempt *attempt, mc_headers *trailers) { return MC_OK; }
static void on_complete(mc_attempt *attempt) { of(attempt)->complete = true; }
static void on_reset(mc_attempt *attempt, mc_reset_reason reason) {
    of(attempt)->reset = true;
    of(attempt)->reason = reason;
}
static void on_mark(mc_attempt *attempt) {}

static const mc_attempt_events events = {
    .on_ready = on_ready,
    .on_failure = on_failure,
    .on_begin = on_begin,
    .on_headers = on_headers,
    .on_body = on_body,
    .on_trailers = on_trailers,
    .on_complete = on_complete,
    .on_reset = on_reset,
    .on_high = on_mark,
    .on_low = on_mark,
};

static void silent(pipeline_peer *server) {}

static void begin(const char *json) {
    memset(tries, 0, sizeof tries);
    open_pipeline(&p, json);
    p.serve = silent;
    upstream = mc_proxy_upstream(&p.worker->proxy, p.worker->snapshot->clusters[0].cluster->slot);
    host = mc_hosts_at(upstream->hosts, 0);
    mc_host_ref(host);
}

static void check_idle(void) {
    mc_cluster *cluster = p.worker->snapshot->clusters[0].cluster;
    CHECK_INT(cluster->breakers[0].requests.count, 0);
    CHECK_INT(cluster->breakers[0].pending.count, 0);
    CHECK_INT(host->rq_active, 0);
    CHECK_U64(pipeline_gauge(&p, "cluster.web.upstream_rq_active"), 0);
    CHECK_U64(pipeline_gauge(&p, "cluster.web.upstream_rq_pending_active"), 0);
}

static void end(void) {
    for (int i = 0; i < 4; i++) {
        mc_attempt_cancel(&tries[i].attempt);
        mc_arena_fini(&tries[i].arena);
    }
    pipeline_settle(&p);
    check_idle();
    mc_host_unref(host);
    pipeline_close(&p);
}

static mc_status start(int i) {
    tried *t = &tries[i];
    mc_arena_fini(&t->arena);
    *t = (tried){.attempt = {.events = &events, .method = MC_SLICE_INIT("GET")}};
    mc_pool *pool = NULL;
    mc_status status = mc_upstream_pool(upstream, host, MC_PRIORITY_DEFAULT, &pool);
    if (status != MC_OK) {
        return status;
    }
    status = mc_pool_start(pool, &t->attempt);
    if (status == MC_OK) {
        send_request(t);
    }
    pipeline_settle(&p);
    return status;
}

/* The nth server that was connected to. */
static pipeline_peer *server(int n) {
    MC_LIST_EACH(&p.servers, node) {
        if (n-- == 0) {
            return MC_CONTAINER(node, pipeline_peer, link);
        }
    }
    CHECK(!"such a server");
    return NULL;
}

static void answer(int n) {
    pipeline_send(server(n), MC_SLICE("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"));
    pipeline_settle(&p);
}

static uint64_t counter(const char *name) {
    char full[128];
    snprintf(full, sizeof full, "cluster.web.%s", name);
    return pipeline_counter(&p, full);
}

TEST(the_connection_used_last_serves_next) { /* CP-2 */
    begin(PLAIN);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(start(i), MC_AGAIN);
        CHECK(tries[i].ready);
    }
    CHECK_INT(p.connects, 3);
    answer(0);
    answer(2);
    answer(1);
    CHECK(tries[0].complete && tries[1].complete && tries[2].complete);
    CHECK_INT(start(0), MC_OK);
    CHECK(server(1)->in.length > server(0)->in.length);
    CHECK(server(1)->in.length > server(2)->in.length);
    answer(1);
    CHECK(tries[0].complete);
    CHECK_INT(p.connects, 3);
    end();
}

/* Who walked the idle connections would never come to an end here. */
TEST(a_checkout_looks_at_one_connection) {
    begin(PLAIN);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(start(i), MC_AGAIN);
    }
    for (int i = 0; i < 3; i++) {
        answer(i);
    }
    mc_pool *pool = NULL;
    CHECK_INT(mc_upstream_pool(upstream, host, MC_PRIORITY_DEFAULT, &pool), MC_OK);
    mc_link *second = mc_list_first(&pool->idle)->next, *third = second->next;
    second->next = second;
    CHECK_INT(start(0), MC_OK);
    second->next = third;
    CHECK_INT(pool->state_count[MC_CLIENT_IDLE], 2);
    end();
}

TEST(attempts_wait_for_a_connection_in_order) { /* CP-6 */
    begin(POOL(BREAKERS("\"max_connections\":1")));
    for (int i = 0; i < 3; i++) {
        CHECK_INT(start(i), MC_AGAIN);
    }
    CHECK_INT(p.connects, 1);
    CHECK(tries[0].ready && !tries[1].ready);
    CHECK_U64(counter("upstream_cx_overflow") > 0, 1);
    answer(0);
    CHECK(tries[0].complete && tries[1].ready && !tries[2].ready);
    answer(0);
    answer(0);
    CHECK(tries[1].complete && tries[2].complete);
    CHECK_INT(p.connects, 1);
    end();
}

TEST(a_full_queue_refuses) { /* CB-7 */
    begin(POOL(BREAKERS("\"max_connections\":1,\"max_pending_requests\":1")));
    CHECK_INT(start(0), MC_AGAIN);
    CHECK_INT(start(1), MC_AGAIN);
    CHECK_INT(start(2), MC_ELIMIT);
    CHECK_U64(counter("upstream_rq_pending_overflow"), 1);
    CHECK(!tries[2].failed);
    end();
}

TEST(too_many_requests_refuse) { /* CB-6 */
    begin(POOL(BREAKERS("\"max_requests\":1")));
    CHECK_INT(start(0), MC_AGAIN);
    answer(0);
    CHECK_INT(start(0), MC_OK);
    CHECK_INT(start(1), MC_AGAIN); /* connects, and fails when it leaves the queue */
    CHECK(tries[1].failed);
    CHECK_INT(tries[1].reason, MC_RESET_OVERFLOW);
    CHECK_INT(start(2), MC_ELIMIT); /* an idle connection is there, a request is not allowed */
    end();
}

static bool refuse(pipeline *owner, const mc_host *to) { return false; }

TEST(a_connection_that_cannot_be_made_fails_at_once) {
    begin(PLAIN);
    p.admit = refuse;
    CHECK_INT(start(0), MC_ECLOSED);
    CHECK_U64(counter("upstream_cx_connect_fail"), 1);
    check_idle();
    p.admit = NULL;
    CHECK_INT(start(0), MC_AGAIN);
    CHECK(tries[0].ready);
    end();
}

/* Never gets there. */
static mc_conn *nowhere;

static mc_status connect_nowhere(void *ctx, mc_conn *conn, mc_net *net, const mc_host *to,
                                 const mc_conn_events *conn_events) {
    mc_status status = pipeline_connect(ctx, conn, net, to, conn_events);
    mc_link_unlink(&conn->io.ready);
    conn->io.injected = 0;
    nowhere = conn;
    return status;
}

TEST(a_connection_that_takes_too_long_fails_who_waits) {
    begin(POOL("\"connect_timeout\":\"2s\","));
    p.connector.connect = connect_nowhere;
    CHECK_INT(start(0), MC_AGAIN);
    CHECK_INT(start(1), MC_AGAIN);
    CHECK_INT(p.connects, 2);
    pipeline_run(&p, 1900);
    CHECK(!tries[0].failed && !tries[1].failed);
    pipeline_run(&p, 200);
    CHECK(tries[0].failed && tries[1].failed);
    CHECK_INT(tries[0].reason, MC_RESET_CONNECTION_TIMEOUT);
    CHECK_U64(counter("upstream_cx_connect_timeout"), 2);
    CHECK_U64(pipeline_gauge(&p, "cluster.web.upstream_cx_active"), 0);
    end();
}

TEST(who_gives_up_waiting_leaves_the_connection_to_others) {
    begin(PLAIN);
    p.memory.max_delay_ms = 0;
    mc_pool *pool = NULL;
    CHECK_INT(mc_upstream_pool(upstream, host, MC_PRIORITY_DEFAULT, &pool), MC_OK);
    tries[0] = (tried){.attempt = {.events = &events, .method = MC_SLICE_INIT("GET")}};
    CHECK_INT(mc_pool_start(pool, &tries[0].attempt), MC_AGAIN);
    mc_attempt_cancel(&tries[0].attempt);
    CHECK_U64(counter("upstream_rq_cancelled"), 1);
    pipeline_settle(&p);
    CHECK(!tries[0].ready);
    CHECK_INT(start(1), MC_OK);
    CHECK_INT(p.connects, 1);
    end();
}

TEST(who_gives_up_an_answer_takes_its_connection_down) {
    begin(PLAIN);
    CHECK_INT(start(0), MC_AGAIN);
    mc_attempt_cancel(&tries[0].attempt);
    pipeline_settle(&p);
    CHECK(!tries[0].reset && !tries[0].complete);
    CHECK_U64(pipeline_gauge(&p, "cluster.web.upstream_cx_active"), 0);
    CHECK_U64(counter("upstream_cx_destroy_local_with_active_rq"), 1);
    CHECK_U64(counter("upstream_rq_tx_reset"), 0);
    end();
}

/* How a connection ended, and whether under a request: by whom it was closed, and whether the request was through. */
TEST(ends_of_connections_are_told_apart) {
#define GOOD "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n"
    static const struct {
        const char *response;
        bool half_sent, server_closes;
        int remote, active;
    } cases[] = {
        {GOOD "connection: close\r\n\r\n", false, false, 0, 0},
        {"HTTP/1.1 200 OK\r\n\r\nabc", false, true, 1, 0},
        {"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc", false, true, 1, 1},
        {"garbage\r\n\r\n", false, false, 0, 1},
        {GOOD "\r\n", true, false, 0, 1},
        {"", false, true, 1, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        begin(PLAIN);
        CHECK_INT(start(0), MC_AGAIN);
        tries[0].attempt.request_sent = !cases[i].half_sent;
        pipeline_send(server(0), mc_slice_cstr(cases[i].response));
        pipeline_settle(&p);
        if (cases[i].server_closes) {
            mc_conn_close(&server(0)->conn, true);
            pipeline_settle(&p);
        }
        CHECK_U64(counter("upstream_cx_destroy"), 1);
        CHECK_U64(counter("upstream_cx_destroy_remote"), cases[i].remote);
        CHECK_U64(counter("upstream_cx_destroy_local"), 1 - cases[i].remote);
        CHECK_U64(counter("upstream_cx_destroy_with_active_rq"), cases[i].active);
        CHECK_U64(counter("upstream_rq_rx_reset"), 0);
        end();
    }
}

TEST(a_lost_connection_resets_its_attempt) {
    begin(PLAIN);
    CHECK_INT(start(0), MC_AGAIN);
    mc_memory_reset(&server(0)->conn);
    pipeline_settle(&p);
    CHECK(tries[0].reset);
    CHECK_INT(tries[0].reason, MC_RESET_CONNECTION_TERMINATION);
    CHECK_U64(counter("upstream_cx_destroy_remote_with_active_rq"), 1);
    end();
}

TEST(a_connection_serves_as_often_as_allowed) { /* CP-3 */
    begin(POOL("\"common_http_protocol_options\":{\"max_requests_per_connection\":2},"));
    CHECK_INT(start(0), MC_AGAIN);
    answer(0);
    CHECK_INT(start(0), MC_OK);
    answer(0);
    CHECK_U64(counter("upstream_cx_max_requests"), 1);
    CHECK_U64(pipeline_gauge(&p, "cluster.web.upstream_cx_active"), 0);
    CHECK_INT(start(0), MC_AGAIN);
    CHECK_INT(p.connects, 2);
    end();
}

TEST(an_idle_connection_closes_in_time) { /* CP-11 */
    begin(POOL("\"common_http_protocol_options\":{\"idle_timeout\":\"10s\"},"));
    CHECK_INT(start(0), MC_AGAIN);
    answer(0);
    pipeline_run(&p, 6000);
    CHECK_INT(start(0), MC_OK); /* the wait starts anew */
    answer(0);
    pipeline_run(&p, 6000);
    CHECK_U64(pipeline_gauge(&p, "cluster.web.upstream_cx_active"), 1);
    pipeline_run(&p, 6000);
    CHECK_U64(pipeline_gauge(&p, "cluster.web.upstream_cx_active"), 0);
    CHECK_U64(counter("upstream_cx_idle_timeout"), 1);
    end();
}

TEST(a_server_may_close_an_idle_connection) {
    begin(PLAIN);
    CHECK_INT(start(0), MC_AGAIN);
    answer(0);
    mc_conn_close(&server(0)->conn, false);
    pipeline_settle(&p);
    CHECK_U64(pipeline_gauge(&p, "cluster.web.upstream_cx_active"), 0);
    CHECK_INT(start(0), MC_AGAIN);
    CHECK_INT(p.connects, 2);
    end();
}

/* The cluster's only host leaves. */
static void leave(void) {
    mc_arena arena;
    const mc_value *assignment;
    mc_error error = {0};
    mc_arena_init(&arena, NULL);
    CHECK_INT(mc_value_parse(&arena, MC_SLICE("{\"cluster_name\":\"web\",\"endpoints\":[]}"), &assignment, &error),
              MC_OK);
    CHECK_INT(mc_engine_set_assignment(p.engine, MC_SLICE("web"), assignment, &error), MC_OK);
    mc_arena_fini(&arena);
}

TEST(a_host_that_leaves_finishes_its_attempts) { /* CP-14 */
    begin(PLAIN);
    CHECK_INT(start(0), MC_AGAIN);
    CHECK_INT(start(1), MC_AGAIN);
    answer(1);
    leave();
    pipeline_settle(&p);
    CHECK_U64(pipeline_gauge(&p, "cluster.web.upstream_cx_active"), 1); /* the idle one is gone */
    CHECK(!tries[0].reset);
    answer(0);
    CHECK(tries[0].complete);
    CHECK_U64(pipeline_gauge(&p, "cluster.web.upstream_cx_active"), 0);
    end();
}

TEST(a_host_that_leaves_serves_who_waits) {
    begin(POOL(BREAKERS("\"max_connections\":1")));
    CHECK_INT(start(0), MC_AGAIN);
    CHECK_INT(start(1), MC_AGAIN);
    leave();
    pipeline_settle(&p);
    answer(0);
    CHECK(tries[0].complete && tries[1].ready);
    answer(0);
    CHECK(tries[1].complete);
    CHECK_U64(pipeline_gauge(&p, "cluster.web.upstream_cx_active"), 0);
    end();
}

TEST(a_host_that_leaves_keeps_no_connection_for_nobody) {
    for (int late = 0; late < 2; late++) {
        begin(PLAIN);
        p.connector.connect = connect_nowhere;
        CHECK_INT(start(0), MC_AGAIN);
        leave();
        pipeline_settle(&p);
        CHECK_U64(pipeline_gauge(&p, "cluster.web.upstream_cx_active"), 1);
        if (late) { /* both in one turn: connected, and given up before it is served */
            mc_io_inject(p.worker->loop, &nowhere->io, MC_WRITE);
        }
        mc_attempt_cancel(&tries[0].attempt);
        pipeline_run(&p, 1000);
        CHECK_U64(pipeline_gauge(&p, "cluster.web.upstream_cx_active"), 0);
        end();
    }
}

static uint64_t gauge(const char *name) {
    char full[128];
    snprintf(full, sizeof full, "cluster.web.circuit_breakers.%s", name);
    return pipeline_gauge(&p, full);
}

/* CL-13: any news of the hosts. */
TEST(connections_may_end_with_a_change_of_hosts) {
    for (int closes = 0; closes < 2; closes++) {
        begin(closes ? POOL("\"common_lb_config\":{\"close_connections_on_host_set_change\":true},") : POOL(""));
        CHECK_INT(start(0), MC_AGAIN);
        CHECK_INT(start(1), MC_AGAIN);
        answer(1);
        mc_hosts *hosts;
        CHECK_INT(mc_hosts_refresh(upstream->hosts, &hosts), MC_OK);
        CHECK_INT(mc_upstream_update_planned(upstream, hosts, NULL), MC_OK);
        mc_hosts_unref(hosts);
        pipeline_settle(&p);
        CHECK_INT(upstream->clients, closes ? 1 : 2);
        answer(0);
        CHECK(tries[0].complete);
        CHECK_INT(upstream->clients, closes ? 0 : 2);
        CHECK_INT(start(2), closes ? MC_AGAIN : MC_OK);
        end();
    }
}

TEST(gauges_tell_when_a_breaker_is_open) { /* CB-3 */
    begin(POOL(BREAKERS("\"max_connections\":2,\"max_pending_requests\":2,\"track_remaining\":true")));
    CHECK_U64(gauge("default.remaining_cx"), 2);
    CHECK_U64(gauge("default.remaining_pending"), 2);
    CHECK_INT(start(0), MC_AGAIN);
    CHECK_U64(gauge("default.cx_open"), 0);
    CHECK_U64(gauge("default.remaining_cx"), 1);
    CHECK_U64(gauge("default.remaining_rq"), 1023);
    CHECK_INT(start(1), MC_AGAIN);
    CHECK_U64(gauge("default.cx_open"), 1);
    CHECK_U64(gauge("default.remaining_cx"), 0);
    CHECK_INT(start(2), MC_AGAIN);
    CHECK_U64(gauge("default.remaining_pending"), 1);
    CHECK_INT(start(3), MC_AGAIN);
    CHECK_U64(gauge("default.rq_pending_open"), 1);
    CHECK_U64(gauge("high.cx_open"), 0);
    end();
}

TEST(gauges_go_back) {
    begin(POOL(BREAKERS("\"max_connections\":1,\"track_remaining\":true")));
    CHECK_INT(start(0), MC_AGAIN);
    CHECK_U64(gauge("default.cx_open"), 1);
    mc_attempt_cancel(&tries[0].attempt);
    pipeline_settle(&p);
    CHECK_U64(gauge("default.cx_open"), 0);
    CHECK_U64(gauge("default.remaining_cx"), 1);
    CHECK_U64(gauge("default.remaining_rq"), 1024);
    end();
}

TEST(priorities_have_breakers_and_pools_of_their_own) { /* CB-1, CP-1 */
    begin(POOL(BREAKERS("\"max_pending_requests\":0},{\"priority\":\"HIGH\",\"max_pending_requests\":1")));
    CHECK_INT(start(0), MC_ELIMIT);
    mc_pool *pool = NULL;
    CHECK_INT(mc_upstream_pool(upstream, host, MC_PRIORITY_HIGH, &pool), MC_OK);
    tries[1] = (tried){.attempt = {.events = &events, .method = MC_SLICE_INIT("GET")}};
    CHECK_INT(mc_pool_start(pool, &tries[1].attempt), MC_AGAIN);
    CHECK_U64(gauge("high.rq_pending_open"), 1);
    pipeline_settle(&p);
    CHECK(tries[1].ready);
    CHECK_U64(gauge("high.rq_pending_open"), 0);
    end();
}

TEST(a_host_has_a_limit_of_its_own) { /* CB-5 */
    begin(POOL("\"circuit_breakers\":{\"per_host_thresholds\":[{\"max_connections\":1}]},"));
    CHECK_INT(start(0), MC_AGAIN);
    CHECK_INT(start(1), MC_AGAIN);
    CHECK_INT(p.connects, 1);
    CHECK_U64(counter("upstream_cx_overflow") > 0, 1);
    CHECK_INT(host->cx_active, 1);
    answer(0);
    CHECK(tries[1].ready);
    end();
}

TEST(no_more_pools_than_allowed) { /* CP-12 */
    begin(POOL(BREAKERS("\"max_connection_pools\":1},{\"priority\":\"HIGH\",\"max_connection_pools\":0")));
    mc_pool *pool = NULL;
    CHECK_INT(start(0), MC_AGAIN);
    CHECK_U64(gauge("default.cx_pool_open"), 1);
    CHECK_INT(mc_upstream_pool(upstream, host, MC_PRIORITY_HIGH, &pool), MC_ELIMIT);
    CHECK_U64(counter("upstream_cx_pool_overflow"), 1);
    mc_attempt_cancel(&tries[0].attempt);
    pipeline_settle(&p);
    CHECK_U64(gauge("default.cx_pool_open"), 0); /* CP-14: an empty pool is gone */
    CHECK_INT(start(0), MC_AGAIN);
    end();
}

TEST(a_retry_budget_is_a_share_of_what_is_at_work) { /* CB-4 */
    begin(POOL(BREAKERS("\"retry_budget\":{\"budget_percent\":{\"value\":29.0}}")));
    mc_breakers *b = &upstream->cluster->breakers[MC_PRIORITY_DEFAULT];
    b->requests.count = 60;
    b->pending.count = 40;
    b->retries.count = 27;
    CHECK(!mc_breakers_retry_open(b, 0)); /* 29 % of 100 is 28 in binary fractions */
    mc_breakers_take_retry(b, p.worker->slab, 0);
    CHECK(mc_breakers_retry_open(b, 0));
    CHECK_U64(gauge("default.rq_retry_open"), 1);
    mc_breakers_give_retry(b, p.worker->slab, 0);
    CHECK_U64(gauge("default.rq_retry_open"), 0);
    b->requests.count = b->pending.count = 0;
    b->retries.count = 2;
    CHECK(!mc_breakers_retry_open(b, 0)); /* at least three at a time */
    b->retries.count = 3;
    CHECK(mc_breakers_retry_open(b, 0));
    b->retries.count = 0;
    end();
}

TEST(a_retry_budget_may_be_a_share_of_recent_requests) {
    begin(POOL(BREAKERS("\"retry_budget\":{\"budget_percent\":{\"value\":50.0},\"min_retry_concurrency\":0,"
                        "\"budget_interval\":\"10s\"}")));
    mc_breakers *b = &upstream->cluster->breakers[MC_PRIORITY_DEFAULT];
    const uint64_t now = 1000000;
    b->requests.count = 60; /* at work for longer than the interval */
    CHECK(mc_breakers_retry_open(b, now));
    mc_recent_count(b->recent, now);
    CHECK(mc_breakers_retry_open(b, now));
    mc_recent_count(b->recent, now + 5000);
    CHECK(!mc_breakers_retry_open(b, now + 5000));
    CHECK(!mc_breakers_retry_open(b, now + 9990));
    CHECK(mc_breakers_retry_open(b, now + 10500));
    mc_recent_count(b->recent, now + 10500);
    CHECK(!mc_breakers_retry_open(b, now + 10500));
    CHECK(mc_breakers_retry_open(b, now + 100000));
    b->requests.count = 0;
    end();
}

TEST(the_runtime_overrides_limits) { /* CB-1 */
    begin("{\"layered_runtime\":{\"layers\":[{\"name\":\"l\",\"static_layer\":{\"circuit_breakers\":{\"web\":{"
          "\"default\":"
          "{\"max_pending_requests\":0}}}}}]},\"static_resources\":{\"listeners\":[" LISTENER(
              "", TO_WEB) "],"
                          "\"clusters\":[" CLUSTER("", ENDPOINT("10.0.0.1")) "]}}");
    CHECK_INT(start(0), MC_ELIMIT);
    end();
}

TEST(a_request_that_met_a_closing_connection_goes_to_another) {
    for (int replayable = 0; replayable < 2; replayable++) {
        begin(PLAIN);
        CHECK_INT(start(0), MC_AGAIN);
        answer(0);
        mc_pool *pool = NULL;
        CHECK_INT(mc_upstream_pool(upstream, host, MC_PRIORITY_DEFAULT, &pool), MC_OK);
        tries[1] =
            (tried){.attempt = {.events = &events, .method = MC_SLICE_INIT("GET"), .replayable = replayable == 1}};
        CHECK_INT(mc_pool_start(pool, &tries[1].attempt), MC_OK);
        send_request(&tries[1]);
        tries[1].ready = false;
        mc_memory_reset(&server(0)->conn);
        pipeline_settle(&p);
        CHECK_INT(tries[1].reset, replayable == 0);
        if (replayable == 1) {
            CHECK(tries[1].ready);
            answer(0);
            CHECK(tries[1].complete);
            /* A connection that never served is another matter. */
            CHECK_INT(start(0), MC_OK);
            CHECK_INT(start(2), MC_AGAIN);
            tries[2].attempt.replayable = true;
            mc_memory_reset(&server(1)->conn);
            pipeline_settle(&p);
            CHECK(tries[2].reset);
        }
        end();
    }
}

TEST(a_connection_lives_as_long_as_allowed) { /* CP-11 */
    begin(POOL("\"common_http_protocol_options\":{\"max_connection_duration\":\"10s\"},"));
    CHECK_INT(start(0), MC_AGAIN);
    answer(0);
    pipeline_run(&p, 9000);
    CHECK_INT(start(0), MC_OK);
    pipeline_run(&p, 2000);
    CHECK_U64(counter("upstream_cx_max_duration_reached"), 1);
    CHECK_U64(pipeline_gauge(&p, "cluster.web.upstream_cx_active"), 1);
    answer(0);
    CHECK(tries[0].complete);
    CHECK_U64(pipeline_gauge(&p, "cluster.web.upstream_cx_active"), 0);
    end();
}

static uint64_t draw_4000(void *ctx) {
    (void)ctx;
    return 4000;
}

TEST(a_connection_may_live_longer_by_a_share) {
    begin(POOL("\"common_http_protocol_options\":{\"max_connection_duration\":\"10s\","
               "\"max_connection_duration_jitter\":{\"value\":50}},"));
    mc_loop_random(p.worker->loop)->draw = draw_4000;
    CHECK_INT(start(0), MC_AGAIN);
    answer(0);
    pipeline_run(&p, 13500);
    CHECK_U64(counter("upstream_cx_max_duration_reached"), 0);
    pipeline_run(&p, 1000);
    CHECK_U64(counter("upstream_cx_max_duration_reached"), 1);
    end();
}

TEST(connections_are_made_ahead) { /* CP-5 */
    begin(POOL("\"preconnect_policy\":{\"per_upstream_preconnect_ratio\":1.5},"));
    CHECK_INT(start(0), MC_AGAIN);
    CHECK_INT(p.connects, 2);
    CHECK_INT(start(1), MC_OK); /* 2 active: 3 > 0 + 2 */
    CHECK_INT(p.connects, 3);
    end();
}

TEST(connections_are_made_ahead_of_the_next_choice) { /* CP-15 */
    begin(CONFIG(LISTENER("", TO_WEB), CLUSTER("\"preconnect_policy\":{\"predictive_preconnect_ratio\":2.0},",
                                               ENDPOINT("10.0.0.1") "," ENDPOINT("10.0.0.2"))));
    CHECK_INT(start(0), MC_AGAIN);
    CHECK_INT(p.connects, 2); /* to each host one: (0 + 0 + 1) * 2 streams are expected */
    CHECK_INT(mc_hosts_at(upstream->hosts, 1)->cx_active, 1);
    end();
}

/* What one cluster's connections have room for is not made again for another (CP-15). */
TEST(what_other_clusters_have_counts) {
    begin("{\"static_resources\":{\"listeners\":[" LISTENER("", TO_WEB) "],\"clusters\":[" CLUSTER(
        "\"preconnect_policy\":{\"predictive_preconnect_ratio\":2.0},",
        ENDPOINT("10.0.0.1") "," ENDPOINT("10.0.0.2")) ",{\"name\":\"other\",\"load_assignment\":{\"endpoints\":[{\"lb_"
                                                       "endpoints\":[" ENDPOINT("10.0.0.3") "]}]}}]}}");
    mc_upstream *web = upstream;
    mc_host *first = host;
    upstream = mc_proxy_upstream(&p.worker->proxy, p.worker->snapshot->clusters[1].cluster->slot);
    host = mc_hosts_at(upstream->hosts, 0);
    CHECK_INT(start(1), MC_AGAIN);
    CHECK_INT(start(2), MC_AGAIN);
    answer(0);
    answer(1);
    CHECK(tries[1].complete && tries[2].complete);
    upstream = web;
    host = first;
    CHECK_INT(start(0), MC_AGAIN);
    CHECK_INT(p.connects, 3); /* (0 + 0 + 1) * 2 streams are expected, and there is room for them */
    end();
}

/* CP-10: the response says so, in its headers; that it ends with the connection does not. */
TEST(a_response_may_ask_to_close) {
    static const struct {
        const char *response;
        int notes;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 0},
        {"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", 1},
        {"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", 1},
        {"HTTP/1.0 200 OK\r\ncontent-length: 0\r\nconnection: keep-alive\r\n\r\n", 0},
        {"HTTP/1.1 200 OK\r\n\r\n", 0},
        {"HTTP/1.0 200 OK\r\n\r\n", 1},
        {"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\n", 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        begin(PLAIN);
        CHECK_INT(start(0), MC_AGAIN);
        pipeline_send(server(0), mc_slice_cstr(cases[i].response));
        pipeline_settle(&p);
        CHECK_U64(counter("upstream_cx_close_notify"), cases[i].notes);
        end();
    }
}

/* --- several addresses (RFC 8305) ------------------------------------------------------------------------------------- */

#define THREE                                                                                                          \
    "{\"endpoint\":{\"address\":{\"socket_address\":{\"address\":\"10.0.0.1\",\"port_value\":80}},\"additional_"       \
    "addresses\":[{\"address\":{\"socket_address\":{\"address\":\"10.0.0.2\",\"port_value\":80}}},{\"address\":{"      \
    "\"socket_address\":{\"address\":\"10.0.0.3\",\"port_value\":80}}}]}}"

static mc_conn *racers[8];
static uint32_t raced, dead_ends; /* connections made, and how many of them go nowhere */

static mc_status connect_racer(void *ctx, mc_conn *conn, mc_net *net, const mc_host *to,
                               const mc_conn_events *conn_events) {
    racers[raced++] = conn;
    return raced <= dead_ends ? connect_nowhere(ctx, conn, net, to, conn_events)
                              : pipeline_connect(ctx, conn, net, to, conn_events);
}

static void begin_race(uint32_t ends) {
    begin(CONFIG(LISTENER("", TO_WEB), CLUSTER("\"connect_timeout\":\"2s\",\"circuit_breakers\":{\"thresholds\":[{"
                                               "\"max_connections\":1,\"track_remaining\":true}]},",
                                               THREE)));
    p.connector.connect = connect_racer;
    raced = 0;
    dead_ends = ends;
}

/* The pool has one connection, whatever goes on behind it. */
static void check_one(void) {
    CHECK_U64(pipeline_gauge(&p, "cluster.web.upstream_cx_active"), 1);
    CHECK_U64(pipeline_gauge(&p, "cluster.web.circuit_breakers.default.remaining_cx"), 0);
    CHECK_U64(pipeline_gauge(&p, "cluster.web.circuit_breakers.default.cx_open"), 1);
    CHECK_INT(host->cx_active, 1);
    CHECK_U64(counter("upstream_cx_total"), 1);
    CHECK_U64(counter("upstream_cx_overflow"), 0);
}

static void check_none(void) {
    CHECK_U64(pipeline_gauge(&p, "cluster.web.upstream_cx_active"), 0);
    CHECK_U64(pipeline_gauge(&p, "cluster.web.circuit_breakers.default.remaining_cx"), 1);
    CHECK_U64(pipeline_gauge(&p, "cluster.web.circuit_breakers.default.cx_open"), 0);
    CHECK_INT(host->cx_active, 0);
    CHECK_INT(upstream->load->unused, 0);
    CHECK_INT(upstream->clients, 0);
}

TEST(the_first_address_is_enough) {
    begin_race(0);
    CHECK_INT(start(0), MC_AGAIN);
    CHECK(tries[0].ready);
    pipeline_run(&p, 1000);
    CHECK_INT(raced, 1);
    check_one();
    end();
}

TEST(a_slow_address_has_company_after_a_while) {
    begin_race(2);
    CHECK_INT(start(0), MC_AGAIN);
    pipeline_run(&p, 290);
    CHECK_INT(raced, 1);
    pipeline_run(&p, 20);
    CHECK_INT(raced, 2);
    check_one();
    CHECK_INT(start(1), MC_AGAIN); /* waits with it: no room for another connection */
    CHECK_U64(counter("upstream_cx_overflow"), 1);
    pipeline_run(&p, 290);
    CHECK_INT(raced, 3);
    CHECK(tries[0].ready);
    CHECK_U64(pipeline_gauge(&p, "cluster.web.upstream_cx_active"), 1);
    CHECK_INT(host->cx_active, 1);
    CHECK_INT(upstream->clients, 1);
    pipeline_run(&p, 3000); /* nobody's timer is left */
    CHECK_U64(counter("upstream_cx_connect_fail"), 0);
    answer(0);
    CHECK(tries[0].complete && tries[1].ready);
    answer(0);
    CHECK(tries[1].complete);
    end();
}

TEST(a_failed_address_is_followed_at_once) {
    begin_race(1);
    CHECK_INT(start(0), MC_AGAIN);
    mc_conn_abort(racers[0], MC_CLOSE_CONNECT_FAILED);
    pipeline_settle(&p);
    CHECK_INT(raced, 2);
    CHECK(tries[0].ready);
    check_one();
    CHECK_U64(counter("upstream_cx_connect_fail"), 0);
    answer(0);
    CHECK(tries[0].complete);
    end();
}

TEST(the_last_address_decides) {
    begin_race(3);
    CHECK_INT(start(0), MC_AGAIN);
    for (uint32_t i = 0; i < 3; i++) {
        CHECK(!tries[0].failed);
        CHECK_INT(raced, i + 1);
        check_one();
        mc_conn_abort(racers[i], MC_CLOSE_CONNECT_FAILED);
        pipeline_settle(&p);
    }
    CHECK(tries[0].failed);
    CHECK_INT(tries[0].reason, MC_RESET_REMOTE_CONNECTION_FAILURE);
    CHECK_U64(counter("upstream_cx_connect_fail"), 1);
    check_none();
    end();
}

TEST(all_addresses_have_one_timeout) {
    begin_race(3);
    CHECK_INT(start(0), MC_AGAIN);
    pipeline_run(&p, 500);
    mc_conn_abort(racers[0], MC_CLOSE_CONNECT_FAILED); /* the others go on, without it */
    pipeline_run(&p, 1450);
    CHECK(!tries[0].failed);
    CHECK_INT(raced, 3);
    check_one();
    pipeline_run(&p, 100);
    CHECK(tries[0].failed);
    CHECK_INT(tries[0].reason, MC_RESET_CONNECTION_TIMEOUT);
    CHECK_U64(counter("upstream_cx_connect_timeout"), 1);
    check_none();
    end();
}

TEST(a_race_ends_with_its_pool) {
    for (int lost = 0; lost < 2; lost++) {
        begin_race(3);
        CHECK_INT(start(0), MC_AGAIN);
        pipeline_run(&p, 400);
        if (lost) {
            mc_conn_abort(racers[0], MC_CLOSE_CONNECT_FAILED);
            pipeline_settle(&p);
        }
        mc_attempt_cancel(&tries[0].attempt);
        mc_error error;
        CHECK_INT(pipeline_configure(&p, CONFIG(LISTENER("", TO_WEB), CLUSTER("", ENDPOINT("10.0.0.9"))), &error),
                  MC_OK);
        pipeline_run(&p, 1);
        CHECK_INT(host->cx_active, 0);
        CHECK_U64(pipeline_gauge(&p, "cluster.web.upstream_cx_active"), 0);
        mc_host_unref(host);
        pipeline_close(&p);
    }
}
