#include "lb/edf.h"

#include "base/alloc.h"

void mc_edf_init(mc_edf *edf) { *edf = (mc_edf){0}; }

void mc_edf_fini(mc_edf *edf) {
    mc_free(edf->heap);
    mc_free(edf->peeked);
    mc_edf_init(edf);
}

static bool before(const mc_edf_entry *a, const mc_edf_entry *b) {
    return a->deadline < b->deadline || (a->deadline == b->deadline && a->sequence < b->sequence);
}

static void sift_up(mc_edf *edf, size_t at) {
    mc_edf_entry entry = edf->heap[at];
    while (at > 0 && before(&entry, &edf->heap[(at - 1) / 2])) {
        edf->heap[at] = edf->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    edf->heap[at] = entry;
}

static void sift_down(mc_edf *edf, size_t at) {
    mc_edf_entry entry = edf->heap[at];
    for (size_t child; (child = 2 * at + 1) < edf->count; at = child) {
        if (child + 1 < edf->count && before(&edf->heap[child + 1], &edf->heap[child])) {
            child++;
        }
        if (!before(&edf->heap[child], &entry)) {
            break;
        }
        edf->heap[at] = edf->heap[child];
    }
    edf->heap[at] = entry;
}

mc_status mc_edf_add(mc_edf *edf, double weight, uint32_t item) {
    mc_status status = mc_grow(&edf->heap, &edf->cap, edf->count + 1, sizeof *edf->heap);
    if (status != MC_OK) {
        return status;
    }
    edf->heap[edf->count] = (mc_edf_entry){edf->now + 1.0 / weight, edf->sequence++, item};
    sift_up(edf, edf->count++);
    return MC_OK;
}

/* Pop and put back in one: the root gets its next deadline and sinks. */
static uint32_t turn(mc_edf *edf, mc_edf_weight weight, void *ctx) {
    mc_edf_entry *root = &edf->heap[0];
    uint32_t item = root->item;
    edf->now = root->deadline;
    root->deadline = edf->now + 1.0 / weight(ctx, item);
    root->sequence = edf->sequence++;
    sift_down(edf, 0);
    return item;
}

bool mc_edf_pick(mc_edf *edf, mc_edf_weight weight, void *ctx, uint32_t *item) {
    if (edf->peeked_at < edf->peeked_count) {
        *item = edf->peeked[edf->peeked_at++];
        return true;
    }
    if (edf->count == 0) {
        return false;
    }
    *item = turn(edf, weight, ctx);
    return true;
}

mc_status mc_edf_peek(mc_edf *edf, mc_edf_weight weight, void *ctx, uint32_t *item) {
    if (edf->count == 0) {
        return MC_ENOTFOUND;
    }
    if (edf->peeked_at == edf->peeked_count) {
        edf->peeked_at = edf->peeked_count = 0;
    }
    mc_status status = mc_grow(&edf->peeked, &edf->peeked_cap, edf->peeked_count + 1, sizeof *edf->peeked);
    if (status != MC_OK) {
        return status;
    }
    *item = turn(edf, weight, ctx);
    edf->peeked[edf->peeked_count++] = *item;
    return MC_OK;
}

/* ED-3: keeps (f + 1) / W' above now for every item, whatever the rounding of its weight. */
static const double SEED_EPSILON = 1e-13;
static const uint32_t SEED_MODULUS = 429496729;

/* Picks that item had among the first `picks`. */
static uint32_t seeded_picks(double weight, double sum, uint32_t picks) {
    uint32_t floor = (uint32_t)(weight * picks / sum);
    return floor > 0 && floor / weight >= picks / sum ? floor - 1 : floor;
}

mc_status mc_edf_seed(mc_edf *edf, size_t count, mc_edf_weight weight, void *ctx, uint64_t seed) {
    uint32_t picks = (uint32_t)seed % SEED_MODULUS;
    mc_status status = mc_grow(&edf->heap, &edf->cap, count, sizeof *edf->heap);
    if (status != MC_OK) {
        return status;
    }
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        edf->heap[i].deadline = weight(ctx, (uint32_t)i) + SEED_EPSILON;
        sum += edf->heap[i].deadline;
    }
    uint32_t left = picks;
    for (size_t i = 0; i < count; i++) {
        double w = edf->heap[i].deadline;
        uint32_t had = seeded_picks(w, sum, picks);
        left -= had;
        edf->now = had / w > edf->now ? had / w : edf->now;
        edf->heap[i] = (mc_edf_entry){(had + 1) / w, i, (uint32_t)i};
        edf->count = i + 1;
        sift_up(edf, i);
    }
    edf->sequence = count;
    for (; count > 0 && left > 0; left--) {
        turn(edf, weight, ctx);
    }
    return MC_OK;
}

bool mc_edf_check(const mc_edf *edf) {
    for (size_t i = 1; i < edf->count; i++) {
        if (before(&edf->heap[i], &edf->heap[(i - 1) / 2])) {
            return false;
        }
    }
    return edf->peeked_at <= edf->peeked_count;
}
