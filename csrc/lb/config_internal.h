/* How a Cluster message becomes a mc_lb_config, for the files that do it:
 *
 *     config.c             the message as a whole: what the cluster's kind allows, the older fields, what runtime overrides
 *     config_policy.c      the fields of each balancer
 *     config_extension.c   load_balancing_policy: a list of policies, some of which lead to others
 *     config_shared.c      memory behind a configuration and its copies
 *
 * Each reads its fields into a configuration that nobody else sees yet; errors name the field. */
#ifndef MC_LB_CONFIG_INTERNAL_H
#define MC_LB_CONFIG_INTERNAL_H

#include "base/read.h"
#include "lb/lb.h"

/* The memory of what `config` points to, made when first asked for; NULL: out of memory. It lives as long as the last copy. */
mc_arena *mc_lb_config_arena(mc_lb_config *config);
MC_MUST_CHECK mc_status mc_lb_keep_locality(const mc_locality_name *local, mc_lb_config *out);
/* `always`: the policy is of subsets, whatever selectors it has. */
MC_MUST_CHECK mc_status mc_lb_read_subsets(const mc_value *config, bool always, mc_lb_config *out, mc_error *error);

/* --- config_policy.c -------------------------------------------------------------------------------------------------- */

/* A balancer: what it is called, and what reads its fields, which may be NULL. */
typedef struct mc_lb_policy_row {
    mc_slice name;     /* value of lb_policy; empty: there is none */
    mc_slice type;     /* of the extension's configuration; empty: there is none */
    const char *field; /* its fields in the Cluster message; NULL: there is none */
    mc_lb_policy policy;
    mc_status (*read)(const mc_value *lb, mc_lb_config *out, mc_error *error);
} mc_lb_policy_row;

/* NULL: none of ours. */
const mc_lb_policy_row *mc_lb_policy_named(mc_slice name);
const mc_lb_policy_row *mc_lb_policy_of_type(mc_slice type);

/* What several balancers have: zone_aware_lb_config and locality_weighted_lb_config in `lb`. */
MC_MUST_CHECK mc_status mc_lb_read_locality(const mc_value *lb, mc_lb_config *out, mc_error *error);
/* consistent_hashing_lb_config, or the deprecated fields of the same names beside it. */
MC_MUST_CHECK mc_status mc_lb_read_hashing(const mc_value *lb, mc_lb_config *out, mc_error *error);

/* --- config_extension.c ----------------------------------------------------------------------------------------------- */

/* The first policy of load_balancing_policy that is known; those before it are passed over. */
MC_MUST_CHECK mc_status mc_lb_read_extension(const mc_value *cluster, const mc_value *policy, mc_lb_config *out,
                                             mc_error *error);

#endif
