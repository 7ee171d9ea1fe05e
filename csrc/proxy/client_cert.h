/* x-forwarded-client-cert: what is said upstream of the client's certificate (HC-21). */
#ifndef MC_PROXY_CLIENT_CERT_H
#define MC_PROXY_CLIENT_CERT_H

#include "base/value.h"
#include "http/headers.h"
#include "http/stream_info.h"

typedef enum mc_xfcc_mode {
    MC_XFCC_SANITIZE,
    MC_XFCC_FORWARD_ONLY,
    MC_XFCC_APPEND_FORWARD,
    MC_XFCC_SANITIZE_SET,
    MC_XFCC_ALWAYS_FORWARD_ONLY,
} mc_xfcc_mode;

typedef struct mc_client_cert_rules {
    mc_xfcc_mode mode;
    bool cert, chain, subject, uri, dns; /* set_current_client_cert_details */
} mc_client_cert_rules;

/* Fields of an HttpConnectionManager. */
MC_MUST_CHECK mc_status mc_client_cert_rules_read(const mc_value *config, mc_client_cert_rules *out, mc_error *error);
/* Removes, keeps, sets or extends the header. `tls` may be NULL. */
MC_MUST_CHECK mc_status mc_client_cert_apply(const mc_client_cert_rules *rules, const mc_tls_info *tls,
                                             mc_headers *headers);

#endif
