#include "lb/priority.h"

static uint64_t min_u64(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* PR-1. */
void mc_priority_availability(const mc_priority_counts *c, const mc_priority_options *options, mc_priority_load *load) {
    uint64_t hosts = c->hosts - c->excluded, healthy = c->healthy, degraded = c->degraded;
    const uint64_t factor = c->overprovisioning != 0 ? c->overprovisioning : options->overprovisioning;
    load->health = load->degraded = 0;
    if (hosts == 0) {
        return;
    }
    if (options->weighted_health || c->weighted) {
        hosts = c->hosts_weight - c->excluded_weight;
        healthy = c->healthy_weight;
        degraded = c->degraded_weight;
    }
    load->health = (uint32_t)min_u64(100, factor * healthy / hosts);
    load->degraded = (uint32_t)min_u64(100, factor * degraded / hosts);
}

/* PR-3 for one kind; returns what remains. */
static uint32_t hand_out(mc_priority_load *loads, size_t count, uint32_t total, uint32_t remaining, bool degraded) {
    for (size_t i = 0; i < count; i++) {
        uint32_t available = degraded ? loads[i].degraded : loads[i].health;
        uint32_t load = (uint32_t)min_u64(remaining, available * 100 / total);
        *(degraded ? &loads[i].degraded_load : &loads[i].healthy_load) = load;
        remaining -= load;
    }
    return remaining;
}

static void give_remainder(mc_priority_load *loads, size_t count, uint32_t remaining) {
    for (size_t i = 0; i < count; i++) {
        if (loads[i].health > 0) {
            loads[i].healthy_load += remaining;
            return;
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (loads[i].degraded > 0) {
            loads[i].degraded_load += remaining;
            return;
        }
    }
}

/* PR-8, on host counts in any case. */
bool mc_priority_below(const mc_priority_counts *c, uint32_t threshold) {
    double hosts = (double)(c->hosts - c->excluded);
    double percent = hosts == 0 ? 0 : 100.0 * (double)c->healthy / hosts + 100.0 * (double)c->degraded / hosts;
    return percent < threshold;
}

/* PR-9. */
static void total_panic(const mc_priority_counts *counts, size_t count, mc_priority_load *loads) {
    uint64_t hosts = 0;
    uint32_t remaining = 100;
    size_t first = count;
    for (size_t i = 0; i < count; i++) {
        hosts += counts[i].hosts;
        first = first == count && counts[i].hosts > 0 ? i : first;
        loads[i].healthy_load = loads[i].degraded_load = 0;
    }
    if (hosts == 0) {
        loads[0].healthy_load = 100;
        return;
    }
    for (size_t i = 0; i < count; i++) {
        loads[i].healthy_load = (uint32_t)(100 * counts[i].hosts / hosts);
        remaining -= loads[i].healthy_load;
    }
    loads[first].healthy_load += remaining;
}

void mc_priority_compute(const mc_priority_counts *counts, size_t count, const mc_priority_options *options,
                         mc_priority_load *loads) {
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        mc_priority_availability(&counts[i], options, &loads[i]);
        sum += loads[i].health + loads[i].degraded;
    }
    uint32_t total = (uint32_t)min_u64(100, sum), threshold = options->panic_threshold;
    if (total > 0) {
        uint32_t remaining = hand_out(loads, count, total, 100, false);
        give_remainder(loads, count, hand_out(loads, count, total, remaining, true));
    } else if (threshold == 0) {
        loads[0].healthy_load = 100;
        return;
    }
    bool all = true;
    for (size_t i = 0; i < count; i++) {
        loads[i].panic = total != 100 && mc_priority_below(&counts[i], threshold);
        all = all && loads[i].panic;
    }
    if (all) {
        total_panic(counts, count, loads);
    }
}

size_t mc_priority_choose(const mc_priority_load *loads, size_t count, uint64_t hash, bool *degraded) {
    uint64_t x = hash % 100 + 1, sum = 0;
    for (int pass = 0; pass < 2; pass++) {
        *degraded = pass == 1;
        for (size_t i = 0; i < count; i++) {
            sum += *degraded ? loads[i].degraded_load : loads[i].healthy_load;
            if (x <= sum) {
                return i;
            }
        }
    }
    *degraded = false;
    return 0; /* the loads sum up to 100, unless weights make of what is healthy nothing and nobody panics (PR-8) */
}
