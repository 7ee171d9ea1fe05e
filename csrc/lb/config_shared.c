#include "base/alloc.h"
#include "lb/config_internal.h"
#include "lb/subset_config.h"

struct mc_lb_shared {
    _Atomic uint32_t refs;
    mc_arena arena;
    mc_locality_name local;
    mc_subset_config *subsets;
};

mc_lb_config mc_lb_config_copy(const mc_lb_config *config) {
    if (config->shared != NULL) {
        atomic_fetch_add_explicit(&config->shared->refs, 1, memory_order_relaxed);
    }
    return *config;
}

void mc_lb_config_fini(mc_lb_config *config) {
    mc_lb_shared *shared = config->shared;
    config->shared = NULL;
    if (shared != NULL && atomic_fetch_sub_explicit(&shared->refs, 1, memory_order_acq_rel) == 1) {
        if (shared->subsets != NULL) {
            mc_subset_config_fini(shared->subsets);
        }
        mc_arena_fini(&shared->arena);
        mc_free(shared);
    }
}

static mc_lb_shared *shared_of(mc_lb_config *config) {
    if (config->shared == NULL && (config->shared = mc_calloc(1, sizeof *config->shared)) != NULL) {
        atomic_init(&config->shared->refs, 1);
        mc_arena_init(&config->shared->arena, NULL);
    }
    return config->shared;
}

mc_arena *mc_lb_config_arena(mc_lb_config *config) {
    mc_lb_shared *shared = shared_of(config);
    return shared == NULL ? NULL : &shared->arena;
}

mc_status mc_lb_keep_locality(const mc_locality_name *local, mc_lb_config *out) {
    if (local->region.n == 0 && local->zone.n == 0 && local->sub_zone.n == 0) {
        return MC_OK;
    }
    mc_lb_shared *shared = shared_of(out);
    if (shared == NULL) {
        return MC_ENOMEM;
    }
    MC_TRY(mc_arena_dup(&shared->arena, local->region, &shared->local.region));
    MC_TRY(mc_arena_dup(&shared->arena, local->zone, &shared->local.zone));
    MC_TRY(mc_arena_dup(&shared->arena, local->sub_zone, &shared->local.sub_zone));
    out->local = &shared->local;
    return MC_OK;
}

mc_status mc_lb_read_subsets(const mc_value *config, bool always, mc_lb_config *out, mc_error *error) {
    mc_lb_shared *shared = shared_of(out);
    if (shared == NULL) {
        return MC_ENOMEM;
    }
    mc_status status = mc_subset_config_read(config, always, &shared->arena, &out->subsets, error);
    shared->subsets = (mc_subset_config *)out->subsets;
    return status;
}
