/* The steps in which a connection manager is compiled: each reads its fields of the message into an HCM that nobody else sees yet.
 * Memory is the HCM's arena; errors name the field. */
#ifndef MC_PROXY_HCM_INTERNAL_H
#define MC_PROXY_HCM_INTERNAL_H

#include "proxy/filters/kind.h"
#include "proxy/hcm.h"

/* hcm_options.c: timeouts, the protocol, and what is done to headers, paths and answers. */
MC_MUST_CHECK mc_status mc_hcm_read_options(mc_hcm *hcm, const mc_value *config, const mc_runtime *runtime,
                                            mc_error *error);
/* hcm_logs.c: access logs, and those of the router's tries. */
MC_MUST_CHECK mc_status mc_hcm_read_logs(mc_hcm *hcm, const mc_value *config, const mc_hcm_context *context,
                                         mc_error *error);
/* hcm_filters.c: all chains, those that upgrades bring (HC-45) and that of tries among them. Upgrades were read. */
MC_MUST_CHECK mc_status mc_hcm_read_filters(mc_hcm *hcm, const mc_value *config, const mc_hcm_context *context,
                                            mc_filter_compile *compile);

#endif
