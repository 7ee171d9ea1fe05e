/* x-forwarded-client-cert: what is said upstream of the client's certificate (HC-21). */
#ifndef MC_PROXY_CLIENT_CERT_H
#define MC_PROXY_CLIENT_CERT_H

#include "base/value.h"
#include "http/headers.h"
#include "http/stream_info.h"
#include "route/matcher_tree.h"

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
    const mc_matcher_tree *tree;         /* leads to rules that hold instead; NULL: none */
} mc_client_cert_rules;

/* Fields of an HttpConnectionManager, or of a ForwardClientCertConfig, which has no tree. */
MC_MUST_CHECK mc_status mc_client_cert_rules_read(mc_arena *arena, const mc_value *config, mc_client_cert_rules *out,
                                                  mc_error *error);
/* The rules for this request. MC_ENOMEM on failure. */
MC_MUST_CHECK mc_status mc_client_cert_rules_find(const mc_client_cert_rules *rules, const mc_route_request *request,
                                                  const mc_client_cert_rules **out);
/* Removes, keeps, sets or extends the header. `tls` may be NULL. */
MC_MUST_CHECK mc_status mc_client_cert_apply(const mc_client_cert_rules *rules, const mc_tls_info *tls,
                                             mc_headers *headers);

#endif
