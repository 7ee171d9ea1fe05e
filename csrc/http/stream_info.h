/* Stream info: what is known of a request beside its headers, as one struct that everything deciding about a request reads:
 * matchers, format programs, hash policies, rate-limit actions, access-log filters.
 *
 * proxy/ fills it from a live stream, the access log from a record, the Python primitives from a mapping. It borrows all it
 * names; a pointer may be NULL, a slice without text is absent, a time of MC_NO_TIME did not come. */
#ifndef MC_HTTP_STREAM_INFO_H
#define MC_HTTP_STREAM_INFO_H

#include "base/address.h"
#include "base/value.h"
#include "http/headers.h"

#define MC_NO_TIME UINT64_MAX

/* One end's certificate. */
typedef struct mc_certificate {
    mc_slice subject, issuer, serial; /* RFC 2253 names; serial in lower-case hex */
    mc_slice sha256, sha1;            /* lower-case hex */
    mc_slice pem, chain_pem;
    const mc_slice *uri_sans, *dns_sans, *ip_sans, *email_sans, *other_sans;
    uint32_t uri_count, dns_count, ip_count, email_count, other_count;
    uint64_t valid_from_s, valid_to_s; /* Unix time; MC_NO_TIME: unknown */
} mc_certificate;

typedef struct mc_tls_info {
    mc_slice version, cipher, session_id, sni, alpn, ja3, ja4;
    const mc_certificate *peer; /* NULL: presented none */
    const mc_certificate *local;
    bool validated; /* the peer's certificate was checked */
} mc_tls_info;

typedef struct mc_stream_info {
    const mc_headers *request, *response, *response_trailers;
    const mc_address *downstream_remote, *downstream_direct_remote, *downstream_local, *downstream_direct_local;
    const mc_address *upstream_remote, *upstream_local;
    const mc_tls_info *downstream_tls, *upstream_tls; /* NULL: no TLS */
    mc_slice requested_server_name;

    /* Objects: namespace to object (metadata), key to value (filter state). Immutable; NULL: empty. */
    const mc_value *dynamic_metadata, *route_metadata, *cluster_metadata, *upstream_metadata, *virtual_host_metadata;
    const mc_value *filter_state, *upstream_filter_state;

    mc_slice protocol, upstream_protocol; /* "HTTP/1.1" */
    mc_slice route_name, virtual_host_name, virtual_cluster_name, filter_chain_name;
    mc_slice upstream_cluster, upstream_cluster_raw;       /* alt_stat_name, else the name; the name */
    mc_slice upstream_host_name;                           /* empty: the address */
    const mc_address *const *attempted_hosts;              /* in order of attempts */
    uint32_t attempted_host_count;
    mc_slice response_code_details, connection_termination_details;
    mc_slice downstream_failure, upstream_failure;         /* transport failure reasons */
    mc_slice local_reply_body;
    uint64_t flags; /* response flags, proxy/flags.h */
    uint64_t connection_id, upstream_connection_id; /* 0: none */
    uint64_t stream_id; /* the stream's stable random */
    uint16_t status; /* 0: no response code */
    uint32_t attempts;
    bool health_check;
    uint8_t trace_reason; /* 0 not traceable; TR-1 */

    uint64_t bytes_received, bytes_sent; /* bodies */
    uint64_t request_header_bytes, response_header_bytes, response_trailer_bytes;
    uint64_t downstream_wire_received, downstream_wire_sent, upstream_wire_received, upstream_wire_sent;
    uint64_t upstream_header_received, upstream_header_sent;

    /* start: nanoseconds of Unix time; the points below: nanoseconds after it, or MC_NO_TIME. */
    uint64_t start_ns;
    struct {
        uint64_t request_end;                       /* DS_RX_END */
        uint64_t upstream_connect_begin, upstream_connect_end, upstream_handshake_end;
        uint64_t upstream_send_begin, upstream_send_end;
        uint64_t upstream_receive_begin, upstream_body_begin, upstream_receive_end;
        uint64_t response_begin, response_end; /* DS_TX_BEG, DS_TX_END */
        uint64_t pool_ready, handshake_end;
        uint64_t now; /* the end of the stream, or the present */
    } at;
} mc_stream_info;

#endif
