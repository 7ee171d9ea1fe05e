#include "lb/retry_priority.h"

#include "lb/hosts.h"

void mc_retry_priority_init(mc_retry_priority *retry, uint32_t frequency) {
    memset(retry, 0, sizeof *retry);
    retry->frequency = frequency;
}

void mc_retry_priority_tried(mc_retry_priority *retry, uint32_t priority) {
    retry->attempted++;
    if (priority < MC_RETRY_PRIORITIES) {
        retry->tried[priority] = true;
    }
}

/* Availability of what is not excluded, into the loads; the sum, at most 100. */
static uint32_t available(mc_retry_priority *retry, const mc_retry_counts *counts) {
    uint32_t total = 0;
    for (size_t i = 0; i < counts->count; i++) {
        mc_priority_load *load = &retry->loads[i];
        mc_priority_availability(counts->at(counts->of, i), counts->options, load);
        if (retry->excluded[i]) {
            load->health = load->degraded = 0;
        }
        total += load->health + load->degraded;
    }
    return total < 100 ? total : 100;
}

static uint32_t hand_out(mc_retry_priority *retry, size_t count, uint32_t total, uint32_t left, bool degraded) {
    for (size_t i = 0; i < count; i++) {
        mc_priority_load *load = &retry->loads[i];
        uint32_t part = (degraded ? load->degraded : load->health) * 100 / total;
        part = part < left ? part : left;
        *(degraded ? &load->degraded_load : &load->healthy_load) += part;
        left -= part;
    }
    return left;
}

/* False: nothing is available, not even with nothing excluded. */
static bool adjust(mc_retry_priority *retry, const mc_retry_counts *counts) {
    const size_t count = counts->count;
    uint32_t total = available(retry, counts);
    if (total == 0) {
        memset(retry->tried, 0, sizeof retry->tried);
        memset(retry->excluded, 0, sizeof retry->excluded);
        retry->attempted = 0;
        total = available(retry, counts);
    }
    if (total == 0) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        retry->loads[i].healthy_load = retry->loads[i].degraded_load = 0;
    }
    /* What rounding leaves goes, in further rounds, to the first that is available. */
    for (uint32_t left = 100; left > 0;) {
        left = hand_out(retry, count, total, left, false);
        left = hand_out(retry, count, total, left, true);
    }
    return true;
}

const mc_priority_load *mc_retry_priority_adjust(mc_retry_priority *retry, const mc_retry_counts *counts) {
    if (retry->attempted < retry->frequency || counts->count > MC_RETRY_PRIORITIES) {
        return NULL;
    }
    if (retry->attempted % retry->frequency == 0) {
        for (size_t i = 0; i < MC_RETRY_PRIORITIES; i++) {
            retry->excluded[i] |= retry->tried[i];
        }
        if (!adjust(retry, counts)) {
            return NULL;
        }
    }
    return retry->loads;
}

static const mc_priority_counts *counts_of_hosts(const void *of, size_t priority) {
    return &((const mc_hosts *)of)->sets[priority]->counts;
}

const mc_priority_load *mc_retry_priority_loads(mc_retry_priority *retry, const mc_hosts *hosts) {
    return mc_retry_priority_adjust(retry,
                                    &(mc_retry_counts){counts_of_hosts, hosts, hosts->priority_count, &hosts->options});
}
