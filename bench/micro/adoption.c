/* What a worker's thread spends on a great membership: CPU time of taking over hosts that the control side compiled and planned.
 *
 * Prints a line for each policy and number of hosts: its name, hosts, then microseconds of compiling, of planning, of the first
 * adoption and of the longest of the further ones, in which the weights of all hosts change. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/text.h"
#include "lb/lb.h"

enum { TURNS = 6 };
static const uint64_t SEED = 7, NOW_MS = 100000;

static const struct {
    const char *name, *cluster;
} CASES[] = {
    {"round-robin", "{}"},
    {"round-robin-slow-start", "{\"round_robin_lb_config\":{\"slow_start_config\":{\"slow_start_window\":\"10s\"}}}"},
    {"least-request", "{\"lb_policy\":\"LEAST_REQUEST\"}"},
    {"maglev", "{\"lb_policy\":\"MAGLEV\"}"},
    {"peak-ewma", "{\"load_balancing_policy\":{\"policies\":[{\"typed_extension_config\":{\"typed_config\":{\"@type\":"
                  "\"type.googleapis.com/meshcore.PeakEwma\"}}}]}}"},
};

static double cpu_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void must(bool ok, const char *what) {
    if (!ok) {
        fprintf(stderr, "%s\n", what);
        exit(1);
    }
}

static const mc_value *parse(mc_arena *arena, mc_slice json) {
    const mc_value *value;
    mc_error error;
    must(mc_value_parse(arena, json, &value, &error) == MC_OK, "a text that is no JSON");
    return value;
}

/* So many hosts; `turn` decides the weights. The text outlives the value. */
static const mc_value *assignment(mc_arena *arena, mc_text *text, unsigned hosts, unsigned turn) {
    char item[256];
    mc_text_init(text);
    mc_text_lit(text, "{\"endpoints\":[{\"lb_endpoints\":[");
    for (unsigned i = 0; i < hosts; i++) {
        const int n = snprintf(item, sizeof item,
                               "%s{\"endpoint\":{\"address\":{\"socket_address\":{\"address\":\"10.%u.%u.%u\","
                               "\"port_value\":80}}},\"load_balancing_weight\":%u}",
                               i > 0 ? "," : "", i / 62500, i / 250 % 250, i % 250 + 1, 1 + (i + turn) % 5);
        mc_text_add(text, mc_slice_of(item, (size_t)n));
    }
    mc_text_lit(text, "]}]}");
    return parse(arena, mc_text_slice(text));
}

static void run(const char *name, const char *cluster, unsigned count) {
    mc_arena arena;
    mc_text texts[2];
    mc_error error;
    mc_lb_config config;
    mc_random random;
    mc_hosts *hosts, *before = NULL;
    mc_lb *lb = NULL;
    double compiling = 0, planning = 0, first = 0, longest = 0;
    static const mc_lb_stats no_stats;
    mc_arena_init(&arena, NULL);
    mc_random_seed(&random, SEED);
    must(mc_lb_config_compile(parse(&arena, mc_slice_cstr(cluster)), NULL, &config, &error) == MC_OK, "configuration");
    const mc_value *const values[] = {assignment(&arena, &texts[0], count, 0), assignment(&arena, &texts[1], count, 1)};
    for (int turn = 0; turn < TURNS; turn++) {
        const double start = cpu_us();
        must(mc_hosts_compile(values[turn % 2], &config, MC_SLICE("c"), NULL, before, &hosts, &error) == MC_OK,
             "hosts");
        const double compiled = cpu_us();
        mc_lb_plan *plan = mc_lb_plan_new(&config, hosts, before, SEED, NOW_MS);
        const double planned = cpu_us();
        if (lb == NULL) {
            lb = mc_lb_new_seeded(&config, hosts, &random, SEED, plan, NOW_MS, &no_stats);
            must(lb != NULL, "balancer");
            first = cpu_us() - planned;
        } else {
            must(mc_lb_update_planned(lb, hosts, plan, NOW_MS) == MC_OK, "update");
            const double took = cpu_us() - planned;
            longest = took > longest ? took : longest;
        }
        compiling = compiled - start > compiling ? compiled - start : compiling;
        planning = planned - compiled > planning ? planned - compiled : planning;
        mc_lb_plan_free(plan);
        mc_hosts_unref(before);
        before = hosts;
    }
    printf("%s %u %.0f %.0f %.1f %.1f\n", name, count, compiling, planning, first, longest);
    mc_lb_free(lb);
    mc_hosts_unref(before);
    mc_lb_config_fini(&config);
    mc_arena_fini(&arena);
    mc_text_fini(&texts[0]);
    mc_text_fini(&texts[1]);
}

int main(void) {
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        run(CASES[i].name, CASES[i].cluster, 10000);
        run(CASES[i].name, CASES[i].cluster, 100000);
    }
    return 0;
}
