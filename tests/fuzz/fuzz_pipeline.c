/* The whole data plane under arbitrary bytes from both sides, at arbitrary splits and moments. Nothing may crash or leak; every
 * gauge is back at zero in the end; and a naive reader finds in what goes upstream exactly well-formed requests, never more of
 * them than the proxy meant to send: nothing is smuggled.
 *
 * The input is a list of steps, see step(): an operation byte, for some a length byte and that many bytes. */
#include "pipeline.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { CLIENTS = 2 };

#define CONFIG                                                                                                         \
    "{\"static_resources\":{\"listeners\":[{\"name\":\"main\",\"per_connection_buffer_limit_bytes\":2048,\"address\":" \
    "{"                                                                                                                \
    "\"socket_address\":{\"address\":\"127.0.0.1\",\"port_value\":10000}},\"filter_chains\":[{\"filters\":[{\"name\":" \
    "\"hcm\",\"typed_config\":{\"@type\":\"type.googleapis.com/envoy.extensions.filters.network.http_connection_"      \
    "manager.v3.HttpConnectionManager\",\"stat_prefix\":\"in\",\"http_protocol_options\":{\"enable_trailers\":true,"   \
    "\"accept_http_10\":true,\"default_host_for_http_10\":\"d\"},\"http_filters\":[{\"name\":"                         \
    "\"envoy.filters.http.router\",\"typed_config\":{\"@type\":\"type.googleapis.com/envoy.extensions.filters.http."   \
    "router.v3.Router\"}}],\"route_config\":{\"name\":\"local\",\"virtual_hosts\":[{\"name\":\"all\",\"domains\":["    \
    "\"*\"],\"routes\":[{\"match\":{\"prefix\":\"/d\"},\"direct_response\":{\"status\":200,\"body\":{"                 \
    "\"inline_string\":\"x\"}}},{\"match\":{\"prefix\":\"/\"},\"route\":{\"cluster\":\"web\",\"timeout\":\"1s\","      \
    "\"retry_policy\":{\"retry_on\":\"5xx\",\"num_retries\":2}}}]}]}}}]}]}],\"clusters\":[{\"name\":\"web\","          \
    "\"type\":\"STATIC\",\"per_connection_buffer_limit_bytes\":2048,\"load_assignment\":{\"cluster_name\":\"web\","    \
    "\"endpoints\":[{\"lb_endpoints\":[{\"endpoint\":{\"address\":{\"socket_address\":{\"address\":\"10.0.0.1\","      \
    "\"port_value\":80}}}}]}]}}]}}"

#define REQUIRE(condition)                                                                                             \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                            \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

/* A reader as simple as careless servers have them: lines, content-length, chunked; it shares nothing with h1/. */
typedef struct naive {
    char line[8192];
    size_t line_n;
    enum { START, HEADERS, BODY, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILERS } state;
    unsigned long long left;
    bool chunked;
} naive;

static uint32_t heads; /* of this input, over all connections */

static void naive_line(naive *r) {
    char *line = r->line;
    REQUIRE(r->line_n > 0 && line[r->line_n - 1] == '\r'); /* no bare LF goes upstream */
    line[r->line_n - 1] = 0;
    REQUIRE(strlen(line) == r->line_n - 1 && strchr(line, '\r') == NULL);
    switch (r->state) {
    case START:
        REQUIRE(strlen(line) > 9 && strcmp(line + strlen(line) - 9, " HTTP/1.1") == 0);
        r->left = 0;
        r->chunked = false;
        r->state = HEADERS;
        break;
    case HEADERS:
        if (line[0] == 0) {
            heads++;
            r->state = r->chunked ? CHUNK_SIZE : r->left > 0 ? BODY : START;
        } else if (strncasecmp(line, "content-length:", 15) == 0) {
            REQUIRE(!r->chunked && r->left == 0);
            r->left = strtoull(line + 15, NULL, 10);
        } else if (strncasecmp(line, "transfer-encoding:", 18) == 0) {
            REQUIRE(strcmp(line + 18, " chunked") == 0 && !r->chunked && r->left == 0);
            r->chunked = true;
        } else {
            REQUIRE(strchr(line, ':') != NULL && line[0] != ' ' && line[0] != '\t');
        }
        break;
    case CHUNK_SIZE:
        r->left = strtoull(line, NULL, 16);
        r->state = r->left > 0 ? CHUNK_DATA : TRAILERS;
        break;
    case CHUNK_END:
        REQUIRE(line[0] == 0);
        r->state = CHUNK_SIZE;
        break;
    case TRAILERS: r->state = line[0] == 0 ? START : TRAILERS; break;
    default: REQUIRE(!"a line inside a body");
    }
    r->line_n = 0;
}

static void naive_feed(naive *r, mc_slice data) {
    for (size_t i = 0; i < data.n; i++) {
        if (r->state == BODY || r->state == CHUNK_DATA) {
            size_t n = data.n - i < r->left ? data.n - i : (size_t)r->left;
            r->left -= n;
            i += n - 1;
            if (r->left == 0) {
                r->state = r->state == BODY ? START : CHUNK_END;
            }
        } else if (data.p[i] == '\n') {
            naive_line(r);
        } else {
            REQUIRE(r->line_n < sizeof r->line);
            r->line[r->line_n++] = data.p[i];
        }
    }
}

static void serve(pipeline_peer *server) {
    if (server->user == NULL) {
        server->user = calloc(1, sizeof(naive));
    }
    while (server->in.length > 0) {
        mc_slice front = mc_buffer_front(&server->in);
        naive_feed(server->user, front);
        mc_buffer_drain(&server->in, front.n);
    }
}

static void gone(pipeline_peer *server) { free(server->user); }

/* The newest upstream connection, or NULL. */
static pipeline_peer *newest(pipeline *p) {
    pipeline_peer *found = NULL;
    MC_LIST_EACH(&p->servers, node) {
        pipeline_peer *server = MC_CONTAINER(node, pipeline_peer, link);
        found = server->closed ? found : server;
    }
    return found;
}

static void step(pipeline *p, pipeline_peer *client, uint8_t op, mc_slice bytes) {
    pipeline_peer *server = newest(p);
    switch (op) {
    case 0:
    case 1:
    case 2: /* the client says something */ pipeline_send(client, bytes); break;
    case 3:
    case 4: /* the newest server does */
        if (server != NULL) {
            pipeline_send(server, bytes);
        }
        break;
    case 5:
        if (bytes.n > 0 && bytes.p[0] & 1) {
            mc_memory_reset(&client->conn);
        } else if (!client->closed) {
            mc_conn_shutdown_write(&client->conn);
        }
        break;
    case 6:
        if (server != NULL && bytes.n > 0 && bytes.p[0] & 1) {
            mc_memory_reset(&server->conn);
        } else if (server != NULL) {
            mc_conn_close(&server->conn, true);
        }
        break;
    default: pipeline_run(p, bytes.n * 8);
    }
}

static void reopen(pipeline *p, pipeline_peer *client) {
    mc_buffer_clear(&client->in);
    REQUIRE(pipeline_client(p, client, "main") == MC_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static pipeline p;
    static pipeline_peer clients[CLIENTS];
    mc_error error = {0};
    heads = 0;
    REQUIRE(pipeline_open(&p, CONFIG, 1, &error) == MC_OK);
    p.serve = serve;
    p.gone = gone;
    for (int i = 0; i < CLIENTS; i++) {
        reopen(&p, &clients[i]);
    }
    for (size_t at = 0; at + 1 < n;) { /* low bits: what; bit 3: which client; bit 4: at once, in the same turn */
        uint8_t how = data[at];
        size_t length = data[at + 1];
        mc_slice bytes = mc_slice_until(mc_slice_of((const char *)data + at + 2, n - at - 2), length);
        pipeline_peer *client = &clients[how >> 3 & 1];
        if (client->closed) {
            reopen(&p, client);
        }
        step(&p, client, how & 7, bytes);
        if (!(how & 16)) {
            pipeline_settle(&p);
        }
        at += 2 + bytes.n;
    }
    pipeline_run(&p, 10000);
    REQUIRE(heads <= pipeline_counter(&p, "cluster.web.upstream_rq_total"));
    for (int i = 0; i < CLIENTS; i++) {
        pipeline_client_close(&clients[i]);
    }
    pipeline_run(&p, 10000);
    static const char *const gauges[] = {"http.in.downstream_rq_active", "http.in.downstream_cx_active",
                                         "cluster.web.upstream_rq_active", "cluster.web.upstream_rq_pending_active"};
    for (size_t i = 0; i < sizeof gauges / sizeof gauges[0]; i++) {
        REQUIRE(pipeline_gauge(&p, gauges[i]) == 0);
    }
    pipeline_close(&p);
    return 0;
}
