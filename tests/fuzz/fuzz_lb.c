/* Memberships out of arbitrary text: compile it, publish it to a balancer, pick, and compile it again on top of itself.
 *
 * Input: one byte that chooses the policy, or subsets, then the ClusterLoadAssignment as JSON. */
#include <stdlib.h>

#include "lb/lb.h"

static const mc_lb_config CONFIGS[] = {
    {.policy = MC_LB_ROUND_ROBIN, .panic_threshold = 50, .locality_weighted = true},
    {.policy = MC_LB_LEAST_REQUEST, .panic_threshold = 50, .choice_count = 2, .active_request_bias = 1.0},
    {.policy = MC_LB_RANDOM, .panic_threshold = 0, .keep_duplicates = true},
    {.policy = MC_LB_RING_HASH, .panic_threshold = 50, .ring_min = 8, .ring_max = 64, .hash_balance_factor = 100},
    {.policy = MC_LB_MAGLEV, .panic_threshold = 50, .maglev_size = 101, .locality_weighted = true},
};

/* Subsets of keys "a" and "b", with fallbacks of all kinds; values are looked for that the corpus has. */
static const char *const SUBSETS =
    "{\"lb_policy\":\"MAGLEV\",\"maglev_lb_config\":{\"table_size\":\"101\"},\"lb_subset_config\":{\"list_as_any\":"
    "true,"
    "\"fallback_policy\":\"DEFAULT_SUBSET\",\"default_subset\":{\"a\":\"1\"},\"panic_mode_any\":true,\"subset_"
    "selectors\":["
    "{\"keys\":[\"a\",\"b\"],\"fallback_policy\":\"KEYS_SUBSET\",\"fallback_keys_subset\":[\"b\"]},"
    "{\"keys\":[\"b\"],\"single_host_per_subset\":true}]}}";

static void pick_some(mc_lb *lb) {
    static const mc_value values[] = {{.kind = MC_STRING, .string = MC_SLICE_INIT("1")},
                                      {.kind = MC_NUMBER, .number = 1},
                                      {.kind = MC_BOOL, .boolean = true}};
    for (uint64_t i = 0; i < 8; i++) {
        const mc_subset_criterion items[] = {{MC_SLICE("a"), &values[i % 3]}, {MC_SLICE("b"), &values[i / 3]}};
        const mc_subset_criteria criteria = {items, 1 + i % 2};
        mc_lb_request request = {.has_hash = i % 2 == 0,
                                 .hash = i * 0x9e3779b97f4a7c15u,
                                 .now_ms = i,
                                 .criteria = i == 7 ? NULL : &criteria};
        mc_lb_choose(lb, &request);
    }
}

/* Whatever compiles is a membership that can be picked from, replaced and compiled again to the same. */
static void use(const mc_value *value, const mc_lb_config *config, mc_hosts *hosts) {
    static const mc_lb_stats no_stats = {.slab = NULL};
    mc_random random;
    mc_hosts *again = NULL;
    mc_error error;
    mc_random_seed(&random, 7);
    mc_lb *lb = mc_lb_new(config, hosts, &random, 0, &no_stats);
    if (lb == NULL || mc_hosts_compile(value, config, MC_SLICE("c"), NULL, hosts, &again, &error) != MC_OK ||
        mc_hosts_count(again) != mc_hosts_count(hosts)) {
        abort();
    }
    pick_some(lb);
    if (mc_lb_update(lb, again, 1) != MC_OK) {
        abort();
    }
    pick_some(lb);
    mc_hosts_unref(again);
    mc_lb_free(lb);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    mc_arena arena;
    mc_error error = {{0}, {0}};
    const mc_value *value;
    mc_hosts *hosts;
    if (n == 0) {
        return 0;
    }
    const size_t plain = sizeof CONFIGS / sizeof *CONFIGS, choice = data[0] % (plain + 1);
    mc_lb_config subsets = {.shared = NULL};
    mc_arena_init(&arena, NULL);
    if (choice == plain && (mc_value_parse(&arena, mc_slice_cstr(SUBSETS), &value, &error) != MC_OK ||
                            mc_lb_config_compile(value, NULL, &subsets, &error) != MC_OK)) {
        abort();
    }
    const mc_lb_config *config = choice == plain ? &subsets : &CONFIGS[choice];
    if (mc_value_parse(&arena, mc_slice_of(data + 1, n - 1), &value, &error) == MC_OK &&
        mc_hosts_compile(value, config, MC_SLICE("c"), NULL, NULL, &hosts, &error) == MC_OK) {
        use(value, config, hosts);
        mc_hosts_unref(hosts);
    }
    mc_lb_config_fini(&subsets);
    mc_arena_fini(&arena);
    return 0;
}
