/* The parts of a snapshot, compiled in this order into one that nobody else sees yet. Errors name the field below static_resources. */
#ifndef MC_ENGINE_SNAPSHOT_INTERNAL_H
#define MC_ENGINE_SNAPSHOT_INTERNAL_H

#include "engine/snapshot.h"

/* snapshot_clusters.c: those that did not change are taken over from the snapshot before. */
MC_MUST_CHECK mc_status mc_snapshot_compile_clusters(mc_snapshot *snapshot, const mc_value *resources,
                                                     const mc_compile_context *context, mc_error *error);
/* snapshot_listeners.c: each with its connection manager, whose routes may name the clusters. */
MC_MUST_CHECK mc_status mc_snapshot_compile_listeners(mc_snapshot *snapshot, const mc_value *bootstrap,
                                                      const mc_value *resources, const mc_compile_context *context,
                                                      mc_error *error);

/* The runtime values in force; NULL: none. */
static inline const mc_runtime *mc_snapshot_runtime(const mc_snapshot *snapshot) {
    return snapshot->has_runtime ? &snapshot->runtime : NULL;
}

#endif
