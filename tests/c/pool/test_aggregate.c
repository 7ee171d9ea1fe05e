/* Aggregate clusters (CL-16): which member serves, as its hosts come, go and fail. */
#include "../proxy/proxy_test.h"

#define HOST(ip, status)                                                                                               \
    "{\"health_status\":\"" status "\",\"endpoint\":{\"address\":{\"socket_address\":{\"address\":\"" ip               \
    "\",\"port_value\":80}}}}"
#define MEMBER(name, groups) "{\"name\":\"" name "\",\"load_assignment\":{\"endpoints\":[" groups "]}}"
#define GROUP(priority, ...) "{\"priority\":" #priority ",\"lb_endpoints\":[" __VA_ARGS__ "]}"
#define ALL(...)                                                                                                       \
    CONFIG("", "{\"name\":\"all\",\"lb_policy\":\"CLUSTER_PROVIDED\",\"cluster_type\":{\"name\":\"a\",\"typed_"        \
               "config\":{\"@type\":\"type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig\","     \
               "\"clusters\":[\"one\",\"two\"]}}}" __VA_ARGS__)

static pipeline p;

static mc_upstream *upstream_of(uint32_t cluster) {
    return mc_proxy_upstream(&p.worker->proxy, p.worker->snapshot->clusters[cluster].cluster->slot);
}

static void reconfigure(const char *json) {
    mc_error error = {0};
    CHECK_INT(pipeline_configure(&p, json, &error), MC_OK);
    pipeline_settle(&p);
}

/* The last byte of the address of whoever serves; 0: nobody. */
static int choose(void) {
    mc_upstream *from;
    mc_host *host = mc_upstream_choose(upstream_of(0), &(mc_lb_request){0}, &from);
    CHECK(host == NULL || (from != upstream_of(0) && mc_hosts_has(from->hosts, host)));
    return host == NULL ? 0 : host->address_text.p[7] - '0';
}

static void check_always(int expected) {
    for (int i = 0; i < 200; i++) {
        CHECK_INT(choose(), expected);
    }
}

/* How many of a hundred go to this one, about. */
static void check_share(int which, int least, int most) {
    int hits = 0;
    for (int i = 0; i < 1000; i++) {
        hits += choose() == which;
    }
    CHECK(hits >= 10 * least && hits <= 10 * most);
}

#define ONE(a, b) MEMBER("one", GROUP(0, HOST("10.0.0.1", a)) "," GROUP(1, HOST("10.0.0.2", b)))
#define TWO(c)    MEMBER("two", GROUP(0, HOST("10.0.0.3", c)))

TEST(priorities_follow_one_another) {
    open_pipeline(&p, ALL("," ONE("HEALTHY", "HEALTHY") "," TWO("HEALTHY")));
    check_always(1);
    reconfigure(ALL("," ONE("UNHEALTHY", "HEALTHY") "," TWO("HEALTHY")));
    check_always(2);
    reconfigure(ALL("," ONE("UNHEALTHY", "UNHEALTHY") "," TWO("HEALTHY")));
    check_always(3);
    reconfigure(ALL("," ONE("DEGRADED", "UNHEALTHY") "," TWO("HEALTHY")));
    check_always(3); /* healthy ones before degraded ones, wherever they are */
    reconfigure(ALL("," ONE("DEGRADED", "UNHEALTHY") "," TWO("UNHEALTHY")));
    check_always(1);
    pipeline_close(&p);
}

TEST(members_come_and_go) {
    open_pipeline(&p, ALL(""));
    check_always(0);
    reconfigure(ALL("," TWO("HEALTHY")));
    check_always(3);
    reconfigure(ALL("," TWO("HEALTHY") "," ONE("HEALTHY", "HEALTHY")));
    check_always(1); /* in the order of the aggregate */
    reconfigure(ALL("," TWO("HEALTHY") "," MEMBER("one", "")));
    check_always(3);
    reconfigure(ALL(""));
    check_always(0);
    CHECK(pipeline_counter(&p, "cluster.all.upstream_cx_none_healthy") > 0);
    pipeline_close(&p);
}

/* Two healthy of three are good for 93 of a hundred; the rest goes on. */
TEST(load_is_shared) {
    open_pipeline(&p,
                  ALL("," MEMBER("one", GROUP(0, HOST("10.0.0.1", "HEALTHY") "," HOST("10.0.0.4", "HEALTHY") "," HOST(
                                                     "10.0.0.5", "UNHEALTHY"))) "," TWO("HEALTHY")));
    check_share(3, 4, 10);
    check_share(1, 40, 53);
    check_share(5, 0, 0);
    pipeline_close(&p);
}

TEST(only_aggregates_are_provided_for) {
    mc_error error;
    open_pipeline(&p, ALL(""));
    CHECK_INT(pipeline_configure(&p, CONFIG("", "{\"name\":\"x\",\"lb_policy\":\"CLUSTER_PROVIDED\"}"), &error),
              MC_EINVAL);
    pipeline_close(&p);
}
