#include "lb/slow_start.h"

#include <math.h>

void mc_slow_start_init(mc_slow_start *slow, const mc_lb_config *config, uint64_t now_ms) {
    *slow = (mc_slow_start){config->slow_start_window_ms, config->slow_start_aggression, config->slow_start_min_percent,
                            now_ms};
}

void mc_slow_start_see(mc_slow_start *slow, mc_host_list list, uint64_t now_ms) {
    if (slow->window_ms == 0) {
        return;
    }
    for (size_t i = 0; i < list.count; i++) {
        mc_host *host = list.items[i];
        if (mc_host_health(host) != MC_HEALTHY) {
            continue;
        }
        /* Workers race for the first stamp; whoever loses uses the winner's. 0 means never, hence at least 1. */
        uint64_t start = 0;
        if (atomic_compare_exchange_strong(&host->hc_pass_ms, &start, now_ms > 0 ? now_ms : 1)) {
            start = now_ms;
        }
        if (now_ms - start <= slow->window_ms && start > slow->latest_ms) {
            slow->latest_ms = start;
        }
    }
}

double mc_slow_start_weight(const mc_slow_start *slow, const mc_host *host, double weight, uint64_t now_ms) {
    uint64_t start = host->hc_pass_ms;
    if (!mc_slow_start_active(slow, now_ms) || start == 0 || mc_host_health(host) != MC_HEALTHY) {
        return weight;
    }
    uint64_t passed = now_ms > start ? now_ms - start : 0;
    if (passed >= slow->window_ms) {
        return weight;
    }
    double factor = (double)(passed > 0 ? passed : 1) / (double)slow->window_ms;
    if (factor != 1.0 && slow->aggression != 1.0) {
        factor = pow(factor, 1.0 / slow->aggression);
    }
    return weight * fmax(factor, slow->min_percent / 100.0);
}
