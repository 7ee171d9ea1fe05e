/* The core's hot paths, one operation at a time, for counting instructions: gate JOB COUNT.
 *
 * A run does COUNT operations after the same preparation each time, so two runs of different COUNT differ by
 * the cost of the operations alone. Nothing depends on time, address or chance: virtual loop, memory
 * transport, seeded generators. It prints the wall time of an operation as well, for use without valgrind.
 *
 * The request job pays for its client and its upstream server too (tests/c/pipeline.h), which are small.
 *
 * Built with MC_PLANT_SLOWDOWN, every twentieth operation is done twice: the gate must notice. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pipeline.h"

#include "lb/lb.h"
#include "proxy/access_log.h"

#define REQUIRE(cond)                                                                                                  \
    do {                                                                                                               \
        if (!(cond)) {                                                                                                 \
            fprintf(stderr, "gate: %s:%d: %s\n", __FILE__, __LINE__, #cond);                                           \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

/* A browser's GET: twelve headers. */
#define GET                                                                                                            \
    "GET /static/css/site.min.css?v=20240611 HTTP/1.1\r\n"                                                             \
    "Host: www.example.com\r\n"                                                                                        \
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/125.0 Safari/537.36\r\n"                    \
    "Accept: text/css,*/*;q=0.1\r\n"                                                                                   \
    "Accept-Encoding: gzip, deflate, br\r\n"                                                                           \
    "Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n"                                                                     \
    "Referer: https://www.example.com/products/1234\r\n"                                                               \
    "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n"                                                 \
    "Cache-Control: no-cache\r\n"                                                                                      \
    "X-Tenant: 7d9f1c2e-3b1a-4c55-9d3e-0f6a2b8c4d10\r\n"                                                               \
    "X-Client-Version: 4.17.2-release+build.20240611\r\n"                                                              \
    "If-None-Match: \"5d8c72a5edda8\"\r\n"                                                                             \
    "Sec-Fetch-Mode: no-cors\r\n"                                                                                      \
    "\r\n"

typedef struct job {
    const char *name;
    void *(*open)(size_t size);
    void (*run)(void *state);
    void (*close)(void *state);
    size_t size;
} job;

/* --- parse: one request head, whole, into a header map --------------------------------------------------- */

typedef struct parse_job {
    mc_h1_parser parser;
    mc_h1_limits limits;
    mc_block_pool blocks;
    mc_arena arena;
    mc_headers headers;
    size_t completed;
} parse_job;

static mc_headers *parse_begin(void *ctx) {
    parse_job *self = ctx;
    mc_headers_init(&self->headers, &self->arena);
    return &self->headers;
}
static mc_status parse_headers(void *ctx, const mc_h1_head *head) {
    parse_job *self = ctx;
    REQUIRE(head->end_stream && self->headers.live == 14);
    return MC_OK;
}
static mc_status parse_body(void *ctx, mc_slice data) { return MC_OK; }
static mc_status parse_trailers(void *ctx, mc_headers *trailers) { return MC_OK; }
static mc_status parse_complete(void *ctx) {
    parse_job *self = ctx;
    self->completed++;
    return MC_OK;
}
static const mc_h1_handler parse_handler = {parse_begin, parse_headers, parse_body, parse_trailers, parse_complete};

static void *parse_open(size_t size) {
    parse_job *self = mc_calloc(1, sizeof *self);
    REQUIRE(self != NULL);
    mc_h1_limits_init(&self->limits, MC_H1_REQUEST);
    mc_block_pool_init(&self->blocks, 8);
    mc_arena_init(&self->arena, &self->blocks);
    mc_h1_parser_init(&self->parser, MC_H1_REQUEST, &self->limits, &parse_handler, self);
    return self;
}
static void parse_run(void *state) {
    parse_job *self = state;
    size_t before = self->completed;
    REQUIRE(mc_h1_parser_feed(&self->parser, MC_SLICE(GET)) == (long)(sizeof GET - 1));
    REQUIRE(self->completed == before + 1);
    mc_arena_fini(&self->arena);
}
static void parse_close(void *state) {
    parse_job *self = state;
    mc_block_pool_fini(&self->blocks);
    mc_free(self);
}

/* --- match: the last of a number of routes ----------------------------------------------------------------- */

typedef struct match_job {
    mc_route_table *table;
    mc_block_pool blocks;
    mc_arena arena;
    mc_headers headers;
    mc_route_request request;
    char path[64], cluster[32];
} match_job;

/* Half of the routes by exact path, half by prefix: {"virtual_hosts": [{"routes": [...]}]}; malloc'd. */
static char *route_configuration(size_t routes) {
    size_t cap = 200 + routes * 120, n;
    char *text = malloc(cap);
    REQUIRE(text != NULL);
    n = (size_t)snprintf(text, cap,
                         "{\"name\":\"r\",\"virtual_hosts\":[{\"name\":\"a\",\"domains\":[\"*\"],\"routes\":[");
    for (size_t i = 0; i < routes; i++) {
        n += (size_t)snprintf(text + n, cap - n,
                              "%s{\"match\":{\"%s\":\"/api/service%zu/items/%s\"},\"route\":{\"cluster\":\"c%zu\"}}",
                              i == 0 ? "" : ",", i % 2 ? "prefix" : "path", i, i % 2 ? "" : "7", i);
    }
    snprintf(text + n, cap - n, "]}]}");
    return text;
}

/* Parses JSON into an arena; the caller ends the arena. */
static const mc_value *parse_json(mc_arena *arena, const char *text) {
    mc_error error;
    const mc_value *value;
    mc_arena_init(arena, NULL);
    REQUIRE(mc_value_parse(arena, mc_slice_cstr(text), &value, &error) == MC_OK);
    return value;
}

static void *match_open(size_t size) {
    match_job *self = mc_calloc(1, sizeof *self);
    mc_arena json;
    mc_error error;
    char *text = route_configuration(size);
    REQUIRE(self != NULL);
    REQUIRE(mc_route_table_compile(parse_json(&json, text), &self->table, &error) == MC_OK);
    mc_arena_fini(&json);
    free(text);
    mc_block_pool_init(&self->blocks, 8);
    mc_arena_init(&self->arena, &self->blocks);
    mc_headers_init(&self->headers, &self->arena);
    snprintf(self->path, sizeof self->path, "/api/service%zu/items/7", size - 1);
    snprintf(self->cluster, sizeof self->cluster, "c%zu", size - 1);
    const char *const headers[][2] = {{":method", "GET"},  {":path", self->path},   {":authority", "www.example.com"},
                                      {":scheme", "http"}, {"user-agent", "bench"}, {"accept", "*/*"}};
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        REQUIRE(mc_headers_add(&self->headers, mc_slice_cstr(headers[i][0]), mc_slice_cstr(headers[i][1])) == MC_OK);
    }
    self->request = (mc_route_request){.headers = &self->headers, .arena = &self->arena};
    return self;
}
static void match_run(void *state) {
    match_job *self = state;
    mc_route_match match;
    REQUIRE(mc_route_table_match(self->table, &self->request, &match) == MC_OK);
    REQUIRE(match.route != NULL && mc_slice_eq(match.cluster, mc_slice_cstr(self->cluster)));
}
static void match_close(void *state) {
    match_job *self = state;
    mc_route_table_unref(self->table);
    mc_arena_fini(&self->arena);
    mc_block_pool_fini(&self->blocks);
    mc_free(self);
}

/* --- pick: a host among 100 of ten weights ------------------------------------------------------------------- */

enum { HOSTS = 100 };

typedef struct pick_job {
    mc_lb_config config;
    mc_stats *stats;
    mc_slab *slab;
    mc_hosts *hosts;
    mc_random random, keys;
    mc_lb *lb;
} pick_job;

static char *assignment(void) {
    size_t cap = 200 + HOSTS * 200, n;
    char *text = malloc(cap);
    REQUIRE(text != NULL);
    n = (size_t)snprintf(text, cap, "{\"cluster_name\":\"c\",\"endpoints\":[{\"lb_endpoints\":[");
    for (int i = 0; i < HOSTS; i++) {
        n += (size_t)snprintf(
            text + n, cap - n,
            "%s{\"endpoint\":{\"address\":{\"socket_address\":{\"address\":\"10.0.0.%d\",\"port_value\":80}}},"
            "\"load_balancing_weight\":%d}",
            i == 0 ? "" : ",", i, 1 + i % 10);
    }
    snprintf(text + n, cap - n, "]}]}");
    return text;
}

static void *pick_open(size_t policy) {
    static const char *const clusters[] = {[MC_LB_ROUND_ROBIN] = "{\"lb_policy\":\"ROUND_ROBIN\"}",
                                           [MC_LB_LEAST_REQUEST] = "{\"lb_policy\":\"LEAST_REQUEST\"}",
                                           [MC_LB_RING_HASH] = "{\"lb_policy\":\"RING_HASH\"}",
                                           [MC_LB_MAGLEV] = "{\"lb_policy\":\"MAGLEV\"}"};
    pick_job *self = mc_calloc(1, sizeof *self);
    mc_arena json;
    mc_error error;
    char *text = assignment();
    REQUIRE(self != NULL && (self->stats = mc_stats_new()) != NULL && (self->slab = mc_slab_open(self->stats)) != NULL);
    mc_random_seed(&self->random, 1);
    mc_random_seed(&self->keys, 2);
    REQUIRE(mc_lb_config_compile(parse_json(&json, clusters[policy]), NULL, &self->config, &error) == MC_OK);
    mc_arena_fini(&json);
    REQUIRE(mc_hosts_compile(parse_json(&json, text), &self->config, MC_SLICE("c"), self->stats, NULL, &self->hosts,
                             &error) == MC_OK);
    mc_arena_fini(&json);
    free(text);
    self->lb = mc_lb_new(&self->config, self->hosts, &self->random, 0, &(mc_lb_stats){.slab = self->slab});
    REQUIRE(self->lb != NULL);
    return self;
}
static void pick_run(void *state) {
    pick_job *self = state;
    mc_lb_request request = {.has_hash = true, .hash = mc_random_next(&self->keys)};
    REQUIRE(mc_lb_choose(self->lb, &request) != NULL);
}
static void pick_close(void *state) {
    pick_job *self = state;
    mc_lb_free(self->lb);
    mc_hosts_unref(self->hosts);
    mc_slab_close(self->slab);
    mc_stats_unref(self->stats);
    mc_free(self);
}

/* --- request: kept connections, through listener, route, balancer, pool and back -------------------------------- */

#define TYPE "\"@type\":\"type.googleapis.com/envoy.extensions.filters."
#define GATEWAY(more)                                                                                                  \
    "{\"static_resources\":{\"listeners\":[{\"name\":\"main\","                                                        \
    "\"address\":{\"socket_address\":{\"address\":\"127.0.0.1\",\"port_value\":10000}},"                               \
    "\"filter_chains\":[{\"filters\":[{\"name\":\"hcm\",\"typed_config\":{" TYPE                                       \
    "network.http_connection_manager.v3.HttpConnectionManager\",\"stat_prefix\":\"in\"," more                          \
    "\"http_filters\":[{\"name\":\"router\",\"typed_config\":{" TYPE "http.router.v3.Router\"}}],"                     \
    "\"route_config\":{\"name\":\"r\",\"virtual_hosts\":[{\"name\":\"a\",\"domains\":[\"*\"],\"routes\":["             \
    "{\"match\":{\"path\":\"/health\"},\"direct_response\":{\"status\":200}},"                                         \
    "{\"match\":{\"prefix\":\"/api/\"},\"route\":{\"cluster\":\"web\"}},"                                              \
    "{\"match\":{\"prefix\":\"/\"},\"route\":{\"cluster\":\"web\"}}]}]}}}]}]}],"                                       \
    "\"clusters\":[{\"name\":\"web\",\"type\":\"STATIC\",\"load_assignment\":{\"cluster_name\":\"web\",\"endpoints\":" \
    "[{"                                                                                                               \
    "\"lb_endpoints\":["                                                                                               \
    "{\"endpoint\":{\"address\":{\"socket_address\":{\"address\":\"10.0.0.1\",\"port_value\":80}}}},"                  \
    "{\"endpoint\":{\"address\":{\"socket_address\":{\"address\":\"10.0.0.2\",\"port_value\":80}}}}]}]}}]}}"
static const char gateway[] = GATEWAY("");
static const char logging_gateway[] =
    GATEWAY("\"access_log\":[{\"name\":\"file\",\"typed_config\":{\"@type\":\"type.googleapis.com/"
            "envoy.extensions.access_loggers.file.v3.FileAccessLog\",\"path\":\"/dev/null\"}}],");

typedef struct request_job {
    pipeline pipeline;
    pipeline_peer client;
    const char *text;
    bool logs;
} request_job;

/* What the writer does, but for the formatting. */
static void forget_lines(request_job *self) {
    mc_log_ring *ring = mc_log_writer_ring(self->pipeline.engine->log_writer, 0);
    size_t lines = 0;
    for (mc_log_entry *entry; (entry = mc_log_ring_next(ring)) != NULL; lines++) {
        mc_access_logs_unref(((mc_log_record *)entry)->logs);
        mc_log_ring_release(ring, entry);
    }
    REQUIRE(lines == 1);
}

static void request_run(void *state) {
    request_job *self = state;
    mc_record record;
    pipeline_send(&self->client, mc_slice_cstr(self->text));
    pipeline_settle(&self->pipeline);
    REQUIRE(self->client.in.length > 0);
    mc_buffer_clear(&self->client.in);
    REQUIRE(mc_record_drain(&self->pipeline.worker->proxy.records, &record, 1) == 1 && record.status == 200);
    if (self->logs) {
        forget_lines(self);
    }
}
enum { BARE, FULL, LOGGED };
static void *request_open(size_t kind) {
    request_job *self = mc_calloc(1, sizeof *self);
    mc_error error;
    REQUIRE(self != NULL);
    self->logs = kind == LOGGED;
    self->text = kind == FULL ? GET : "GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n";
    const char *json = self->logs ? logging_gateway : gateway;
    if (pipeline_open_with(&self->pipeline, json, 1, self->logs, &error) != MC_OK) {
        fprintf(stderr, "gate: %s: %s\n", error.path, error.reason);
        exit(1);
    }
    self->pipeline.response = "HTTP/1.1 200 OK\r\nserver: origin\r\ndate: Tue, 11 Jun 2024 10:00:00 GMT\r\n"
                              "content-type: text/plain\r\ncontent-length: 5\r\n\r\nhello";
    REQUIRE(pipeline_client(&self->pipeline, &self->client, "main") == MC_OK);
    for (int i = 0; i < 4; i++) {
        request_run(self);
    } /* connect to both hosts */
    return self;
}
static void request_close(void *state) {
    request_job *self = state;
    pipeline_client_close(&self->client);
    pipeline_close(&self->pipeline);
    mc_free(self);
}

/* --- connection: accepted, one request that asks for the close, closed --------------------------------------------- */

static void *connection_open(size_t size) {
    request_job *self = request_open(size);
    pipeline_client_close(&self->client);
    self->text = "GET / HTTP/1.1\r\nHost: www.example.com\r\nConnection: close\r\n\r\n";
    return self;
}
static void connection_run(void *state) {
    request_job *self = state;
    REQUIRE(pipeline_client(&self->pipeline, &self->client, "main") == MC_OK);
    request_run(self);
    REQUIRE(self->client.closed);
}

/* ---------------------------------------------------------------------------------------------------------------- */

static const job jobs[] = {
    {"parse", parse_open, parse_run, parse_close, 0},
    {"match_10", match_open, match_run, match_close, 10},
    {"match_10000", match_open, match_run, match_close, 10000},
    {"pick_round_robin", pick_open, pick_run, pick_close, MC_LB_ROUND_ROBIN},
    {"pick_least_request", pick_open, pick_run, pick_close, MC_LB_LEAST_REQUEST},
    {"pick_ring_hash", pick_open, pick_run, pick_close, MC_LB_RING_HASH},
    {"pick_maglev", pick_open, pick_run, pick_close, MC_LB_MAGLEV},
    {"request", request_open, request_run, request_close, BARE},
    {"request_12_headers", request_open, request_run, request_close, FULL},
    {"request_logged", request_open, request_run, request_close, LOGGED},
    {"connection", connection_open, connection_run, request_close, BARE},
};

static double now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void run(const job *job, unsigned long count) {
    void *state = job->open(job->size);
    double start = now_ns();
    for (unsigned long i = 0; i < count; i++) {
        job->run(state);
#ifdef MC_PLANT_SLOWDOWN
        if (i % 20 == 0) {
            job->run(state);
        }
#endif
    }
    printf("%s: %.0f ns\n", job->name, (now_ns() - start) / (double)count);
    job->close(state);
}

int main(int argc, char **argv) {
    for (size_t i = 0; i < sizeof jobs / sizeof jobs[0]; i++) {
        if (argc == 1) {
            puts(jobs[i].name);
        } else if (strcmp(argv[1], jobs[i].name) == 0 && argc == 3) {
            run(&jobs[i], strtoul(argv[2], NULL, 10));
            return 0;
        }
    }
    return argc == 1 ? 0 : 2;
}
