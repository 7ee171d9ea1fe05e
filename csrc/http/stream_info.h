/* Stream info: what is known of a request beside its headers, as one struct that everything deciding about a request reads:
 * matchers, format programs, hash policies, rate-limit actions, access-log filters.
 *
 * proxy/ fills it from a live stream, the access log from a record, the Python primitives from a mapping. It borrows all it
 * names; a pointer may be NULL, a slice without text is absent, a time of MC_NO_TIME did not come. Start from
 * mc_stream_info_init: a zeroed struct would say that every point in time came at once. */
#ifndef MC_HTTP_STREAM_INFO_H
#define MC_HTTP_STREAM_INFO_H

#include "base/address.h"
#include "base/random.h"
#include "base/value.h"
#include "http/headers.h"

#define MC_NO_TIME UINT64_MAX

#define MC_FORM_TEXT  MC_SLICE(":TEXT")
#define MC_FORM_PLAIN MC_SLICE(":PLAIN")

typedef struct mc_slices {
    const mc_slice *items;
    uint32_t count;
} mc_slices;

/* One end's certificate. */
typedef struct mc_certificate {
    mc_slice subject, issuer, serial;      /* RFC 2253 names; serial in lower-case hex */
    mc_slice sha256, sha1;                 /* lower-case hex */
    mc_slice issuer_serial, issuer_sha256; /* of the certificate that signed this one */
    mc_slice pem, chain_pem;               /* not encoded for a URL */
    mc_slices uri_sans, dns_sans, ip_sans, email_sans, other_sans;
    mc_slices chain_serials, chain_sha256, chain_sha1; /* of the certificates presented, the leaf first */
    uint64_t valid_from_s, valid_to_s;                 /* Unix time; MC_NO_TIME: unknown */
} mc_certificate;

typedef struct mc_tls_info {
    mc_slice version, cipher, session_id, sni, alpn, group, ja3, ja4;
    const mc_certificate *peer; /* NULL: presented none */
    const mc_certificate *local;
    bool validated; /* the peer's certificate was checked */
} mc_tls_info;

/* What an access record tells of (AL-6); the names of envoy.data.accesslog.v3.AccessLogType, in its order. */
#define MC_LOG_TYPES(X)                                                                                                \
    X(NOT_SET, "NotSet")                                                                                               \
    X(TCP_UPSTREAM_CONNECTED, "TcpUpstreamConnected")                                                                  \
    X(TCP_PERIODIC, "TcpPeriodic")                                                                                     \
    X(TCP_CONNECTION_END, "TcpConnectionEnd")                                                                          \
    X(DOWNSTREAM_START, "DownstreamStart")                                                                             \
    X(DOWNSTREAM_PERIODIC, "DownstreamPeriodic")                                                                       \
    X(DOWNSTREAM_END, "DownstreamEnd")                                                                                 \
    X(UPSTREAM_POOL_READY, "UpstreamPoolReady")                                                                        \
    X(UPSTREAM_PERIODIC, "UpstreamPeriodic")                                                                           \
    X(UPSTREAM_END, "UpstreamEnd")                                                                                     \
    X(DOWNSTREAM_TUNNEL, "DownstreamTunnelSuccessfullyEstablished")                                                    \
    X(UDP_TUNNEL_UPSTREAM_CONNECTED, "UdpTunnelUpstreamConnected")                                                     \
    X(UDP_PERIODIC, "UdpPeriodic")                                                                                     \
    X(UDP_SESSION_END, "UdpSessionEnd")
typedef enum mc_log_type {
#define MC_LOG_TYPE(id, name) MC_LOG_##id,
    MC_LOG_TYPES(MC_LOG_TYPE)
#undef MC_LOG_TYPE
        MC_LOG_TYPE_COUNT
} mc_log_type;
/* Empty for what is no type. */
mc_slice mc_log_type_name(unsigned type);

/* A point in time that somebody named, nanoseconds after the start. */
typedef struct mc_time_point {
    mc_slice name;
    uint64_t ns;
} mc_time_point;

typedef struct mc_stream_info {
    const mc_headers *request, *response, *response_trailers;
    const mc_address *downstream_remote, *downstream_direct_remote, *downstream_local, *downstream_direct_local;
    const mc_address *upstream_remote, *upstream_local;
    const mc_address *upstream_host;                  /* the chosen host's own address */
    const mc_tls_info *downstream_tls, *upstream_tls; /* NULL: no TLS */
    mc_slice requested_server_name;

    /* Objects: namespace to object (metadata), key to value (filter state). Immutable; NULL: empty. */
    const mc_value *dynamic_metadata, *route_metadata, *cluster_metadata, *upstream_metadata, *virtual_host_metadata;
    const mc_value *listener_metadata, *filter_chain_metadata;
    /* A state that is a message stands here as JSON has it in JSON; what it is in plain text stands beside it under its key and
     * MC_FORM_TEXT, and the texts that its plain form joins with commas under MC_FORM_PLAIN. One with a plain form has no
     * fields for a format's FIELD or for CEL. */
    const mc_value *filter_state, *upstream_filter_state;
    const mc_value *node;              /* of the bootstrap */
    const mc_value *upstream_locality; /* of the chosen host: region, zone, sub_zone */

    mc_slice protocol, upstream_protocol; /* "HTTP/1.1" */
    mc_slice route_name, virtual_host_name, virtual_cluster_name, filter_chain_name;
    mc_slice upstream_cluster, upstream_cluster_raw; /* alt_stat_name, else the name; the name */
    mc_slice upstream_host_name;                     /* empty: the address */
    const mc_address *const *attempted_hosts;        /* in order of attempts */
    const mc_slice *attempted_host_names;            /* one for each, empty: the address; NULL: all are */
    uint32_t attempted_host_count;
    const uint64_t *attempted_connections; /* ids */
    uint32_t attempted_connection_count;
    mc_slice response_code_details, connection_termination_details;
    mc_slice downstream_failure, upstream_failure; /* transport failure reasons */
    mc_slice downstream_close_reason, upstream_close_reason;
    mc_slice downstream_close_type, upstream_close_type; /* as detected: "RemoteReset" and the like */
    mc_slice downstream_endpoint_id, upstream_endpoint_id;
    mc_slice local_reply_body;
    mc_slice trace_id, span_id;
    mc_slice custom_flags;
    mc_slice stream_id_text;                        /* the request id; absent: that of the request's headers */
    uint64_t flags, flag_order;                     /* response flags, http/flags.h */
    uint64_t connection_id, upstream_connection_id; /* 0: none */
    uint64_t stream_id;                             /* the stream's stable random */
    mc_random *random;                              /* for what is drawn afresh; NULL: derived from stream_id */
    uint16_t status;                                /* 0: no response code */
    uint32_t attempts;
    uint32_t upstream_endpoints; /* of the cluster */
    bool health_check;
    uint8_t listener_direction; /* envoy.config.core.v3.TrafficDirection */
    uint8_t trace_reason;       /* 0 not traceable; TR-1 */
    uint8_t log_type;           /* mc_log_type */

    uint64_t bytes_received, bytes_sent;                                          /* bodies */
    uint64_t request_header_bytes, response_header_bytes, response_trailer_bytes; /* 0: as the header maps are */
    uint64_t downstream_wire_received, downstream_wire_sent, upstream_wire_received, upstream_wire_sent;
    uint64_t downstream_header_received, downstream_header_sent, upstream_header_received, upstream_header_sent;
    uint64_t downstream_plain_header_received, downstream_plain_header_sent; /* decompressed */
    uint64_t upstream_plain_header_received, upstream_plain_header_sent;
    uint64_t bytes_retransmitted, packets_retransmitted;

    /* start: nanoseconds of Unix time; the points below: nanoseconds after it (before it: two's complement), or MC_NO_TIME. */
    uint64_t start_ns;
    struct {
        uint64_t request_end; /* DS_RX_END */
        uint64_t upstream_connect_begin, upstream_connect_end, upstream_handshake_end;
        uint64_t upstream_send_begin, upstream_send_end;
        uint64_t upstream_receive_begin, upstream_body_begin, upstream_receive_end;
        uint64_t response_begin, response_end; /* DS_TX_BEG, DS_TX_END */
        uint64_t pool_ready;                   /* how long it took */
        uint64_t handshake_end;
        uint64_t acknowledged; /* the client has acknowledged the last byte */
        uint64_t now;          /* the end of the stream, or the present */
    } at;
    const mc_time_point *points; /* further ones */
    uint32_t point_count;
} mc_stream_info;

/* Nothing is known, no time has come. */
void mc_stream_info_init(mc_stream_info *info);

#endif
