/* The known-header table: X(ID, "name"). Pseudo-headers first. mc_header_lookup() is in headers.c. */
#ifndef MC_HTTP_KNOWN_HEADERS_H
#define MC_HTTP_KNOWN_HEADERS_H

#define MC_KNOWN_HEADERS(X)                                                                                            \
    X(METHOD, ":method")                                                                                               \
    X(PATH, ":path")                                                                                                   \
    X(AUTHORITY, ":authority")                                                                                         \
    X(SCHEME, ":scheme")                                                                                               \
    X(STATUS, ":status")                                                                                               \
    X(PROTOCOL, ":protocol")                                                                                           \
    X(ACCEPT, "accept")                                                                                                \
    X(ACCEPT_ENCODING, "accept-encoding")                                                                              \
    X(ACCEPT_LANGUAGE, "accept-language")                                                                              \
    X(ACCEPT_RANGES, "accept-ranges")                                                                                  \
    X(ACCESS_CONTROL_ALLOW_CREDENTIALS, "access-control-allow-credentials")                                            \
    X(ACCESS_CONTROL_ALLOW_HEADERS, "access-control-allow-headers")                                                    \
    X(ACCESS_CONTROL_ALLOW_METHODS, "access-control-allow-methods")                                                    \
    X(ACCESS_CONTROL_ALLOW_ORIGIN, "access-control-allow-origin")                                                      \
    X(ACCESS_CONTROL_ALLOW_PRIVATE_NETWORK, "access-control-allow-private-network")                                    \
    X(ACCESS_CONTROL_EXPOSE_HEADERS, "access-control-expose-headers")                                                  \
    X(ACCESS_CONTROL_MAX_AGE, "access-control-max-age")                                                                \
    X(ACCESS_CONTROL_REQUEST_HEADERS, "access-control-request-headers")                                                \
    X(ACCESS_CONTROL_REQUEST_METHOD, "access-control-request-method")                                                  \
    X(ACCESS_CONTROL_REQUEST_PRIVATE_NETWORK, "access-control-request-private-network")                                \
    X(AGE, "age")                                                                                                      \
    X(AUTHORIZATION, "authorization")                                                                                  \
    X(CACHE_CONTROL, "cache-control")                                                                                  \
    X(CONNECTION, "connection")                                                                                        \
    X(CONTENT_ENCODING, "content-encoding")                                                                            \
    X(CONTENT_LENGTH, "content-length")                                                                                \
    X(CONTENT_TYPE, "content-type")                                                                                    \
    X(COOKIE, "cookie")                                                                                                \
    X(DATE, "date")                                                                                                    \
    X(ETAG, "etag")                                                                                                    \
    X(EXPECT, "expect")                                                                                                \
    X(EXPIRES, "expires")                                                                                              \
    X(GRPC_ACCEPT_ENCODING, "grpc-accept-encoding")                                                                    \
    X(GRPC_MESSAGE, "grpc-message")                                                                                    \
    X(GRPC_STATUS, "grpc-status")                                                                                      \
    X(GRPC_TIMEOUT, "grpc-timeout")                                                                                    \
    X(HOST, "host")                                                                                                    \
    X(IF_MATCH, "if-match")                                                                                            \
    X(IF_MODIFIED_SINCE, "if-modified-since")                                                                          \
    X(IF_NONE_MATCH, "if-none-match")                                                                                  \
    X(IF_RANGE, "if-range")                                                                                            \
    X(IF_UNMODIFIED_SINCE, "if-unmodified-since")                                                                      \
    X(KEEP_ALIVE, "keep-alive")                                                                                        \
    X(LAST_MODIFIED, "last-modified")                                                                                  \
    X(LOCATION, "location")                                                                                            \
    X(ORIGIN, "origin")                                                                                                \
    X(PRAGMA, "pragma")                                                                                                \
    X(PROXY_CONNECTION, "proxy-connection")                                                                            \
    X(PROXY_STATUS, "proxy-status")                                                                                    \
    X(REFERER, "referer")                                                                                              \
    X(SERVER, "server")                                                                                                \
    X(SET_COOKIE, "set-cookie")                                                                                        \
    X(TE, "te")                                                                                                        \
    X(TRACEPARENT, "traceparent")                                                                                      \
    X(TRAILER, "trailer")                                                                                              \
    X(TRANSFER_ENCODING, "transfer-encoding")                                                                          \
    X(UPGRADE, "upgrade")                                                                                              \
    X(USER_AGENT, "user-agent")                                                                                        \
    X(VARY, "vary")                                                                                                    \
    X(VIA, "via")                                                                                                      \
    X(X_CLIENT_TRACE_ID, "x-client-trace-id")                                                                          \
    X(X_ENVOY_ATTEMPT_COUNT, "x-envoy-attempt-count")                                                                  \
    X(X_ENVOY_DECORATOR_OPERATION, "x-envoy-decorator-operation")                                                      \
    X(X_ENVOY_DEGRADED, "x-envoy-degraded")                                                                            \
    X(X_ENVOY_DOWNSTREAM_SERVICE_CLUSTER, "x-envoy-downstream-service-cluster")                                        \
    X(X_ENVOY_DOWNSTREAM_SERVICE_NODE, "x-envoy-downstream-service-node")                                              \
    X(X_ENVOY_EXPECTED_RQ_TIMEOUT_MS, "x-envoy-expected-rq-timeout-ms")                                                \
    X(X_ENVOY_EXTERNAL_ADDRESS, "x-envoy-external-address")                                                            \
    X(X_ENVOY_FORCE_TRACE, "x-envoy-force-trace")                                                                      \
    X(X_ENVOY_HEDGE_ON_PER_TRY_TIMEOUT, "x-envoy-hedge-on-per-try-timeout")                                            \
    X(X_ENVOY_IMMEDIATE_HEALTH_CHECK_FAIL, "x-envoy-immediate-health-check-fail")                                      \
    X(X_ENVOY_INTERNAL, "x-envoy-internal")                                                                            \
    X(X_ENVOY_IP_TAGS, "x-envoy-ip-tags")                                                                              \
    X(X_ENVOY_IS_TIMEOUT_RETRY, "x-envoy-is-timeout-retry")                                                            \
    X(X_ENVOY_MAX_RETRIES, "x-envoy-max-retries")                                                                      \
    X(X_ENVOY_ORIGINAL_HOST, "x-envoy-original-host")                                                                  \
    X(X_ENVOY_ORIGINAL_PATH, "x-envoy-original-path")                                                                  \
    X(X_ENVOY_ORIGINAL_URL, "x-envoy-original-url")                                                                    \
    X(X_ENVOY_OVERLOADED, "x-envoy-overloaded")                                                                        \
    X(X_ENVOY_RATELIMITED, "x-envoy-ratelimited")                                                                      \
    X(X_ENVOY_RETRIABLE_HEADER_NAMES, "x-envoy-retriable-header-names")                                                \
    X(X_ENVOY_RETRIABLE_STATUS_CODES, "x-envoy-retriable-status-codes")                                                \
    X(X_ENVOY_RETRY_GRPC_ON, "x-envoy-retry-grpc-on")                                                                  \
    X(X_ENVOY_RETRY_ON, "x-envoy-retry-on")                                                                            \
    X(X_ENVOY_UPSTREAM_ALT_STAT_NAME, "x-envoy-upstream-alt-stat-name")                                                \
    X(X_ENVOY_UPSTREAM_CANARY, "x-envoy-upstream-canary")                                                              \
    X(X_ENVOY_UPSTREAM_HEALTHCHECKED_CLUSTER, "x-envoy-upstream-healthchecked-cluster")                                \
    X(X_ENVOY_UPSTREAM_RQ_PER_TRY_TIMEOUT_MS, "x-envoy-upstream-rq-per-try-timeout-ms")                                \
    X(X_ENVOY_UPSTREAM_RQ_TIMEOUT_ALT_RESPONSE, "x-envoy-upstream-rq-timeout-alt-response")                            \
    X(X_ENVOY_UPSTREAM_RQ_TIMEOUT_MS, "x-envoy-upstream-rq-timeout-ms")                                                \
    X(X_ENVOY_UPSTREAM_SERVICE_TIME, "x-envoy-upstream-service-time")                                                  \
    X(X_ENVOY_UPSTREAM_STREAM_DURATION_MS, "x-envoy-upstream-stream-duration-ms")                                      \
    X(X_FORWARDED_CLIENT_CERT, "x-forwarded-client-cert")                                                              \
    X(X_FORWARDED_FOR, "x-forwarded-for")                                                                              \
    X(X_FORWARDED_HOST, "x-forwarded-host")                                                                            \
    X(X_FORWARDED_PORT, "x-forwarded-port")                                                                            \
    X(X_FORWARDED_PROTO, "x-forwarded-proto")                                                                          \
    X(X_REQUEST_ID, "x-request-id")

typedef enum mc_header_id {
    MC_H_UNKNOWN = 0,
#define MC_H_ENUM(id, name) MC_H_##id,
    MC_KNOWN_HEADERS(MC_H_ENUM)
#undef MC_H_ENUM
        MC_H__COUNT
} mc_header_id;

#endif
