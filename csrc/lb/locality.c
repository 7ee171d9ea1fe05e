#include "lb/locality.h"

#include <math.h>

#include "base/alloc.h"

double mc_locality_effective_weight(const mc_locality *locality, bool degraded, uint32_t overprovisioning) {
    size_t eligible = degraded ? locality->degraded.count : locality->healthy.count;
    size_t hosts = locality->all.count - locality->excluded;
    if (hosts == 0) {
        return 0;
    }
    double ratio = (double)eligible / (double)hosts;
    return locality->weight * fmin(1.0, overprovisioning / 100.0 * ratio);
}

static double weight_of(void *ctx, uint32_t item) { return ((mc_locality_choice *)ctx)->weights[item]; }

mc_status mc_locality_choice_init(mc_locality_choice *choice, const mc_host_set *set, bool degraded,
                                  uint32_t overprovisioning, uint64_t seed) {
    *choice = (mc_locality_choice){0};
    if ((degraded ? set->degraded.count : set->healthy.count) == 0) {
        return MC_OK;
    }
    choice->indexes = mc_malloc(set->locality_count * sizeof *choice->indexes);
    choice->weights = mc_malloc(set->locality_count * sizeof *choice->weights);
    mc_status status = MC_ENOMEM;
    if (choice->indexes != NULL && choice->weights != NULL) {
        for (size_t i = 0; i < set->locality_count; i++) {
            double weight = mc_locality_effective_weight(&set->localities[i], degraded, overprovisioning);
            if (weight > 0) {
                choice->indexes[choice->count] = (uint32_t)i;
                choice->weights[choice->count++] = weight;
            }
        }
        status = mc_edf_seed(&choice->edf, choice->count, weight_of, choice, seed);
    }
    if (status != MC_OK) {
        mc_locality_choice_fini(choice);
    }
    return status;
}

void mc_locality_choice_fini(mc_locality_choice *choice) {
    mc_edf_fini(&choice->edf);
    mc_free(choice->indexes);
    mc_free(choice->weights);
    *choice = (mc_locality_choice){0};
}

bool mc_locality_choose(mc_locality_choice *choice, uint32_t *index) {
    uint32_t item;
    if (!mc_edf_pick(&choice->edf, weight_of, choice, &item)) {
        return false;
    }
    *index = choice->indexes[item];
    return true;
}
