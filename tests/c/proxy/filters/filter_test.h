/* What the filters' tests share: a configuration around filters, written with single quotes, and exchanges over it. */
#ifndef MC_TESTS_FILTER_TEST_H
#define MC_TESTS_FILTER_TEST_H

#include "../../pipeline.h"

#include "../../test.h"

#define TYPE(name) "'@type':'type.googleapis.com/" name "'"
#define HTTP(name) TYPE("envoy.extensions.filters.http." name)
/* A filter of the chain: its name and the fields of its message. */
#define FILTER(name, type, fields)    "{'name':'" name "','typed_config':{" HTTP(type) fields "}}"
#define PER_ROUTE(name, type, fields) "'typed_per_filter_config':{'" name "':{" HTTP(type) fields "}}"

static pipeline p;
static pipeline_peer client;
static char answer[65536];  /* what the client got last */
static char request[65536]; /* what the upstream got last */

typedef struct setup {
    const char *filters;   /* between [ and the router */
    const char *routes;    /* NULL: everything to the cluster */
    const char *host;      /* further fields of the virtual host */
    const char *table;     /* of the RouteConfiguration */
    const char *manager;   /* of the connection manager */
    const char *bootstrap; /* of the bootstrap */
    const char *listener;  /* of the listener */
} setup;

#define TO_WEB "{'match':{'prefix':'/'},'route':{'cluster':'web'}}"

static inline const char *text_or(const char *text, const char *otherwise) { return text == NULL ? otherwise : text; }

/* clang-format off */
static const char *const TEMPLATE =
    "{%s'node':{'id':'n','cluster':'edge'},'static_resources':{"
    "'listeners':[{'name':'main',%s'address':{'socket_address':{'address':'127.0.0.1','port_value':10000}},"
    "'filter_chains':[{'filters':[{'name':'hcm','typed_config':{"
    TYPE("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager")
    ",'stat_prefix':'in',%s"
    "'http_filters':[%s%s{'name':'envoy.filters.http.router','typed_config':{" HTTP("router.v3.Router") "}}],"
    "'route_config':{'name':'local',%s'virtual_hosts':[{'name':'all',%s'domains':['*'],'routes':[%s]}]}}}]}]}],"
    "'clusters':[{'name':'web','type':'STATIC','load_assignment':{'cluster_name':'web','endpoints':[{'lb_endpoints':["
    "{'endpoint':{'address':{'socket_address':{'address':'10.0.0.1','port_value':80}}}}]}]}}]}}";
/* clang-format on */

static inline const char *configuration(const setup *s) {
    static char json[32768];
    snprintf(json, sizeof json, TEMPLATE, text_or(s->bootstrap, ""), text_or(s->listener, ""), text_or(s->manager, ""),
             text_or(s->filters, ""), s->filters == NULL || s->filters[0] == 0 ? "" : ",", text_or(s->table, ""),
             text_or(s->host, ""), text_or(s->routes, TO_WEB));
    for (char *c = json; *c != 0; c++) {
        *c = *c == '\'' ? '"' : *c;
    }
    return json;
}

static inline bool contains(const char *text, const char *part) { return strstr(text, part) != NULL; }

/* Answers a whole request with p.response, and keeps it. */
static inline void serve(pipeline_peer *server) {
    char got[sizeof request];
    mc_slice all = pipeline_received(server, got, sizeof got - 1);
    size_t head = mc_slice_search(all, MC_SLICE("\r\n\r\n"));
    if (head == SIZE_MAX) {
        return;
    }
    got[all.n] = 0;
    const char *length = strstr(got, "content-length: ");
    if (contains(got, "transfer-encoding: chunked")
            ? !mc_slice_has_suffix(all, MC_SLICE("0\r\n\r\n"))
            : all.n < head + 4 + (length == NULL ? 0 : strtoul(length + 16, NULL, 10))) {
        return;
    }
    memcpy(request, got, all.n + 1);
    mc_buffer_clear(&server->in);
    server->served++;
    pipeline_send(server, mc_slice_cstr(server->owner->response));
}

static inline void begin(setup s) {
    mc_error error = {0};
    mc_status status = pipeline_open(&p, configuration(&s), 42, &error);
    if (status != MC_OK) {
        fprintf(stderr, "configuration: %s: %s\n", error.path, error.reason);
    }
    CHECK_INT(status, MC_OK);
    p.serve = serve;
    request[0] = 0;
    CHECK_INT(pipeline_client(&p, &client, "main"), MC_OK);
}

static inline void end(void) {
    pipeline_client_close(&client);
    pipeline_run(&p, 100);
    CHECK_U64(pipeline_gauge(&p, "http.in.downstream_rq_active"), 0);
    pipeline_close(&p);
}

/* The path of the error that a configuration is refused with; fails when it is accepted. */
static inline const char *refused(setup s) {
    static mc_error error;
    memset(&error, 0, sizeof error);
    mc_status status = pipeline_open(&p, configuration(&s), 42, &error);
    if (status == MC_OK) {
        pipeline_close(&p);
    }
    CHECK_INT(status, MC_EINVAL);
    const char *tail = strstr(error.path, "http_filters");
    tail = tail == NULL ? strstr(error.path, "route_config") : tail;
    return tail == NULL ? error.path : tail;
}

/* Fields of a filter's message, and the field that is named where they are refused. */
typedef struct refusal {
    const char *fields, *path;
} refusal;

/* `format`: the filter, with %s for the fields. */
static inline void check_refusals(const char *format, const refusal *cases, size_t count) {
    for (size_t i = 0; i < count; i++) {
        char filters[1024], path[256];
        snprintf(filters, sizeof filters, format, cases[i].fields);
        snprintf(path, sizeof path, "http_filters[0].typed_config.%s", cases[i].path);
        CHECK_SLICE(mc_slice_cstr(refused((setup){.filters = filters})), path);
    }
}

static inline const char *take(void) {
    mc_slice got = pipeline_received(&client, answer, sizeof answer - 1);
    answer[got.n] = 0;
    mc_buffer_clear(&client.in);
    return answer;
}

/* Sends and lets `ms` of virtual time pass. */
static inline const char *ask_for(const char *text, uint64_t ms) {
    pipeline_send(&client, mc_slice_cstr(text));
    pipeline_run(&p, ms);
    return take();
}
static inline const char *ask(const char *text) { return ask_for(text, 1000); }

/* A request without a body: a line such as "GET /", and header lines that each end in CRLF. */
static inline const char *send_head(const char *line, const char *headers) {
    char text[8192];
    snprintf(text, sizeof text, "%s HTTP/1.1\r\nHost: h\r\n%s\r\n", line, headers);
    return ask(text);
}

static inline uint64_t counter(const char *name) { return pipeline_counter(&p, name); }
static inline uint64_t gauge(const char *name) { return pipeline_gauge(&p, name); }

#define CHECK_HAS(text, part)                                                                                          \
    do {                                                                                                               \
        const char *text_ = (text);                                                                                    \
        if (!contains(text_, part)) {                                                                                  \
            fprintf(stderr, "%s:%d: no \"%s\" in:\n%s\n", __FILE__, __LINE__, part, text_);                            \
            CHECK(!"contains");                                                                                        \
        }                                                                                                              \
    } while (0)
#define CHECK_NOT(text, part)                                                                                          \
    do {                                                                                                               \
        const char *text_ = (text);                                                                                    \
        if (contains(text_, part)) {                                                                                   \
            fprintf(stderr, "%s:%d: \"%s\" is in:\n%s\n", __FILE__, __LINE__, part, text_);                            \
            CHECK(!"contains not");                                                                                    \
        }                                                                                                              \
    } while (0)
#define CHECK_COUNT(name, value) CHECK_U64(counter("http.in." name), value)

#endif
