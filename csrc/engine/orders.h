/* Orders: messages from the control side to all workers. One for each worker, or none at all: nothing reaches only some for want
 * of memory. Control thread only. */
#ifndef MC_ENGINE_ORDERS_H
#define MC_ENGINE_ORDERS_H

#include "engine/snapshot.h"

typedef struct mc_engine mc_engine;

/* Use this configuration; `take_fds` gives the descriptors of each worker's listeners (taken over), NULL: none. */
MC_MUST_CHECK mc_status mc_orders_apply(mc_engine *engine, mc_snapshot *snapshot,
                                        int *(*take_fds)(mc_engine *, const mc_snapshot *, uint32_t worker));
/* New membership of a cluster. */
MC_MUST_CHECK mc_status mc_orders_hosts(mc_engine *engine, mc_cluster *cluster, mc_hosts *hosts,
                                        const mc_hosts *previous);
/* CL-17. A name is known, or known to have no address (`details` tell why); or it is forgotten (`known` false). */
MC_MUST_CHECK mc_status mc_orders_name(mc_engine *engine, mc_name_cache *cache, mc_slice key, bool known,
                                       mc_slice details);
/* A host with a name has these addresses now; NULL: it is gone. */
MC_MUST_CHECK mc_status mc_orders_named(mc_engine *engine, mc_cluster *cluster, mc_host *host,
                                        mc_address_list *addresses);
/* A cache is there. */
MC_MUST_CHECK mc_status mc_orders_name_cache(mc_engine *engine, mc_name_cache *cache);
/* Let go of a host's connections (CL-14). */
MC_MUST_CHECK mc_status mc_orders_drain_host(mc_engine *engine, mc_cluster *cluster, mc_host *host);

#endif
