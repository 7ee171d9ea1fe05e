/* TLS in a context, private to context*.c: a connection's, and the certificates of both its sides. */
#ifndef MC_ROUTE_CONTEXT_TLS_H
#define MC_ROUTE_CONTEXT_TLS_H

#include "route/context_reader.h"

/* The whole of it, a mapping. *at is made where it is NULL, else added to. */
MC_MUST_CHECK mc_status mc_context_tls(const mc_context_reader *r, const mc_value *value, const mc_tls_info **at);
/* The one field that an operator shows: its variant (MC_TLS_*, MC_CERT_*). */
MC_MUST_CHECK mc_status mc_context_tls_field(const mc_context_reader *r, unsigned variant, const mc_value *value,
                                             const mc_tls_info **at);

#endif
