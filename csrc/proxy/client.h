/* Who is asking: how a connection manager finds the client's address, and what it says of it upstream (HC-11 to HC-16). */
#ifndef MC_PROXY_CLIENT_H
#define MC_PROXY_CLIENT_H

#include "base/cidr.h"

typedef enum mc_detection_kind { MC_DETECT_XFF, MC_DETECT_HEADER } mc_detection_kind;

/* One of original_ip_detection_extensions. */
typedef struct mc_detection {
    mc_detection_kind kind;
    uint32_t trusted_hops; /* MC_DETECT_XFF */
    mc_cidrs trusted;      /* MC_DETECT_XFF: proxies that are passed over; empty: by trusted_hops */
    bool skip_append;
    mc_slice header;        /* MC_DETECT_HEADER: lower-case */
    bool trusts;            /* MC_DETECT_HEADER: the address may be an internal one */
    uint16_t reject_status; /* MC_DETECT_HEADER: what a request without an address is answered; 0: it goes on */
} mc_detection;

/* forward_proto_config: the scheme of a connection by where it was going, where that is known of it (HC-13). */
typedef struct mc_scheme_ports {
    const uint32_t *https, *http;
    uint32_t https_count, http_count;
} mc_scheme_ports;

typedef struct mc_client_rules {
    bool use_remote_address, skip_xff_append, append_x_forwarded_port;
    uint32_t trusted_hops;
    const mc_detection *detections;
    uint32_t detection_count;
    bool has_internal; /* internal_address_config is set: without it nothing is internal (HC-14) */
    mc_cidrs internal; /* empty: private addresses */
    mc_scheme_ports scheme_ports;
} mc_client_rules;

/* Fields of an HttpConnectionManager. */
MC_MUST_CHECK mc_status mc_client_rules_read(mc_arena *arena, const mc_value *config, mc_client_rules *out,
                                             mc_error *error);

#endif
