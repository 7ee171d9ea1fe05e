#include "cel/attributes.h"

#include "http/grpc.h"

/* --- names ----------------------------------------------------------------------------------------------------------------- */

static const mc_slice root_names[] = {
#define ROOT_NAME(id, name) MC_SLICE_INIT(name),
    MC_CEL_ROOTS(ROOT_NAME)
#undef ROOT_NAME
};

static const struct {
    mc_slice name;
    uint16_t root, reads;
} attributes[] = {
#define ATTRIBUTE(id, root, name, reads) {MC_SLICE_INIT(name), MC_CEL_ROOT_##root, reads},
    MC_CEL_ATTRIBUTES_TABLE(ATTRIBUTE)
#undef ATTRIBUTE
};

mc_cel_root mc_cel_root_by_name(mc_slice name) {
    unsigned root = 0;
    while (root < MC_CEL_ROOT_COUNT && !mc_slice_eq(root_names[root], name)) {
        root++;
    }
    return (mc_cel_root)root;
}

mc_cel_attribute mc_cel_attribute_by_name(mc_cel_root root, mc_slice name) {
    unsigned i = 0;
    while (i < MC_CEL_ATTRIBUTE_COUNT && (attributes[i].root != root || !mc_slice_eq(attributes[i].name, name))) {
        i++;
    }
    return (mc_cel_attribute)i;
}

uint32_t mc_cel_attribute_reads(mc_cel_attribute attribute) { return attributes[attribute].reads; }

uint32_t mc_cel_root_reads(mc_cel_root root) {
    uint32_t reads = root == MC_CEL_ROOT_METADATA ? MC_CEL_READS_DYNAMIC_METADATA
                     : root == MC_CEL_ROOT_FILTER_STATE || root == MC_CEL_ROOT_UPSTREAM_FILTER_STATE
                         ? MC_CEL_READS_FILTER_STATE
                         : 0;
    for (unsigned i = 0; i < MC_CEL_ATTRIBUTE_COUNT; i++) {
        reads |= attributes[i].root == root ? attributes[i].reads : 0;
    }
    return reads;
}

mc_cel mc_cel_root_value(mc_cel_root root, const mc_stream_info *info) {
    switch (root) {
    case MC_CEL_ROOT_METADATA: return mc_cel_message_of(MC_CEL_METADATA, info->dynamic_metadata);
    case MC_CEL_ROOT_FILTER_STATE:
        return (mc_cel){.kind = MC_CEL_MAP, .form = MC_CEL_FILTER_STATE, .json = info->filter_state};
    case MC_CEL_ROOT_UPSTREAM_FILTER_STATE:
        return info->upstream_filter_state == NULL && info->upstream_remote == NULL
                   ? MC_CEL_FAILED
                   : (mc_cel){.kind = MC_CEL_MAP, .form = MC_CEL_FILTER_STATE, .json = info->upstream_filter_state};
    default: return (mc_cel){.kind = MC_CEL_MAP, .form = MC_CEL_ATTRIBUTES, .which = (uint16_t)root};
    }
}

/* --- values ------------------------------------------------------------------------------------------------------------------ */

typedef struct getter {
    const mc_stream_info *info;
    mc_arena *arena;
    bool *failed;
} getter;

static mc_cel if_text(mc_slice text) { return text.n == 0 ? MC_CEL_FAILED : mc_cel_string(text); }
static mc_cel text_or_empty(mc_slice text) { return mc_cel_string(text.p == NULL ? MC_SLICE("") : text); }
static mc_cel headers_of(const mc_headers *headers) {
    return (mc_cel){.kind = MC_CEL_MAP, .form = MC_CEL_HEADERS, .headers = headers};
}
static mc_cel header(const mc_headers *headers, mc_header_id id) {
    mc_slice value = headers == NULL ? MC_SLICE_NONE : mc_headers_get_known(headers, id);
    return value.p == NULL ? MC_CEL_FAILED : mc_cel_string(value);
}
static mc_cel duration_of(uint64_t ns) { return ns == MC_NO_TIME ? MC_CEL_FAILED : mc_cel_duration_ns((int64_t)ns); }

static uint64_t size_of(uint64_t known, const mc_headers *headers) {
    return known != 0 || headers == NULL ? known : headers->bytes;
}

static mc_cel address(const getter *g, const mc_address *address) {
    char text[MC_ADDRESS_TEXT];
    mc_slice copy = MC_SLICE_NONE;
    if (address == NULL || address->length == 0) {
        return MC_CEL_FAILED;
    }
    if (mc_arena_dup(g->arena, mc_slice_of(text, mc_address_text(address, text)), &copy) != MC_OK) {
        *g->failed = true;
    }
    return mc_cel_string(copy);
}

static mc_cel port(const mc_address *address) {
    return address == NULL || address->length == 0 ? MC_CEL_FAILED : mc_cel_int(mc_address_port(address));
}

/* Up to `sign`, or behind it. */
static mc_cel path_part(const mc_stream_info *info, bool query) {
    mc_slice path = info->request == NULL ? MC_SLICE_NONE : mc_headers_get_known(info->request, MC_H_PATH);
    const size_t mark = mc_slice_find(path, '?');
    if (info->request == NULL) {
        return MC_CEL_FAILED;
    }
    if (!query) {
        return text_or_empty(mc_slice_until(path, mark));
    }
    mc_slice rest = mc_slice_from(path, mark + 1);
    return text_or_empty(mc_slice_until(rest, mc_slice_find(rest, '#')));
}

/* As it was announced, else as it came. */
static mc_cel request_size(const mc_stream_info *info) {
    mc_slice given = info->request == NULL ? MC_SLICE_NONE : mc_headers_get_known(info->request, MC_H_CONTENT_LENGTH);
    int64_t length;
    if (given.p == NULL) {
        return mc_cel_int((int64_t)info->bytes_received);
    }
    return mc_slice_i64(mc_slice_trim(given), &length) == MC_OK ? mc_cel_int(length) : MC_CEL_FAILED;
}

static mc_cel grpc_status(const mc_stream_info *info) {
    const mc_headers *maps[] = {info->response_trailers, info->response};
    uint64_t status;
    for (int i = 0; i < 2; i++) {
        mc_slice text = maps[i] == NULL ? MC_SLICE_NONE : mc_headers_get_known(maps[i], MC_H_GRPC_STATUS);
        if (text.n > 0) {
            return mc_cel_int(mc_slice_number(text, 16, &status) == MC_OK ? (int64_t)status : -1);
        }
    }
    return info->status == 0 ? MC_CEL_FAILED : mc_cel_int(mc_grpc_from_http(info->status));
}

static mc_cel total_response(const mc_stream_info *info) {
    return mc_cel_int((int64_t)(info->bytes_sent + size_of(info->response_header_bytes, info->response) +
                                size_of(info->response_trailer_bytes, info->response_trailers)));
}

static mc_cel backend_latency(const mc_stream_info *info) {
    return info->at.upstream_receive_end == MC_NO_TIME || info->at.upstream_send_begin == MC_NO_TIME
               ? MC_CEL_FAILED
               : mc_cel_duration_ns((int64_t)(info->at.upstream_receive_end - info->at.upstream_send_begin));
}

static mc_cel first_of(const mc_slices *names) {
    return names->count == 0 ? MC_CEL_FAILED : mc_cel_string(names->items[0]);
}

/* `attribute` as one of the downstream connection. */
static mc_cel tls_value(mc_cel_attribute attribute, const mc_tls_info *tls) {
    static const mc_certificate none;
    if (tls == NULL) {
        return MC_CEL_FAILED;
    }
    const mc_certificate *peer = tls->peer == NULL ? &none : tls->peer,
                         *local = tls->local == NULL ? &none : tls->local;
    switch (attribute) {
    case MC_CEL_CONNECTION_TLS_VERSION: return text_or_empty(tls->version);
    case MC_CEL_CONNECTION_SUBJECT_LOCAL: return text_or_empty(local->subject);
    case MC_CEL_CONNECTION_SUBJECT_PEER: return text_or_empty(peer->subject);
    case MC_CEL_CONNECTION_URI_SAN_LOCAL: return first_of(&local->uri_sans);
    case MC_CEL_CONNECTION_URI_SAN_PEER: return first_of(&peer->uri_sans);
    case MC_CEL_CONNECTION_DNS_SAN_LOCAL: return first_of(&local->dns_sans);
    case MC_CEL_CONNECTION_DNS_SAN_PEER: return first_of(&peer->dns_sans);
    default: return if_text(peer->sha256);
    }
}

/* Of the xds root: absent as long as there is no route, virtual host, cluster or host. */
static mc_cel metadata_of(const mc_value *metadata, bool known) {
    return known || metadata != NULL ? mc_cel_message_of(MC_CEL_METADATA, metadata) : MC_CEL_FAILED;
}

/* Of what is over: only the last records know it, and those of connections, which have no request. */
static mc_cel whole_duration(const mc_stream_info *info) {
    const bool over = info->log_type == MC_LOG_DOWNSTREAM_END || info->log_type == MC_LOG_UPSTREAM_END ||
                      (info->log_type == MC_LOG_NOT_SET && info->request == NULL);
    return duration_of(over ? info->at.now : MC_NO_TIME);
}

static mc_cel request_value(mc_cel_attribute attribute, const mc_stream_info *info) {
    switch (attribute) {
    case MC_CEL_REQUEST_HEADERS: return headers_of(info->request);
    case MC_CEL_REQUEST_HEADERS_BYTES: return mc_cel_int((int64_t)size_of(info->request_header_bytes, info->request));
    case MC_CEL_REQUEST_TIME: return mc_cel_timestamp_ns(info->start_ns);
    case MC_CEL_REQUEST_SIZE: return request_size(info);
    case MC_CEL_REQUEST_TOTAL_SIZE:
        return mc_cel_int((int64_t)(info->bytes_received + size_of(info->request_header_bytes, info->request)));
    case MC_CEL_REQUEST_DURATION: return whole_duration(info);
    case MC_CEL_REQUEST_PROTOCOL: return if_text(info->protocol);
    case MC_CEL_REQUEST_PATH: return header(info->request, MC_H_PATH);
    case MC_CEL_REQUEST_URL_PATH: return path_part(info, false);
    case MC_CEL_REQUEST_QUERY: return path_part(info, true);
    case MC_CEL_REQUEST_HOST: return header(info->request, MC_H_AUTHORITY);
    case MC_CEL_REQUEST_SCHEME: return header(info->request, MC_H_SCHEME);
    case MC_CEL_REQUEST_METHOD: return header(info->request, MC_H_METHOD);
    case MC_CEL_REQUEST_REFERER: return header(info->request, MC_H_REFERER);
    case MC_CEL_REQUEST_USER_AGENT: return header(info->request, MC_H_USER_AGENT);
    default: return header(info->request, MC_H_X_REQUEST_ID);
    }
}

static mc_cel response_value(mc_cel_attribute attribute, const mc_stream_info *info) {
    switch (attribute) {
    case MC_CEL_RESPONSE_CODE: return info->status == 0 ? MC_CEL_FAILED : mc_cel_int(info->status);
    case MC_CEL_RESPONSE_CODE_DETAILS: return if_text(info->response_code_details);
    case MC_CEL_RESPONSE_FLAGS: return mc_cel_int((int64_t)info->flags);
    case MC_CEL_RESPONSE_GRPC_STATUS: return grpc_status(info);
    case MC_CEL_RESPONSE_HEADERS: return headers_of(info->response);
    case MC_CEL_RESPONSE_HEADERS_BYTES:
        return mc_cel_int((int64_t)size_of(info->response_header_bytes, info->response));
    case MC_CEL_RESPONSE_TRAILERS: return headers_of(info->response_trailers);
    case MC_CEL_RESPONSE_SIZE: return mc_cel_int((int64_t)info->bytes_sent);
    case MC_CEL_RESPONSE_TOTAL_SIZE: return total_response(info);
    default: return backend_latency(info);
    }
}

static mc_cel connection_value(mc_cel_attribute attribute, const mc_stream_info *info) {
    switch (attribute) {
    case MC_CEL_CONNECTION_ID: return info->connection_id == 0 ? MC_CEL_FAILED : mc_cel_uint(info->connection_id);
    case MC_CEL_CONNECTION_MTLS: return mc_cel_bool(info->downstream_tls != NULL && info->downstream_tls->peer != NULL);
    case MC_CEL_CONNECTION_SERVER_NAME: return text_or_empty(info->requested_server_name);
    case MC_CEL_CONNECTION_TERMINATION: return if_text(info->connection_termination_details);
    case MC_CEL_CONNECTION_FAILURE: return if_text(info->downstream_failure);
    default: return tls_value(attribute, info->downstream_tls);
    }
}

static mc_cel upstream_value(mc_cel_attribute attribute, const getter *g) {
    const mc_stream_info *info = g->info;
    switch (attribute) {
    case MC_CEL_UPSTREAM_ADDRESS: return address(g, info->upstream_host);
    case MC_CEL_UPSTREAM_PORT: return port(info->upstream_host);
    case MC_CEL_UPSTREAM_LOCAL_ADDRESS: return address(g, info->upstream_local);
    case MC_CEL_UPSTREAM_LOCALITY:
        return info->upstream_host == NULL ? MC_CEL_FAILED
                                           : mc_cel_message_of(MC_CEL_LOCALITY, info->upstream_locality);
    case MC_CEL_UPSTREAM_FAILURE: return info->attempts == 0 ? MC_CEL_FAILED : text_or_empty(info->upstream_failure);
    case MC_CEL_UPSTREAM_ATTEMPTS: return mc_cel_uint(info->attempts);
    case MC_CEL_UPSTREAM_POOL_READY: return duration_of(info->at.pool_ready);
    case MC_CEL_UPSTREAM_ENDPOINTS:
        return info->upstream_cluster_raw.n == 0 ? MC_CEL_FAILED : mc_cel_uint(info->upstream_endpoints);
    default: /* the same ones of the other side, in the same order */
        return tls_value((mc_cel_attribute)(attribute - MC_CEL_UPSTREAM_TLS_VERSION + MC_CEL_CONNECTION_TLS_VERSION),
                         info->upstream_tls);
    }
}

static mc_cel xds_value(mc_cel_attribute attribute, const mc_stream_info *info) {
    const bool route = info->route_name.p != NULL || info->route_metadata != NULL;
    const bool cluster = info->upstream_cluster_raw.n > 0;
    switch (attribute) {
    case MC_CEL_XDS_NODE: return info->node == NULL ? MC_CEL_FAILED : mc_cel_message_of(MC_CEL_NODE, info->node);
    case MC_CEL_XDS_CLUSTER_NAME: return if_text(info->upstream_cluster_raw);
    case MC_CEL_XDS_CLUSTER_METADATA: return metadata_of(info->cluster_metadata, cluster);
    case MC_CEL_XDS_ROUTE_NAME: return route ? text_or_empty(info->route_name) : MC_CEL_FAILED;
    case MC_CEL_XDS_ROUTE_METADATA: return metadata_of(info->route_metadata, route);
    case MC_CEL_XDS_VIRTUAL_HOST_NAME: return if_text(info->virtual_host_name);
    case MC_CEL_XDS_VIRTUAL_HOST_METADATA:
        return metadata_of(info->virtual_host_metadata, info->virtual_host_name.n > 0);
    case MC_CEL_XDS_UPSTREAM_HOST_METADATA: return metadata_of(info->upstream_metadata, info->upstream_host != NULL);
    case MC_CEL_XDS_UPSTREAM_HOST_LOCALITY_METADATA: /* localities have none here */
        return info->upstream_host == NULL ? MC_CEL_FAILED : (mc_cel){.kind = MC_CEL_NULL};
    case MC_CEL_XDS_FILTER_CHAIN_NAME: return text_or_empty(info->filter_chain_name);
    case MC_CEL_XDS_LISTENER_METADATA: return metadata_of(info->listener_metadata, true);
    default: return mc_cel_int(info->listener_direction);
    }
}

mc_cel mc_cel_attribute_value(mc_cel_attribute attribute, const mc_stream_info *info, mc_arena *arena, bool *failed) {
    const getter g = {info, arena, failed};
    switch ((mc_cel_root)attributes[attribute].root) {
    case MC_CEL_ROOT_REQUEST: return request_value(attribute, info);
    case MC_CEL_ROOT_RESPONSE: return response_value(attribute, info);
    case MC_CEL_ROOT_CONNECTION: return connection_value(attribute, info);
    case MC_CEL_ROOT_UPSTREAM: return upstream_value(attribute, &g);
    case MC_CEL_ROOT_SOURCE:
        return attribute == MC_CEL_SOURCE_PORT ? port(info->downstream_remote) : address(&g, info->downstream_remote);
    case MC_CEL_ROOT_DESTINATION:
        return attribute == MC_CEL_DESTINATION_PORT ? port(info->downstream_local)
                                                    : address(&g, info->downstream_local);
    default: return xds_value(attribute, info);
    }
}
