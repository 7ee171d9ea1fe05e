/* Thousands of random tables and requests: the index must answer as trying every route in order does. */
#include "route_test.h"

#include "base/random.h"

typedef struct text {
    char *p;
    size_t n, cap;
} text;

static void put(text *t, const char *s) {
    size_t n = strlen(s);
    if (t->n + n + 1 > t->cap) {
        t->cap = 2 * (t->n + n + 64);
        t->p = realloc(t->p, t->cap);
    }
    memcpy(t->p + t->n, s, n + 1);
    t->n += n;
}

static unsigned below(mc_random *random, unsigned n) { return (unsigned)(mc_random_next(random) % n); }

/* How random the tables of one test are. */
typedef struct shape {
    unsigned tables, routes, requests;
    unsigned path;    /* most characters of a path: the fewer, the more routes share one */
    unsigned plain;   /* one route in so many has no header matchers, 0 none */
    unsigned regexes; /* one route in so many has a regular expression or URI template, 0 none */
    bool splits;      /* some list must be split by header value */
} shape;

/* Short paths over a small alphabet, so that prefixes nest and texts repeat. */
static void random_path(mc_random *random, const shape *shape, char *out, bool separated) {
    static const char alphabet[] = "abAB/";
    unsigned n = separated + below(random, shape->path);
    *out++ = '/';
    for (unsigned i = 0; i < n; i++) {
        *out++ = alphabet[below(random, 5)];
    }
    if (separated && out[-1] == '/') {
        *out++ = 'a';
    }
    *out = 0;
}

/* The end of a route. */
static void put_headers(mc_random *random, const shape *shape, text *t) {
    char line[160];
    if (shape->plain == 0 || below(random, shape->plain) > 0) {
        put(t, ", 'headers': [");
        unsigned count = 1 + below(random, 2);
        for (unsigned i = 0; i < count; i++) {
            static const char *const formats[] = {"%s{'name': 'h%u', 'string_match': {'exact': '%u'}%s}",
                                                  "%s{'name': 'h%u', 'exact_match': '%u'%s}",
                                                  "%s{'name': 'h%u', 'string_match': {'prefix': '%u'}%s}"};
            unsigned form = below(random, 8);
            snprintf(line, sizeof line, formats[form < 5 ? 0 : form - 5], i > 0 ? "," : "", below(random, 3),
                     below(random, 4), below(random, 6) == 0 ? ", 'invert_match': true" : "");
            put(t, line);
        }
        put(t, "]");
    }
    put(t, "}, 'route': {'cluster': 'c'}}");
}

/* Expressions whose matches begin with the same text as prefixes and paths do, or with no text of their own. */
static void random_expression(mc_random *random, const shape *shape, char *out) {
    static const char *const forms[] = {"%s.*",    "%s[^/]+",  "%s(a|b.)", "%s/?b", "(?i)%s/?.*",
                                        "%s+b?;*", "(%s|/A)b", ".*%s",     "%s",    "^%s[ab]*$"};
    char path[16], glob[40];
    random_path(random, shape, path, true);
    if (below(random, 4) > 0) {
        snprintf(glob, sizeof glob, forms[below(random, 10)], path);
        sprintf(out, "'safe_regex': {'regex': '%s'}", glob);
        return;
    }
    for (char *at = path + 1; *at != 0; at++) { /* no template has two side by side */
        *at = at[-1] == '/' && *at == '/' ? 'a' : *at;
    }
    static const char *const globs[] = {"%s/*", "%s/**", "%s/{x}/b", "%s;p/*", "/{x=**}%s", "%s"};
    snprintf(glob, sizeof glob, globs[below(random, 6)], path);
    sprintf(out,
            "'path_match_policy': {'name': 't', 'typed_config': {'@type': "
            "'type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig', "
            "'path_template': '%s'}}",
            glob);
}

static void random_route(mc_random *random, const shape *shape, text *t, int index) {
    static const char *const fields[] = {"prefix", "path", "path_separated_prefix"};
    char line[320], path[240];
    unsigned kind = below(random, 3);
    if (shape->regexes > 0 && below(random, shape->regexes) == 0) {
        random_expression(random, shape, path);
        snprintf(line, sizeof line, "%s{'name': 'r%d', 'match': {%s", index > 0 ? "," : "", index, path);
        put(t, line);
        put_headers(random, shape, t);
        return;
    }
    random_path(random, shape, path, kind == 2);
    snprintf(line, sizeof line, "%s{'name': 'r%d', 'match': {'%s': '%s'", index > 0 ? "," : "", index, fields[kind],
             path);
    put(t, line);
    if (below(random, 3) == 0) {
        put(t, ", 'case_sensitive': false");
    }
    put_headers(random, shape, t);
}

static const char *const domains[] = {"*",   "a.io", "b.a.io", "*.io", "*.a.io",  "*a.io",
                                      "a.*", "a.i*", "b.*",    "io",   "*b.a.io", "b.a.*"};
enum { DOMAIN_COUNT = sizeof domains / sizeof domains[0] };

static void random_table(mc_random *random, const shape *shape, text *t) {
    bool used[DOMAIN_COUNT] = {false};
    unsigned hosts = 1 + below(random, 4);
    t->n = 0;
    put(t, below(random, 3) == 0 ? "{'ignore_path_parameters_in_path_matching': true, " : "{");
    put(t, "'virtual_hosts': [");
    for (unsigned h = 0; h < hosts; h++) {
        unsigned domain = h == 0 && below(random, 2) == 0 ? 0 : below(random, DOMAIN_COUNT);
        while (used[domain]) {
            domain = (domain + 1) % DOMAIN_COUNT;
        }
        used[domain] = true;
        put(t, h > 0 ? ",{'name': 'v', 'domains': ['" : "{'name': 'v', 'domains': ['");
        put(t, domains[domain]);
        put(t, "'], 'routes': [");
        unsigned count = 1 + below(random, shape->routes);
        for (unsigned i = 0; i < count; i++) {
            random_route(random, shape, t, (int)i);
        }
        put(t, "]}");
    }
    put(t, "]}");
}

static void random_request(mc_random *random, const shape *shape, char *out) {
    static const char *const hosts[] = {"-", "a.io", "A.io", "b.a.io", "xb.a.io", "c.io", "b.org", ".io", "io", "a.i"};
    char path[16];
    random_path(random, shape, path, false);
    out += sprintf(out, "%s%s%s%s", hosts[below(random, 10)], path, below(random, 6) == 0 ? ";p/a" : "",
                   below(random, 4) == 0 ? "?x=/a" : "");
    for (unsigned h = 0; h < 3; h++) {
        for (unsigned repeat = below(random, 4) / 2 + below(random, 5) / 4; repeat > 0; repeat--) {
            out += sprintf(out, "\nh%u: %u", h, below(random, 4));
        }
    }
}

static bool has_split(const fixture *f) {
    for (size_t h = 0; h < f->table->host_count; h++) {
        const mc_path_half *half = &f->table->hosts[h].paths.cased;
        for (uint32_t i = 0; half->nodes != NULL && i <= half->nodes[0].child_count; i++) {
            if (half->nodes[i].prefix != NULL && half->nodes[i].prefix->splits != NULL) {
                return true;
            }
        }
    }
    return false;
}

static void compare(uint64_t seed, const shape *shape) {
    mc_random random = {.draw = NULL};
    text t = {NULL, 0, 0};
    unsigned found = 0, split = 0;
    mc_random_seed(&random, seed);
    for (unsigned i = 0; i < shape->tables; i++) {
        fixture f;
        random_table(&random, shape, &t);
        mc_status status = fixture_compile(&f, t.p);
        if (status != MC_OK) {
            fprintf(stderr, "%s: %s\n%s\n", f.error.path, f.error.reason, t.p);
        }
        CHECK_INT(status, MC_OK);
        split += has_split(&f);
        for (unsigned j = 0; j < shape->requests; j++) {
            char line[256];
            request r;
            mc_route_match match;
            random_request(&random, shape, line);
            request_init(&r, line);
            CHECK_INT(mc_route_table_match(f.table, &r.request, &match), MC_OK);
            const mc_route *expected = naive_match(&f, &r.request);
            if (match.route != expected) {
                fprintf(stderr, "table %u, seed %llu: %s\n%s\n", i, (unsigned long long)seed, line, t.p);
            }
            CHECK(match.route == expected);
            found += expected != NULL;
            request_fini(&r);
        }
        fixture_fini(&f);
    }
    free(t.p);
    CHECK(found > shape->tables * shape->requests / 10);
    CHECK(!shape->splits || split > shape->tables / 4);
}

TEST(small_tables) { compare(1, &(shape){.tables = 4000, .routes = 12, .requests = 12, .path = 6, .plain = 2}); }
TEST(regular_expressions) {
    compare(5, &(shape){.tables = 300, .routes = 12, .requests = 12, .path = 6, .plain = 2, .regexes = 2});
    compare(6, &(shape){.tables = 20, .routes = 200, .requests = 60, .path = 6, .plain = 3, .regexes = 3});
}
TEST(many_routes) { compare(2, &(shape){.tables = 100, .routes = 400, .requests = 60, .path = 6, .plain = 2}); }
TEST(many_routes_of_few_paths) {
    compare(3, &(shape){.tables = 150, .routes = 600, .requests = 60, .path = 2, .plain = 60, .splits = true});
    compare(4, &(shape){.tables = 150, .routes = 300, .requests = 60, .path = 1, .splits = true});
}
