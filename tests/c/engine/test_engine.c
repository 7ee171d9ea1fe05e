/* The engine on real threads and loopback sockets: publish, swap, new hosts, drain and stop, while clients keep asking. Made to
 * run under ThreadSanitizer. The upstream is an engine too: one listener with a direct response. */
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../test.h"

#include "engine/engine.h"
#include "stats/read.h"

enum { WORKERS = 2, ASKERS = 3, ROUNDS = 40, WAIT_MS = 20000 };

#define HCM                                                                                                            \
    "\"@type\":\"type.googleapis.com/"                                                                                 \
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager\""
#define ROUTER "{\"name\":\"envoy.filters.http.router\"}"

typedef struct side {
    mc_stats *stats;
    mc_engine *engine;
    pthread_t threads[WORKERS];
    uint16_t port;
} side;

typedef struct worker_thread {
    mc_engine *engine;
    uint32_t index;
} worker_thread;

static worker_thread starts[2][WORKERS];

static void *work(void *arg) {
    worker_thread *t = arg;
    (void)mc_engine_run_worker(t->engine, t->index);
    return NULL;
}

__attribute__((format(printf, 2, 3))) static mc_status publish(side *s, const char *format, ...) {
    char json[4096];
    mc_arena arena;
    mc_error error = {0};
    const mc_value *config;
    mc_snapshot *snapshot = NULL;
    va_list args;
    va_start(args, format);
    vsnprintf(json, sizeof json, format, args);
    va_end(args);
    mc_arena_init(&arena, NULL);
    mc_status status = mc_value_parse(&arena, mc_slice_cstr(json), &config, &error);
    if (status == MC_OK) {
        status = mc_engine_compile(s->engine, config, NULL, 0, &snapshot, &error);
    }
    if (status == MC_OK) {
        status = mc_engine_bind(s->engine, snapshot, &error);
    }
    if (status == MC_OK) {
        status = mc_engine_publish(s->engine, snapshot);
    }
    mc_snapshot_unref(snapshot);
    mc_arena_fini(&arena);
    if (status != MC_OK) {
        fprintf(stderr, "%s: %s\n", error.path, error.reason);
    }
    return status;
}

static void open_side(side *s, int which) {
    memset(s, 0, sizeof *s);
    s->stats = mc_stats_new();
    CHECK(s->stats != NULL);
    mc_engine_options options = {.workers = WORKERS, .seed = 1, .record_capacity = 1024, .stats = s->stats};
    CHECK_INT(mc_engine_new(&options, &s->engine), MC_OK);
    for (uint32_t i = 0; i < WORKERS; i++) {
        starts[which][i] = (worker_thread){s->engine, i};
    }
}

static void start_side(side *s, int which) {
    const mc_bound *bound = mc_engine_find_bound(s->engine, MC_SLICE("main"));
    CHECK(bound != NULL);
    s->port = mc_address_port(&bound->actual);
    CHECK(s->port != 0);
    for (uint32_t i = 0; i < WORKERS; i++) {
        CHECK_INT(pthread_create(&s->threads[i], NULL, work, &starts[which][i]), 0);
    }
}

/* Turns the control loop until `done`. */
static void wait_until(side *s, bool (*done)(const mc_engine *)) {
    for (int waited = 0; !done(s->engine); waited++) {
        CHECK(waited < WAIT_MS / 10);
        struct pollfd fd = {.fd = mc_loop_fd(s->engine->control), .events = POLLIN};
        (void)poll(&fd, 1, 10);
        CHECK(mc_loop_turn(s->engine->control, 0) >= 0);
    }
}

static void close_side(side *s) {
    mc_engine_stop(s->engine);
    for (uint32_t i = 0; i < WORKERS; i++) {
        CHECK_INT(pthread_join(s->threads[i], NULL), 0);
    }
    CHECK(mc_engine_stopped(s->engine));
    mc_engine_free(s->engine);
    mc_stats_unref(s->stats);
}

#define LISTENER                                                                                                       \
    "{\"name\":\"main\",\"address\":{\"socket_address\":{\"address\":\"127.0.0.1\",\"port_value\":0}},"                \
    "\"filter_chains\":[{\"filters\":[{\"name\":\"hcm\",\"typed_config\":{" HCM                                        \
    ",\"stat_prefix\":\"in\",\"http_filters\":[" ROUTER "],\"route_config\":{\"name\":\"local\",\"virtual_hosts\":[{"  \
    "\"name\":\"all\",\"domains\":[\"*\"],\"routes\":[%s]}]}}}]}]}"
#define DIRECT                                                                                                         \
    "{\"match\":{\"prefix\":\"/\"},\"direct_response\":{\"status\":200,\"body\":{\"inline_string\":\"pong\"}}}"
#define TO(web) "{\"match\":{\"prefix\":\"/\"},\"route\":{\"cluster\":\"" web "\"}}"
#define CLUSTER                                                                                                        \
    "{\"name\":\"%s\",\"type\":\"STATIC\",\"load_assignment\":{\"cluster_name\":\"%s\",\"endpoints\":[{"               \
    "\"lb_endpoints\":[{\"endpoint\":{\"address\":{\"socket_address\":{\"address\":\"127.0.0.1\",\"port_value\":%u}}}" \
    "}]}]}}"

static mc_status publish_proxy(side *s, const char *routes, const char *cluster, uint16_t port) {
    return publish(s, "{\"static_resources\":{\"listeners\":[" LISTENER "],\"clusters\":[" CLUSTER "]}}", routes,
                   cluster, cluster, port);
}

/* A client that blocks. */
static int dial(uint16_t port) {
    mc_address address;
    if (mc_address_parse(&address, MC_SLICE("127.0.0.1"), port) != MC_OK) {
        return -1;
    }
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval limit = {.tv_sec = WAIT_MS / 1000};
    if (fd >= 0 && (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0 ||
                    connect(fd, &address.any, address.length) != 0)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* 1: a right answer; 0: the connection was closed before any byte; -1: something else. */
static int ask(int fd) {
    static const char request[] = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    char got[2048];
    size_t n = 0;
    if (send(fd, request, sizeof request - 1, MSG_NOSIGNAL) < 0) {
        return 0;
    }
    while (n < sizeof got - 1) {
        ssize_t more = recv(fd, got + n, sizeof got - 1 - n, 0);
        if (more <= 0) {
            return n == 0 ? 0 : -1;
        }
        n += (size_t)more;
        got[n] = 0;
        if (strstr(got, "\r\n\r\npong") != NULL) {
            return strncmp(got, "HTTP/1.1 200 OK\r\n", 17) == 0 ? 1 : -1;
        }
    }
    return -1;
}

typedef struct asker {
    uint16_t port;
    int right, wrong;
    pthread_t thread;
} asker;

static void *keep_asking(void *arg) {
    asker *a = arg;
    int fd = dial(a->port);
    for (int i = 0; i < ROUNDS && fd >= 0; i++) {
        int how = ask(fd);
        a->right += how == 1;
        a->wrong += how != 1;
        if (i % 10 == 9 || how != 1) {
            close(fd);
            fd = dial(a->port);
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    return NULL;
}

static bool no_request(side *s) {
    return mc_stats_value(s->stats, mc_stats_find(s->stats, MC_GAUGE, MC_SLICE("http.in.downstream_rq_active"))) == 0;
}

static void set_hosts(side *s, const char *cluster, uint16_t port) {
    char json[512];
    mc_arena arena;
    mc_error error = {0};
    const mc_value *assignment;
    snprintf(
        json, sizeof json,
        "{\"cluster_name\":\"%s\",\"endpoints\":[{\"lb_endpoints\":[{\"endpoint\":{\"address\":{\"socket_address\":{"
        "\"address\":\"127.0.0.1\",\"port_value\":%u}}}}]}]}",
        cluster, port);
    mc_arena_init(&arena, NULL);
    CHECK_INT(mc_value_parse(&arena, mc_slice_cstr(json), &assignment, &error), MC_OK);
    CHECK_INT(mc_engine_set_assignment(s->engine, mc_slice_cstr(cluster), assignment, &error), MC_OK);
    mc_arena_fini(&arena);
}

TEST(no_request_is_lost_while_all_changes) {
    side up, proxy;
    asker askers[ASKERS] = {0};
    open_side(&up, 0);
    CHECK_INT(publish(&up, "{\"static_resources\":{\"listeners\":[" LISTENER "]}}", DIRECT), MC_OK);
    start_side(&up, 0);
    open_side(&proxy, 1);
    CHECK_INT(publish_proxy(&proxy, TO("web"), "web", up.port), MC_OK);
    start_side(&proxy, 1);
    wait_until(&proxy, mc_engine_applied);
    for (int i = 0; i < ASKERS; i++) {
        askers[i].port = proxy.port;
        CHECK_INT(pthread_create(&askers[i].thread, NULL, keep_asking, &askers[i]), 0);
    }
    for (int i = 0; i < 20; i++) {
        static const char *const names[] = {"web", "other"};
        const char *routes = i & 1 ? TO("other") : TO("web");
        CHECK_INT(publish_proxy(&proxy, routes, names[i & 1], up.port), MC_OK);
        set_hosts(&proxy, names[i & 1], up.port);
        wait_until(&proxy, mc_engine_applied);
        mc_stats_view view;
        CHECK_INT(mc_stats_view_init(&view, proxy.stats, MC_VIEW_MERGE), MC_OK);
        mc_stats_view_fini(&view);
        mc_record records[16];
        (void)mc_engine_records(proxy.engine, records, 16);
    }
    for (int i = 0; i < ASKERS; i++) {
        CHECK_INT(pthread_join(askers[i].thread, NULL), 0);
        CHECK_INT(askers[i].right, ROUNDS);
        CHECK_INT(askers[i].wrong, 0);
    }
    CHECK_INT(
        mc_stats_value(proxy.stats, mc_stats_find(proxy.stats, MC_COUNTER, MC_SLICE("http.in.downstream_rq_2xx"))),
        ASKERS * ROUNDS);
    CHECK(no_request(&proxy));
    close_side(&proxy);
    close_side(&up);
}

TEST(a_drain_ends_idle_connections_and_listens_no_more) {
    side s;
    open_side(&s, 0);
    CHECK_INT(publish(&s, "{\"static_resources\":{\"listeners\":[" LISTENER "]}}", DIRECT), MC_OK);
    start_side(&s, 0);
    int fd = dial(s.port);
    CHECK(fd >= 0);
    CHECK_INT(ask(fd), 1);
    CHECK(!mc_engine_drained(s.engine));
    mc_engine_drain(s.engine);
    char byte;
    CHECK_INT(recv(fd, &byte, 1, 0), 0);
    close(fd);
    wait_until(&s, mc_engine_drained);
    CHECK_INT(dial(s.port), -1);
    close_side(&s);
}

TEST(a_port_in_use_is_an_error_and_what_was_before_goes_on) {
    side s, second;
    open_side(&s, 0);
    CHECK_INT(publish(&s, "{\"static_resources\":{\"listeners\":[" LISTENER "]}}", DIRECT), MC_OK);
    start_side(&s, 0);
    open_side(&second, 1);
    mc_arena arena;
    mc_error error = {0};
    const mc_value *config;
    mc_snapshot *snapshot;
    char json[2048];
    snprintf(json, sizeof json,
             "{\"static_resources\":{\"listeners\":[{\"name\":\"main\",\"enable_reuse_port\":false,\"address\":{"
             "\"socket_address\":{"
             "\"address\":\"127.0.0.1\",\"port_value\":%u}},\"filter_chains\":[{\"filters\":[{\"name\":\"hcm\",\"typed_"
             "config\":{" HCM ",\"stat_prefix\":\"in\",\"http_filters\":[" ROUTER
             "],\"route_config\":{\"name\":\"r\",\"virtual_hosts\":[]}}}]}]}]}}",
             s.port);
    mc_arena_init(&arena, NULL);
    CHECK_INT(mc_value_parse(&arena, mc_slice_cstr(json), &config, &error), MC_OK);
    CHECK_INT(mc_engine_compile(second.engine, config, NULL, 0, &snapshot, &error), MC_OK);
    CHECK_INT(mc_engine_bind(second.engine, snapshot, &error), MC_ESYS);
    CHECK(strstr(error.reason, "cannot listen on 127.0.0.1") != NULL);
    CHECK(mc_engine_find_bound(second.engine, MC_SLICE("main")) == NULL);
    mc_snapshot_unref(snapshot);
    mc_arena_fini(&arena);
    mc_engine_free(second.engine);
    mc_stats_unref(second.stats);
    int fd = dial(s.port);
    CHECK_INT(ask(fd), 1);
    close(fd);
    close_side(&s);
}
