/* The control side of a cluster at work, on a virtual loop: outlier detection from answer to ejection and back, merged updates. */
#include "../proxy/proxy_test.h"

#define TWO       ENDPOINT("10.0.0.1") "," ENDPOINT("10.0.0.2")
#define EJECTING  "\"outlier_detection\":{\"consecutive_5xx\":3,\"max_ejection_percent\":50,\"interval\":\"1s\"},"
#define WEB(more) CONFIG(LISTENER("", TO_WEB), CLUSTER(more, TWO))

static pipeline p;
static int bad, asked;

/* 10.0.0.1 answers 500 while `bad`. */
static void serve(pipeline_peer *server) {
    const bool first = mc_slice_eq(server->host->address_text, MC_SLICE("10.0.0.1:80"));
    char text[8192];
    mc_slice got = pipeline_received(server, text, sizeof text);
    if (mc_slice_search(got, MC_SLICE("\r\n\r\n")) == SIZE_MAX) {
        return;
    }
    mc_buffer_drain(&server->in, got.n);
    asked += first;
    pipeline_send(server, first && bad ? MC_SLICE("HTTP/1.1 500 Bad\r\ncontent-length: 0\r\n\r\n")
                                       : MC_SLICE("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
}

static void ask(int n) {
    for (int i = 0; i < n; i++) {
        pipeline_peer client;
        CHECK_INT(pipeline_client(&p, &client, "main"), MC_OK);
        pipeline_send(&client, MC_SLICE("GET / HTTP/1.1\r\nhost: h\r\n\r\n"));
        pipeline_settle(&p);
        CHECK(client.in.length > 0);
        pipeline_client_close(&client);
    }
}

static void begin(const char *json) {
    bad = 1;
    asked = 0;
    open_pipeline(&p, json);
    p.serve = serve;
}

static mc_host *first_host(void) {
    return mc_hosts_at(mc_engine_members(p.engine, p.engine->current->clusters[0].cluster), 0);
}

TEST(a_host_that_answers_5xx_is_ejected_and_comes_back) {
    begin(WEB(EJECTING));
    ask(6);
    CHECK_INT(asked, 3);
    CHECK(first_host()->health_flags & MC_FAILED_OUTLIER_CHECK);
    CHECK_U64(pipeline_counter(&p, "cluster.web.outlier_detection.ejections_enforced_consecutive_5xx"), 1);
    CHECK_U64(pipeline_gauge(&p, "cluster.web.outlier_detection.ejections_active"), 1);
    CHECK_U64(pipeline_gauge(&p, "cluster.web.membership_healthy"), 1);
    /* CL-12: what the configuration brought along was no update. */
    CHECK_U64(pipeline_counter(&p, "cluster_manager.cluster_updated"), 1);
    CHECK_U64(pipeline_counter(&p, "cluster_manager.update_out_of_merge_window"), 1);
    asked = 0;
    ask(10);
    CHECK_INT(asked, 0);
    bad = 0;
    pipeline_run(&p, 31000);
    CHECK_INT(first_host()->health_flags, 0);
    CHECK_U64(pipeline_counter(&p, "cluster_manager.update_out_of_merge_window"), 2);
    CHECK_U64(pipeline_counter(&p, "cluster_manager.cluster_updated"), 2);
    CHECK_U64(pipeline_counter(&p, "cluster_manager.cluster_updated_via_merge"), 0);
    ask(10);
    CHECK_INT(asked, 5);
    mc_outlier_note notes[4];
    CHECK_INT(mc_members_notes(&p.engine->members, notes, 4), 2);
    CHECK_INT(notes[0].action, MC_OUTLIER_EJECT);
    CHECK_INT(notes[0].type, MC_OUTLIER_CONSECUTIVE_5XX);
    CHECK_U64(notes[0].since_ms, UINT64_MAX);
    CHECK_INT(notes[0].ejections, 1);
    CHECK_INT(notes[1].action, MC_OUTLIER_UNEJECT);
    CHECK(notes[1].since_ms >= 30000 && notes[1].since_ms < 31000);
    mc_outlier_note_fini(&notes[0]);
    mc_outlier_note_fini(&notes[1]);
    pipeline_close(&p);
}

/* CL-14: idle connections of an ejected host close, those at work afterwards. */
TEST(an_ejected_host_loses_its_connections) {
    begin(WEB(EJECTING));
    ask(6);
    pipeline_settle(&p);
    CHECK_U64(pipeline_gauge(&p, "cluster.web.upstream_cx_active"), 1);
    pipeline_close(&p);
}

TEST(without_a_window_nothing_waits) {
    begin(WEB(EJECTING "\"common_lb_config\":{\"update_merge_window\":\"0s\"},"));
    ask(6);
    CHECK_U64(pipeline_counter(&p, "cluster_manager.cluster_updated"), 1);
    asked = 0;
    ask(4);
    CHECK_INT(asked, 0);
    pipeline_close(&p);
}

TEST(the_runtime_overrides_thresholds) {
    begin("{\"layered_runtime\":{\"layers\":[{\"name\":\"l\",\"static_layer\":{\"outlier_detection\":{\"consecutive_"
          "5xx\":1,"
          "\"base_ejection_time_ms\":2000}}}]},\"static_resources\":{\"listeners\":[" LISTENER(
              "", TO_WEB) "],"
                          "\"clusters\":[" CLUSTER(EJECTING, TWO) "]}}");
    ask(2);
    CHECK_INT(asked, 1);
    CHECK(first_host()->health_flags & MC_FAILED_OUTLIER_CHECK);
    pipeline_run(&p, 3000);
    CHECK_INT(first_host()->health_flags, 0);
    pipeline_close(&p);
}

#define AT(priority, ...) "{\"priority\":" #priority ",\"lb_endpoints\":[" __VA_ARGS__ "]}"
#define WEIGHING(address, weight)                                                                                      \
    "{\"endpoint\":{\"address\":{\"socket_address\":{\"address\":\"" address                                           \
    "\",\"port_value\":80}}},\"load_balancing_weight\":" #weight "}"

static void assign(const char *json) {
    mc_error error;
    mc_arena arena;
    const mc_value *value;
    mc_arena_init(&arena, NULL);
    CHECK_INT(mc_value_parse(&arena, mc_slice_cstr(json), &value, &error), MC_OK);
    CHECK_INT(mc_engine_set_assignment(p.engine, MC_SLICE("web"), value, &error), MC_OK);
    mc_arena_fini(&arena);
    pipeline_settle(&p);
}

static uint64_t manager(const char *name) {
    char text[128];
    snprintf(text, sizeof text, "cluster_manager.%s", name);
    return pipeline_counter(&p, text);
}

static uint64_t changes(void) { return pipeline_counter(&p, "cluster.web.membership_change"); }

/* CL-11, CL-12: priorities count, and wait, each for itself. */
TEST(updates_are_merged_by_priority) {
    open_pipeline(
        &p, CONFIG(LISTENER("", TO_WEB), "{\"name\":\"web\",\"type\":\"EDS\",\"load_assignment\":{\"endpoints\":[" AT(
                                             0, ENDPOINT("10.0.0.1")) "," AT(1, ENDPOINT("10.0.0.2")) "]}}"));
    CHECK_U64(changes(), 2);
    CHECK_U64(manager("cluster_updated"), 0);
    /* A host more in one. */
    assign(
        "{\"endpoints\":[" AT(0, ENDPOINT("10.0.0.1") "," ENDPOINT("10.0.0.3")) "," AT(1, ENDPOINT("10.0.0.2")) "]}");
    CHECK_U64(changes(), 3);
    CHECK_U64(manager("cluster_updated"), 1);
    /* Other weights: the first priority has just had an update, the second not. */
#define WEIGHED(a, b)                                                                                                  \
    "{\"endpoints\":[" AT(0, WEIGHING("10.0.0.1", a) "," ENDPOINT("10.0.0.3")) "," AT(1, WEIGHING("10.0.0.2", b)) "]}"
    assign(WEIGHED(2, 2));
    CHECK_U64(manager("cluster_updated"), 2);
    CHECK_U64(manager("update_out_of_merge_window"), 1);
    CHECK_U64(manager("cluster_updated_via_merge"), 0);
    pipeline_run(&p, 400);
    assign(WEIGHED(3, 3));
    pipeline_run(&p, 600); /* a window after the first priority began to wait */
    CHECK_U64(manager("cluster_updated_via_merge"), 1);
    pipeline_run(&p, 400);
    CHECK_U64(manager("cluster_updated_via_merge"), 2);
    /* A host that moves is gone from one priority and new in the other; what waits goes along. */
    assign(WEIGHED(4, 4));
    CHECK_U64(manager("cluster_updated"), 2);
    assign("{\"endpoints\":[" AT(0, WEIGHING("10.0.0.1", 4)) "," AT(
        1, WEIGHING("10.0.0.2", 4) "," ENDPOINT("10.0.0.3")) "]}");
    CHECK_U64(changes(), 5);
    CHECK_U64(manager("cluster_updated"), 4);
    CHECK_U64(manager("update_merge_cancelled"), 2);
    pipeline_run(&p, 5000);
    CHECK_U64(manager("cluster_updated_via_merge"), 2);
    /* The same again is none. */
    assign("{\"endpoints\":[" AT(0, WEIGHING("10.0.0.1", 4)) "," AT(
        1, WEIGHING("10.0.0.2", 4) "," ENDPOINT("10.0.0.3")) "]}");
    CHECK_U64(manager("cluster_updated"), 4);
    pipeline_close(&p);
}

/* A cluster that changes starts afresh; its reports on the way mean nothing to the new one. */
TEST(a_new_configuration_forgets_ejections) {
    mc_error error;
    begin(WEB(EJECTING));
    ask(6);
    CHECK_INT(pipeline_configure(&p, WEB(EJECTING "\"connect_timeout\":\"1s\","), &error), MC_OK);
    CHECK_INT(first_host()->health_flags, 0);
    CHECK_U64(pipeline_gauge(&p, "cluster.web.outlier_detection.ejections_active"), 0);
    CHECK_INT(pipeline_configure(&p, CONFIG("", ""), &error), MC_OK);
    pipeline_run(&p, 40000);
    pipeline_close(&p);
}

/* A request between two tries goes on with the cluster that has taken its cluster's place. */
TEST(a_retry_follows_the_cluster) {
#define RETRIED                                                                                                        \
    "{\"match\":{\"prefix\":\"/\"},\"route\":{\"cluster\":\"web\",\"retry_policy\":{\"retry_on\":\"5xx\","             \
    "\"retry_back_off\":{\"base_interval\":\"4s\"}}}}"
    mc_error error;
    pipeline_peer client;
    begin(CONFIG(LISTENER("", RETRIED), CLUSTER("", ENDPOINT("10.0.0.1"))));
    CHECK_INT(pipeline_client(&p, &client, "main"), MC_OK);
    pipeline_send(&client, MC_SLICE("GET / HTTP/1.1\r\nhost: h\r\n\r\n"));
    pipeline_settle(&p);
    CHECK_INT(asked, 1);
    CHECK_INT(client.in.length, 0);
    CHECK_INT(
        pipeline_configure(
            &p, CONFIG(LISTENER("", RETRIED), CLUSTER("\"connect_timeout\":\"1s\",", ENDPOINT("10.0.0.2"))), &error),
        MC_OK);
    pipeline_run(&p, 4000);
    CHECK_INT(asked, 1);
    char text[512];
    CHECK_HAS(pipeline_received(&client, text, sizeof text), "HTTP/1.1 200 OK");
    pipeline_client_close(&client);
    pipeline_close(&p);
}
