/* What the tests of route/ share: tables from JSON with single quotes for double ones, requests from short text, and a
 * reference that tries every virtual host and route in order. */
#ifndef MC_TESTS_ROUTE_TEST_H
#define MC_TESTS_ROUTE_TEST_H

#include "route/table.h"

#include "../test.h"

/* A table with the arena its configuration lives in. */
typedef struct fixture {
    mc_arena arena;
    const mc_value *config;
    mc_route_table *table;
    mc_error error;
} fixture;

static inline mc_status fixture_parse(fixture *f, const char *quoted) {
    size_t n = strlen(quoted);
    char *json = malloc(n + 1);
    for (size_t i = 0; i <= n; i++) {
        json[i] = quoted[i] == '\'' ? '"' : quoted[i];
    }
    memset(f, 0, sizeof *f);
    mc_arena_init(&f->arena, NULL);
    mc_status status = mc_value_parse(&f->arena, mc_slice_of(json, n), &f->config, &f->error);
    free(json);
    return status;
}

static inline mc_status fixture_compile(fixture *f, const char *quoted) {
    mc_status status = fixture_parse(f, quoted);
    return status == MC_OK ? mc_route_table_compile(f->config, &f->table, &f->error) : status;
}

static inline void fixture_fini(fixture *f) {
    mc_route_table_unref(f->table);
    mc_arena_fini(&f->arena);
}

/* One virtual host "*" with these routes. */
static inline mc_status fixture_routes(fixture *f, const char *routes) {
    char *config = malloc(strlen(routes) + 128);
    sprintf(config, "{'virtual_hosts': [{'name': 'all', 'domains': ['*'], 'routes': [%s]}]}", routes);
    mc_status status = fixture_compile(f, config);
    free(config);
    return status;
}

/* A table of virtual hosts, each as JSON. */
static inline mc_status fixture_hosts(fixture *f, const char *fields, const char *const *hosts, size_t count) {
    char config[8192];
    int n = snprintf(config, sizeof config, "{%s 'virtual_hosts': [", fields);
    for (size_t i = 0; i < count; i++) {
        n += snprintf(config + n, sizeof config - (size_t)n, "%s%s", i > 0 ? "," : "", hosts[i]);
    }
    snprintf(config + n, sizeof config - (size_t)n, "]}");
    return fixture_compile(f, config);
}

/* One virtual host "*" with each of these routes. */
static inline mc_status fixture_list(fixture *f, const char *const *routes, size_t count) {
    char list[8192];
    int n = 0;
    for (size_t i = 0; i < count; i++) {
        n += snprintf(list + n, sizeof list - (size_t)n, "%s%s", i > 0 ? "," : "", routes[i]);
    }
    return fixture_routes(f, list);
}

#define FIXTURE_HOSTS(f, fields, hosts) fixture_hosts(f, fields, hosts, sizeof(hosts) / sizeof((hosts)[0]))
#define FIXTURE_LIST(f, routes)         fixture_list(f, routes, sizeof(routes) / sizeof((routes)[0]))

/* A request in an arena of its own. */
typedef struct request {
    mc_arena arena;
    mc_headers headers;
    mc_route_request request;
} request;

/* "/path" or "host/path", then "name: value" lines: "a.example/x\nx-a: 1". A host "-" is left out, so is an empty path. */
static inline void request_init(request *r, const char *text) {
    mc_slice rest = mc_slice_cstr(text), line, name;
    mc_arena_init(&r->arena, NULL);
    mc_headers_init(&r->headers, &r->arena);
    r->request = (mc_route_request){.headers = &r->headers, .arena = &r->arena};
    size_t end = mc_slice_find(rest, '\n');
    line = mc_slice_until(rest, end);
    rest = mc_slice_from(rest, end + 1);
    size_t slash = mc_slice_find(line, '/');
    mc_slice host = mc_slice_until(line, slash), path = mc_slice_from(line, slash);
    bool ok = mc_headers_add(&r->headers, MC_SLICE(":method"), MC_SLICE("GET")) == MC_OK;
    if (!mc_slice_eq(host, MC_SLICE("-"))) {
        host = host.n == 0 ? MC_SLICE("host.example") : host;
        ok = ok && mc_headers_add(&r->headers, MC_SLICE(":authority"), host) == MC_OK;
    }
    if (path.n > 0) {
        ok = ok && mc_headers_add(&r->headers, MC_SLICE(":path"), path) == MC_OK;
    }
    while (rest.n > 0) {
        end = mc_slice_find(rest, '\n');
        line = mc_slice_until(rest, end);
        rest = mc_slice_from(rest, end + 1);
        size_t colon = 1 + mc_slice_find(mc_slice_from(line, 1), ':');
        name = mc_slice_until(line, colon);
        mc_slice value = mc_slice_trim(mc_slice_from(line, colon + 1));
        if (name.p[0] == ':') {
            mc_headers_remove(&r->headers, name);
        }
        ok = ok && mc_headers_add(&r->headers, name, value.n == 0 ? MC_SLICE("") : value) == MC_OK;
    }
    if (!ok) {
        abort();
    }
}

static inline void request_fini(request *r) { mc_arena_fini(&r->arena); }

/* All headers as "name: value\n". */
static inline const char *headers_text(const mc_headers *headers) {
    static char text[4096];
    size_t n = 0;
    text[0] = 0;
    MC_HEADERS_EACH(headers, h) {
        n += (size_t)snprintf(text + n, sizeof text - n, "%.*s: %.*s\n", MC_SLICE_ARG(h->name), MC_SLICE_ARG(h->value));
    }
    return text;
}

/* Name of the matched route; "" for none, "tls" for the redirect to TLS. */
static inline mc_slice matched(const fixture *f, const char *text, uint64_t random) {
    request r;
    mc_route_match match;
    request_init(&r, text);
    r.request.random = random;
    mc_status status = mc_route_table_match(f->table, &r.request, &match);
    request_fini(&r);
    if (status != MC_OK) {
        return mc_slice_cstr(mc_status_name(status));
    }
    return match.tls_redirect ? MC_SLICE("tls") : match.route == NULL ? MC_SLICE("") : match.route->name;
}

/* --- the reference --- */

/* How well a domain fits (RT-2): 0 not at all, then "*", prefix wildcards by length, suffix wildcards by length, exact. */
static inline size_t naive_domain_rank(mc_slice domain, mc_slice host) {
    size_t n = domain.n;
    if (mc_slice_eq(domain, MC_SLICE("*"))) {
        return 1;
    }
    if (host.p == NULL) {
        return 0;
    }
    if (n > 0 && domain.p[0] == '*') {
        bool fits = host.n > n - 1 && mc_slice_ieq(mc_slice_from(host, host.n - (n - 1)), mc_slice_from(domain, 1));
        return fits ? 100000 + n : 0;
    }
    if (n > 0 && domain.p[n - 1] == '*') {
        bool fits = host.n > n - 1 && mc_slice_ieq(mc_slice_until(host, n - 1), mc_slice_until(domain, n - 1));
        return fits ? 2 + n : 0;
    }
    return mc_slice_ieq(domain, host) ? 10000000 : 0;
}

/* The virtual host's place in the configuration, or -1; for tables without vhost_header and ignore_port. */
static inline long naive_host(const mc_value *config, mc_slice authority) {
    const mc_value *hosts = mc_value_get(config, "virtual_hosts");
    size_t best = 0;
    long chosen = -1;
    bool only_any = true;
    for (size_t i = 0; hosts != NULL && i < hosts->count; i++) {
        const mc_value *domains = mc_value_get(&hosts->items[i], "domains");
        for (size_t j = 0; j < domains->count; j++) {
            size_t rank = naive_domain_rank(domains->items[j].string, authority);
            only_any = only_any && mc_slice_eq(domains->items[j].string, MC_SLICE("*"));
            if (rank > best) {
                best = rank;
                chosen = (long)i;
            }
        }
    }
    return authority.p == NULL && !only_any ? -1 : chosen;
}

/* First match in order, trying every route. */
static inline const mc_route *naive_match(const fixture *f, const mc_route_request *r) {
    long chosen = naive_host(f->config, mc_headers_get_known(r->headers, MC_H_AUTHORITY));
    if (chosen < 0) {
        return NULL;
    }
    const mc_host *host = &f->table->hosts[chosen];
    mc_match_input in;
    mc_match_input_init(&in, f->table, r);
    for (size_t i = 0; i < host->entry_count; i++) {
        const mc_route_entry *entry = host->entries[i];
        if (!entry->route.no_plugin && mc_path_pattern_test(&entry->pattern, &in) == 1 &&
            mc_matchers_test(&entry->matchers, &in) == 1) {
            return &entry->route;
        }
    }
    return NULL;
}

#endif
