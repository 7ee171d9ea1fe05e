/* Reads a ClusterLoadAssignment (canonical JSON) into plain rows; checks all of it, changes nothing. */
#ifndef MC_LB_ASSIGNMENT_H
#define MC_LB_ASSIGNMENT_H

#include "lb/host.h"

enum { MC_MAX_PRIORITY = 128 }; /* HS-7 */

typedef struct mc_assignment {
    mc_arena arena;      /* of the address texts and of what the reader keeps */
    mc_host_spec *hosts; /* in the order of configuration; slices live in the value tree or the arena */
    size_t count, cap;
    size_t priorities; /* highest priority + 1, at least 1 */
    uint32_t overprovisioning;
    bool weighted_health;
    double drop; /* drop_overloads: share of requests to refuse, 0 to 1 */
} mc_assignment;

/* On error `assignment` needs no fini. Later hosts of an address already seen are dropped unless the cluster keeps them (CL-7). */
MC_MUST_CHECK mc_status mc_assignment_read(const mc_value *value, const mc_lb_config *config, mc_assignment *assignment,
                                           mc_error *error);
void mc_assignment_fini(mc_assignment *assignment);

#endif
