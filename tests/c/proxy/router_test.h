/* What the tests of the router share: one pipeline, one client, servers told apart by their order. */
#ifndef MC_TESTS_ROUTER_TEST_H
#define MC_TESTS_ROUTER_TEST_H

#include "proxy_test.h"

#define ROUTE(more)         "{\"name\":\"r\",\"match\":{\"prefix\":\"/\"},\"route\":{\"cluster\":\"web\"" more "}}"
#define ONE_HOST(hcm, more) CONFIG(LISTENER(hcm, ROUTE(more)), CLUSTER("", ENDPOINT("10.0.0.1")))
#define NAMED(name, ip)                                                                                                \
    "{\"name\":\"" name "\",\"type\":\"STATIC\",\"load_assignment\":{\"cluster_name\":\"" name                         \
    "\",\"endpoints\":[{\"lb_endpoints\":[" ENDPOINT(ip) "]}]}}"
#define GET "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
#define OK  "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
#define BAD "HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nno"
/* With both, a request comes from inside: its x-envoy- headers count (HC-14). */
#define INSIDE "\"internal_address_config\":{},"
#define INNER  "x-forwarded-for: 10.1.1.1\r\n"

static pipeline p;
static pipeline_peer client;
static char text[65536];

static inline void begin(const char *json) {
    open_pipeline(&p, json);
    CHECK_INT(pipeline_client(&p, &client, "main"), MC_OK);
}

/* Whatever happened, nothing is left. */
static inline void end(void) {
    static const char *const gauges[] = {
        "http.in.downstream_rq_active",
        "cluster.web.upstream_rq_active",
        "cluster.web.upstream_rq_pending_active",
        "cluster.web.circuit_breakers.default.rq_open",
        "cluster.web.circuit_breakers.default.rq_retry_open",
        "cluster.mirror.upstream_rq_active",
        "cluster.mirror.upstream_rq_pending_active",
    };
    pipeline_client_close(&client);
    pipeline_run(&p, 100);
    for (size_t i = 0; i < sizeof gauges / sizeof gauges[0]; i++) {
        CHECK_U64(pipeline_gauge(&p, gauges[i]), 0);
    }
    pipeline_close(&p);
}

static inline void silent(pipeline_peer *server) {}

/* The n-th server connection still open, oldest first. */
static inline pipeline_peer *server_at(uint32_t n) {
    MC_LIST_EACH(&p.servers, node) {
        if (n-- == 0) {
            return MC_CONTAINER(node, pipeline_peer, link);
        }
    }
    return NULL;
}

static inline void say(uint32_t n, const char *bytes) {
    CHECK(server_at(n) != NULL);
    pipeline_send(server_at(n), mc_slice_cstr(bytes));
    pipeline_settle(&p);
}

/* What this server got since the last call. */
static inline mc_slice heard(uint32_t n) {
    CHECK(server_at(n) != NULL);
    mc_slice got = pipeline_received(server_at(n), text, sizeof text);
    mc_buffer_clear(&server_at(n)->in);
    return got;
}

static inline void send_now(const char *bytes) {
    pipeline_send(&client, mc_slice_cstr(bytes));
    pipeline_settle(&p);
}

static inline mc_slice received(void) {
    mc_slice got = pipeline_received(&client, text, sizeof text);
    mc_buffer_clear(&client.in);
    return got;
}

static inline uint64_t web(const char *name) {
    char full[128];
    snprintf(full, sizeof full, "cluster.web.%s", name);
    return pipeline_counter(&p, full);
}
static inline uint64_t in_hcm(const char *name) {
    char full[128];
    snprintf(full, sizeof full, "http.in.%s", name);
    return pipeline_counter(&p, full);
}

#endif
