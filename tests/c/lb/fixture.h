/* Memberships from JSON, a scripted random generator, and picks by address, for the balancer tests. */
#ifndef MC_TESTS_LB_FIXTURE_H
#define MC_TESTS_LB_FIXTURE_H

#include <stdarg.h>

#include "lb/lb.h"
#include "test.h"

static const mc_lb_stats NO_STATS = {.slab = NULL};

/* Draws a script, then zeros; counts. */
typedef struct script {
    const uint64_t *values;
    size_t count, at;
} script;

static inline uint64_t script_draw(void *ctx) {
    script *s = ctx;
    uint64_t value = s->at < s->count ? s->values[s->at] : 0;
    s->at++;
    return value;
}

static inline mc_random scripted(script *s) {
    mc_random random = {.draw = script_draw, .ctx = s};
    return random;
}

static inline const mc_value *parse(mc_arena *arena, const char *json) {
    const mc_value *value = NULL;
    mc_error error = {{0}, {0}};
    if (mc_value_parse(arena, mc_slice_cstr(json), &value, &error) != MC_OK) {
        fprintf(stderr, "bad JSON in a test: %s\n", error.reason);
        longjmp(mc_test_escape, 1);
    }
    return value;
}

static inline mc_lb_config config_of(const char *json) {
    mc_arena arena;
    mc_error error = {{0}, {0}};
    mc_lb_config config;
    mc_arena_init(&arena, NULL);
    mc_status status = mc_lb_config_compile(parse(&arena, json), NULL, &config, &error);
    mc_arena_fini(&arena);
    if (status != MC_OK) {
        fprintf(stderr, "config: %s %s\n", error.path, error.reason);
        longjmp(mc_test_escape, 1);
    }
    return config;
}

static inline mc_status try_hosts(const char *json, const mc_lb_config *config, mc_hosts *previous, mc_hosts **out,
                                  mc_error *error) {
    mc_arena arena;
    mc_arena_init(&arena, NULL);
    mc_status status = mc_hosts_compile(parse(&arena, json), config, MC_SLICE("cluster"), NULL, previous, out, error);
    mc_arena_fini(&arena);
    return status;
}

static inline mc_hosts *hosts_of(const char *json, const mc_lb_config *config, mc_hosts *previous) {
    mc_hosts *hosts = NULL;
    mc_error error = {{0}, {0}};
    if (try_hosts(json, config, previous, &hosts, &error) != MC_OK) {
        fprintf(stderr, "hosts: %s %s\n", error.path, error.reason);
        longjmp(mc_test_escape, 1);
    }
    return hosts;
}

/* JSON pieces: up to five literals with commas between them. */
#define JOIN(...)                     JOIN_N(__VA_ARGS__, JOIN_5, JOIN_4, JOIN_3, JOIN_2, JOIN_1, 0)(__VA_ARGS__)
#define JOIN_N(a, b, c, d, e, n, ...) n
#define JOIN_1(a)                     a
#define JOIN_2(a, b)                  a "," b
#define JOIN_3(a, b, c)               a "," b "," c
#define JOIN_4(a, b, c, d)            a "," b "," c "," d
#define JOIN_5(a, b, c, d, e)         a "," b "," c "," d "," e

/* An endpoint 10.0.0.<n>:80 with further fields of lb_endpoint. */
#define ENDPOINT(n, more)                                                                                              \
    "{\"endpoint\":{\"address\":{\"socket_address\":{\"address\":\"10.0.0." #n "\",\"port_value\":80}}}" more "}"
#define WEIGHT(w)     ",\"load_balancing_weight\":" #w
#define STATUS(s)     ",\"health_status\":\"" #s "\""
#define GROUP(p, ...) "{\"priority\":" #p ",\"lb_endpoints\":[" JOIN(__VA_ARGS__) "]}"
#define ZONE(z, w, ...)                                                                                                \
    "{\"locality\":{\"zone\":\"" z "\"},\"load_balancing_weight\":" #w ",\"lb_endpoints\":[" JOIN(__VA_ARGS__) "]}"
#define NOBODY(z, w) "{\"locality\":{\"zone\":\"" z "\"},\"load_balancing_weight\":" #w "}"
#define CLA(...)     "{\"endpoints\":[" JOIN(__VA_ARGS__) "]}"

/* Last number of the address picked: 3 for 10.0.0.3:80; 0 for no host. */
static inline int number_of(const mc_host *host) {
    return host == NULL ? 0 : atoi(host->address_text.p + strlen("10.0.0."));
}

static inline int pick(mc_lb *lb) {
    mc_lb_request request = {.now_ms = 0};
    return number_of(mc_lb_choose(lb, &request));
}

static inline int pick_hash(mc_lb *lb, uint64_t hash) {
    mc_lb_request request = {.has_hash = true, .hash = hash};
    return number_of(mc_lb_choose(lb, &request));
}

#define CHECK_PICKS(lb, ...)                                                                                           \
    do {                                                                                                               \
        static const int expected_[] = {__VA_ARGS__};                                                                  \
        for (size_t i_ = 0; i_ < sizeof expected_ / sizeof *expected_; i_++) {                                         \
            CHECK_INT(pick(lb), expected_[i_]);                                                                        \
        }                                                                                                              \
    } while (0)

/* Each allocation of a new balancer fails once, until there is one. */
static inline void make_without_memory(const mc_lb_config *config, mc_hosts *hosts, mc_random *random) {
    mc_lb *lb = NULL;
    for (long n = 1; lb == NULL; n++) {
        mc_test_alloc_fail_at(n);
        lb = mc_lb_new(config, hosts, random, 0, &NO_STATS);
        mc_test_alloc_fail_at(0);
    }
    mc_lb_free(lb);
}

#endif
