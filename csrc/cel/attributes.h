/* Envoy's attributes: what expressions know of a request, by root and name. Absent ones are errors (has() says which). */
#ifndef MC_CEL_ATTRIBUTES_H
#define MC_CEL_ATTRIBUTES_H

#include "cel/cel.h"

#define MC_CEL_ROOTS(X)                                                                                                \
    X(REQUEST, "request")                                                                                              \
    X(RESPONSE, "response")                                                                                            \
    X(CONNECTION, "connection")                                                                                        \
    X(UPSTREAM, "upstream")                                                                                            \
    X(SOURCE, "source")                                                                                                \
    X(DESTINATION, "destination")                                                                                      \
    X(METADATA, "metadata")                                                                                            \
    X(FILTER_STATE, "filter_state")                                                                                    \
    X(UPSTREAM_FILTER_STATE, "upstream_filter_state")                                                                  \
    X(XDS, "xds")
typedef enum mc_cel_root {
#define MC_CEL_ROOT(id, name) MC_CEL_ROOT_##id,
    MC_CEL_ROOTS(MC_CEL_ROOT)
#undef MC_CEL_ROOT
        MC_CEL_ROOT_COUNT
} mc_cel_root;

/* X(id, root, name, what it reads) */
#define MC_CEL_ATTRIBUTES_TABLE(X)                                                                                     \
    X(REQUEST_HEADERS, REQUEST, "headers", MC_CEL_READS_REQUEST)                                                       \
    X(REQUEST_HEADERS_BYTES, REQUEST, "headers_bytes", 0)                                                              \
    X(REQUEST_TIME, REQUEST, "time", 0)                                                                                \
    X(REQUEST_SIZE, REQUEST, "size", MC_CEL_READS_REQUEST)                                                             \
    X(REQUEST_TOTAL_SIZE, REQUEST, "total_size", 0)                                                                    \
    X(REQUEST_DURATION, REQUEST, "duration", 0)                                                                        \
    X(REQUEST_PROTOCOL, REQUEST, "protocol", 0)                                                                        \
    X(REQUEST_PATH, REQUEST, "path", MC_CEL_READS_REQUEST)                                                             \
    X(REQUEST_URL_PATH, REQUEST, "url_path", MC_CEL_READS_REQUEST)                                                     \
    X(REQUEST_QUERY, REQUEST, "query", MC_CEL_READS_REQUEST)                                                           \
    X(REQUEST_HOST, REQUEST, "host", MC_CEL_READS_REQUEST)                                                             \
    X(REQUEST_SCHEME, REQUEST, "scheme", MC_CEL_READS_REQUEST)                                                         \
    X(REQUEST_METHOD, REQUEST, "method", MC_CEL_READS_REQUEST)                                                         \
    X(REQUEST_REFERER, REQUEST, "referer", MC_CEL_READS_REQUEST)                                                       \
    X(REQUEST_USER_AGENT, REQUEST, "useragent", MC_CEL_READS_REQUEST)                                                  \
    X(REQUEST_ID, REQUEST, "id", MC_CEL_READS_REQUEST)                                                                 \
    X(RESPONSE_CODE, RESPONSE, "code", 0)                                                                              \
    X(RESPONSE_CODE_DETAILS, RESPONSE, "code_details", 0)                                                              \
    X(RESPONSE_FLAGS, RESPONSE, "flags", 0)                                                                            \
    X(RESPONSE_GRPC_STATUS, RESPONSE, "grpc_status", MC_CEL_READS_RESPONSE | MC_CEL_READS_TRAILERS)                    \
    X(RESPONSE_HEADERS, RESPONSE, "headers", MC_CEL_READS_RESPONSE)                                                    \
    X(RESPONSE_HEADERS_BYTES, RESPONSE, "headers_bytes", 0)                                                            \
    X(RESPONSE_TRAILERS, RESPONSE, "trailers", MC_CEL_READS_TRAILERS)                                                  \
    X(RESPONSE_SIZE, RESPONSE, "size", 0)                                                                              \
    X(RESPONSE_TOTAL_SIZE, RESPONSE, "total_size", 0)                                                                  \
    X(RESPONSE_BACKEND_LATENCY, RESPONSE, "backend_latency", 0)                                                        \
    X(CONNECTION_ID, CONNECTION, "id", 0)                                                                              \
    X(CONNECTION_MTLS, CONNECTION, "mtls", MC_CEL_READS_TLS)                                                           \
    X(CONNECTION_SERVER_NAME, CONNECTION, "requested_server_name", 0)                                                  \
    X(CONNECTION_TERMINATION, CONNECTION, "termination_details", 0)                                                    \
    X(CONNECTION_FAILURE, CONNECTION, "transport_failure_reason", 0)                                                   \
    MC_CEL_TLS_ATTRIBUTES(X, CONNECTION)                                                                               \
    X(UPSTREAM_ADDRESS, UPSTREAM, "address", 0)                                                                        \
    X(UPSTREAM_PORT, UPSTREAM, "port", 0)                                                                              \
    X(UPSTREAM_LOCAL_ADDRESS, UPSTREAM, "local_address", MC_CEL_READS_LOCAL)                                           \
    X(UPSTREAM_LOCALITY, UPSTREAM, "locality", MC_CEL_READS_PLACE)                                                     \
    X(UPSTREAM_FAILURE, UPSTREAM, "transport_failure_reason", 0)                                                       \
    X(UPSTREAM_ATTEMPTS, UPSTREAM, "request_attempt_count", 0)                                                         \
    X(UPSTREAM_POOL_READY, UPSTREAM, "cx_pool_ready_duration", 0)                                                      \
    X(UPSTREAM_ENDPOINTS, UPSTREAM, "num_endpoints", 0)                                                                \
    MC_CEL_TLS_ATTRIBUTES(X, UPSTREAM)                                                                                 \
    X(SOURCE_ADDRESS, SOURCE, "address", 0)                                                                            \
    X(SOURCE_PORT, SOURCE, "port", 0)                                                                                  \
    X(DESTINATION_ADDRESS, DESTINATION, "address", 0)                                                                  \
    X(DESTINATION_PORT, DESTINATION, "port", 0)                                                                        \
    X(XDS_NODE, XDS, "node", MC_CEL_READS_PLACE)                                                                       \
    X(XDS_CLUSTER_NAME, XDS, "cluster_name", 0)                                                                        \
    X(XDS_CLUSTER_METADATA, XDS, "cluster_metadata", MC_CEL_READS_OTHER_METADATA)                                      \
    X(XDS_ROUTE_NAME, XDS, "route_name", 0)                                                                            \
    X(XDS_ROUTE_METADATA, XDS, "route_metadata", MC_CEL_READS_OTHER_METADATA)                                          \
    X(XDS_VIRTUAL_HOST_NAME, XDS, "virtual_host_name", 0)                                                              \
    X(XDS_VIRTUAL_HOST_METADATA, XDS, "virtual_host_metadata", MC_CEL_READS_OTHER_METADATA)                            \
    X(XDS_UPSTREAM_HOST_METADATA, XDS, "upstream_host_metadata", MC_CEL_READS_OTHER_METADATA)                          \
    X(XDS_UPSTREAM_HOST_LOCALITY_METADATA, XDS, "upstream_host_locality_metadata", 0)                                  \
    X(XDS_FILTER_CHAIN_NAME, XDS, "filter_chain_name", 0)                                                              \
    X(XDS_LISTENER_METADATA, XDS, "listener_metadata", MC_CEL_READS_OTHER_METADATA)                                    \
    X(XDS_LISTENER_DIRECTION, XDS, "listener_direction", 0)

#define MC_CEL_TLS_ATTRIBUTES(X, side)                                                                                 \
    X(side##_TLS_VERSION, side, "tls_version", MC_CEL_READS_TLS)                                                       \
    X(side##_SUBJECT_LOCAL, side, "subject_local_certificate", MC_CEL_READS_TLS)                                       \
    X(side##_SUBJECT_PEER, side, "subject_peer_certificate", MC_CEL_READS_TLS)                                         \
    X(side##_URI_SAN_LOCAL, side, "uri_san_local_certificate", MC_CEL_READS_TLS)                                       \
    X(side##_URI_SAN_PEER, side, "uri_san_peer_certificate", MC_CEL_READS_TLS)                                         \
    X(side##_DNS_SAN_LOCAL, side, "dns_san_local_certificate", MC_CEL_READS_TLS)                                       \
    X(side##_DNS_SAN_PEER, side, "dns_san_peer_certificate", MC_CEL_READS_TLS)                                         \
    X(side##_SHA256, side, "sha256_peer_certificate_digest", MC_CEL_READS_TLS)

typedef enum mc_cel_attribute {
#define MC_CEL_ATTRIBUTE(id, root, name, reads) MC_CEL_##id,
    MC_CEL_ATTRIBUTES_TABLE(MC_CEL_ATTRIBUTE)
#undef MC_CEL_ATTRIBUTE
        MC_CEL_ATTRIBUTE_COUNT
} mc_cel_attribute;

/* MC_CEL_ROOT_COUNT / MC_CEL_ATTRIBUTE_COUNT: there is none. */
mc_cel_root mc_cel_root_by_name(mc_slice name);
mc_cel_attribute mc_cel_attribute_by_name(mc_cel_root root, mc_slice name);
/* What a whole root, or one attribute, reads. */
uint32_t mc_cel_root_reads(mc_cel_root root);
uint32_t mc_cel_attribute_reads(mc_cel_attribute attribute);

/* The root as a value; MC_CEL_ERROR: it is not there. */
mc_cel mc_cel_root_value(mc_cel_root root, const mc_stream_info *info);
/* MC_CEL_ERROR: absent. Texts that must be written go to `arena`; sets *failed when that is exhausted. */
mc_cel mc_cel_attribute_value(mc_cel_attribute attribute, const mc_stream_info *info, mc_arena *arena, bool *failed);

#endif
