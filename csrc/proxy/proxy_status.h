/* The proxy-status response header (RFC 9209): what went wrong here, derived from the response flags. */
#ifndef MC_PROXY_PROXY_STATUS_H
#define MC_PROXY_PROXY_STATUS_H

#include "base/value.h"
#include "http/headers.h"

typedef struct mc_proxy_status_rules {
    mc_slice name; /* this proxy's */
    bool remove_details, remove_termination_details, remove_response_flags, set_recommended_code;
} mc_proxy_status_rules;

/* proxy_status_config of an HttpConnectionManager; *out NULL: not configured. */
MC_MUST_CHECK mc_status mc_proxy_status_rules_read(mc_arena *arena, const mc_value *config, mc_slice node_id,
                                                   mc_slice server_name, const mc_proxy_status_rules **out,
                                                   mc_error *error);
/* Appends the header, and replaces :status when so configured; nothing when `flags` tell of no error. */
MC_MUST_CHECK mc_status mc_proxy_status_apply(const mc_proxy_status_rules *rules, uint64_t flags, uint64_t flag_order,
                                              mc_slice details, mc_slice termination_details, mc_headers *headers);

#endif
