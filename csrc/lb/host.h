/* How hosts come to be and change: the control side's half of mc_host. */
#ifndef MC_LB_HOST_H
#define MC_LB_HOST_H

#include "lb/lb.h"
#include "lb/metadata.h"

/* What an assignment says of one host; slices are borrowed. */
typedef struct mc_host_spec {
    mc_address address;
    mc_slice address_text;
    mc_slice hostname, region, zone, sub_zone;
    const mc_value *metadata; /* namespace to object; NULL: none */
    uint32_t weight, priority, locality_weight;
    const uint32_t *weight_of_locality; /* where the reader keeps it until all is read; NULL: none */
    mc_eds_status eds_status;
    bool canary;
    /* What the control side adds to an endpoint (assignment.c). */
    uint32_t initial_flags;      /* health flags of a new host (HS-6, CL-9) */
    mc_slice check;              /* where and whether the host is checked; another one makes another host (CL-9) */
    bool pending_removal;        /* only its health keeps it (CL-10) */
    const mc_address *addresses; /* `address` and the additional ones */
    uint32_t address_count;      /* 0 or more than 1 */
} mc_host_spec;

/* A host with one reference and without hash key; stats may be NULL. NULL: out of memory. */
MC_MUST_CHECK mc_host *mc_host_new(const mc_host_spec *spec, const mc_lb_config *config, mc_slice cluster_name,
                                   mc_stats *stats);

/* Whether the host may go on under this spec: what cannot change in place is equal. */
bool mc_host_fits(const mc_host *host, const mc_host_spec *spec);

/* Takes over weight, priority, health, metadata; a change of what lists and tables are made of, coarse health
 * aside, is a new revision. `metadata` is a copy of the spec's, and is taken. */
void mc_host_apply(mc_host *host, const mc_host_spec *spec, mc_lb_metadata *metadata);

/* Another weight, beside what the assignment says; true when it changed. */
bool mc_host_set_weight(mc_host *host, uint32_t weight);

/* "UNHEALTHY" and so on; MC_EINVAL for another word. */
MC_MUST_CHECK mc_status mc_eds_status_parse(mc_slice name, mc_eds_status *out);

#endif
