/* What the proxy's tests share: configurations by macros, and exchanges over pipeline.h. */
#ifndef MC_TESTS_PROXY_TEST_H
#define MC_TESTS_PROXY_TEST_H

#include "../pipeline.h"

#include "../test.h"

#define HCM                                                                                                            \
    "\"@type\":\"type.googleapis.com/"                                                                                 \
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager\","
#define ROUTER                                                                                                         \
    "\"http_filters\":[{\"name\":\"envoy.filters.http.router\",\"typed_config\":{\"@type\":"                           \
    "\"type.googleapis.com/envoy.extensions.filters.http.router.v3.Router\"}}]"
#define ENDPOINT(ip) "{\"endpoint\":{\"address\":{\"socket_address\":{\"address\":\"" ip "\",\"port_value\":80}}}}"
#define LISTENER(hcm, routes)                                                                                          \
    "{\"name\":\"main\",\"address\":{\"socket_address\":{\"address\":\"127.0.0.1\",\"port_value\":10000}},"            \
    "\"filter_chains\":[{\"filters\":[{\"name\":\"hcm\",\"typed_config\":{" HCM "\"stat_prefix\":\"in\"," hcm ROUTER   \
    ",\"route_config\":{\"name\":\"local\",\"virtual_hosts\":[{\"name\":\"all\",\"domains\":[\"*\"],\"routes\":"       \
    "[" routes "]}]}}}]}]}"
#define CLUSTER(more, endpoints)                                                                                       \
    "{\"name\":\"web\",\"type\":\"STATIC\"," more "\"load_assignment\":{\"cluster_name\":\"web\",\"endpoints\":[{"     \
    "\"lb_endpoints\":[" endpoints "]}]}}"
#define CONFIG(listener, cluster) "{\"static_resources\":{\"listeners\":[" listener "],\"clusters\":[" cluster "]}}"

#define TO_WEB "{\"match\":{\"prefix\":\"/\"},\"route\":{\"cluster\":\"web\"}}"
#define PLAIN  CONFIG(LISTENER("", TO_WEB), CLUSTER("", ENDPOINT("10.0.0.1")))

static inline void open_pipeline(pipeline *p, const char *json) {
    mc_error error = {0};
    mc_status status = pipeline_open(p, json, 42, &error);
    if (status != MC_OK) {
        fprintf(stderr, "configuration: %s: %s\n", error.path, error.reason);
    }
    CHECK_INT(status, MC_OK);
}

static inline bool contains(mc_slice text, const char *part) {
    return mc_slice_search(text, mc_slice_cstr(part)) != SIZE_MAX;
}

/* Sends a request and returns what came back within a virtual second. */
static inline mc_slice exchange(pipeline *p, pipeline_peer *client, const char *request, char *out, size_t n) {
    pipeline_send(client, mc_slice_cstr(request));
    pipeline_run(p, 1000);
    mc_slice got = pipeline_received(client, out, n);
    mc_buffer_clear(&client->in);
    return got;
}

#define CHECK_HAS(text, part)                                                                                          \
    do {                                                                                                               \
        if (!contains(text, part)) {                                                                                   \
            fprintf(stderr, "%s:%d: no \"%s\" in:\n%.*s\n", __FILE__, __LINE__, part, MC_SLICE_ARG(text));             \
            CHECK(!"contains");                                                                                        \
        }                                                                                                              \
    } while (0)

/* Answers each request, and keeps its head in the 4096 bytes of p.user. */
static inline void keep_request(pipeline_peer *server) {
    char text[4096];
    mc_slice got = pipeline_received(server, text, sizeof text);
    if (contains(got, "\r\n\r\n")) {
        snprintf(server->owner->user, 4096, "%.*s", MC_SLICE_ARG(got));
        pipeline_serve_default(server);
    }
}

#endif
