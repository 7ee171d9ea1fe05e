/* LbSubsetConfig, compiled (rules SB-*): how a cluster's hosts are put into subsets, and what is done when a request's subset
 * does not exist. Immutable; lives in the configuration's shared part. */
#ifndef MC_LB_SUBSET_CONFIG_H
#define MC_LB_SUBSET_CONFIG_H

#include "base/map.h"
#include "lb/lb.h"

typedef enum mc_subset_fallback {
    MC_SUBSET_NOT_DEFINED, /* a selector's only: the cluster's counts */
    MC_SUBSET_NO_FALLBACK,
    MC_SUBSET_ANY_ENDPOINT,
    MC_SUBSET_DEFAULT_SUBSET,
    MC_SUBSET_KEYS_SUBSET /* a selector's only */
} mc_subset_fallback;

typedef struct mc_subset_selector {
    mc_slice *keys; /* ascending, distinct; at least one */
    size_t key_count;
    mc_subset_fallback fallback;
    mc_slice *fallback_keys; /* ascending */
    size_t fallback_key_count;
    mc_slice path; /* of the keys (subset_path.h) */
    bool single_host;
} mc_subset_selector;

struct mc_subset_config {
    mc_subset_fallback fallback; /* NO_FALLBACK, ANY_ENDPOINT or DEFAULT_SUBSET */
    const mc_value *default_subset;
    mc_subset_selector *selectors; /* longest first with allow_redundant_keys (SB-4) */
    size_t selector_count;
    mc_map by_keys; /* key path -> the selector whose fallback counts for it (SB-6) */
    bool locality_weight_aware, scale_locality_weight, panic_mode_any, list_as_any, fallback_list, allow_redundant_keys;
};

/* *out NULL when there is no selector, unless subsets are active in any case. `arena` is that of the configuration. */
MC_MUST_CHECK mc_status mc_subset_config_read(const mc_value *config, bool always, mc_arena *arena,
                                              const mc_subset_config **out, mc_error *error);
void mc_subset_config_fini(mc_subset_config *config);

#endif
