/* Hosts of an ORIGINAL_DST cluster that a worker made on first use and that are not in the membership yet (CL-15). */
#ifndef MC_POOL_OWN_HOSTS_H
#define MC_POOL_OWN_HOSTS_H

#include "pool/pool.h"

/* The one with this address text; NULL: none. */
mc_host *mc_own_hosts_find(const mc_upstream *upstream, mc_slice text);
/* Lets go of those whose address `hosts` has now; NULL: of all. */
void mc_own_hosts_forget(mc_upstream *upstream, const mc_hosts *hosts);

#endif
