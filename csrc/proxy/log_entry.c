/* HTTPAccessLogEntry and TCPAccessLogEntry: the numbers are those of envoy.data.accesslog.v3 and envoy.config.core.v3. */
#include "base/wire.h"
#include "http/flags.h"
#include "proxy/log_message.h"

enum { MAP_KEY = 1, MAP_VALUE = 2 };

static void wire_pair(mc_text *out, uint32_t field, mc_slice name, mc_slice value) {
    const size_t mark = mc_wire_begin(out, field);
    mc_wire_text(out, MAP_KEY, name);
    mc_wire_text(out, MAP_VALUE, value);
    mc_wire_end(out, mark);
}

/* --- google.protobuf ----------------------------------------------------------------------------------------------------------- */

static void wire_duration(mc_text *out, uint32_t field, uint64_t ns) {
    enum { SECONDS = 1, NANOS = 2, SECOND_NS = 1000000000 };
    if (ns == MC_NO_TIME) {
        return;
    }
    const int64_t value = (int64_t)ns;
    const size_t mark = mc_wire_begin(out, field);
    mc_wire_i64(out, SECONDS, value / SECOND_NS);
    mc_wire_i64(out, NANOS, value % SECOND_NS);
    mc_wire_end(out, mark);
}

static void wire_value(mc_text *out, uint32_t field, const mc_value *value) {
    enum { NULL_VALUE = 1, NUMBER = 2, STRING = 3, BOOL = 4, STRUCT = 5, LIST = 6, VALUES = 1 };
    const size_t mark = mc_wire_begin(out, field);
    switch (value->kind) {
    case MC_NULL:
        mc_text_lit(out, "\x08");
        mc_text_add(out, mc_slice_of("\0", 1));
        break;
    case MC_BOOL:
        mc_text_lit(out, "\x20");
        mc_text_add(out, mc_slice_of(value->boolean ? "\1" : "\0", 1));
        break;
    case MC_NUMBER: mc_wire_double(out, NUMBER, value->number); break;
    case MC_STRING:
        if (value->string.n == 0) {
            mc_wire_end(out, mc_wire_begin(out, STRING));
        }
        mc_wire_text(out, STRING, value->string);
        break;
    case MC_OBJECT: mc_wire_struct(out, STRUCT, value); break;
    case MC_LIST: {
        const size_t list = mc_wire_begin(out, LIST);
        for (size_t i = 0; i < value->count; i++) {
            wire_value(out, VALUES, &value->items[i]);
        }
        mc_wire_end(out, list);
        break;
    }
    }
    mc_wire_end(out, mark);
}

void mc_wire_struct(mc_text *out, uint32_t field, const mc_value *object) {
    enum { FIELDS = 1 };
    const size_t mark = mc_wire_begin(out, field);
    for (size_t i = 0; i < object->count; i++) {
        const size_t pair = mc_wire_begin(out, FIELDS);
        mc_wire_text(out, MAP_KEY, object->names[i]);
        wire_value(out, MAP_VALUE, &object->items[i]);
        mc_wire_end(out, pair);
    }
    mc_wire_end(out, mark);
}

/* An Any with what a filter left in the filter state. */
static void wire_any(mc_text *out, uint32_t field, const mc_value *value) {
    enum { TYPE_URL = 1, VALUE = 2, WRAPPED = 1 };
    const size_t mark = mc_wire_begin(out, field);
    const char *const type = value->kind == MC_STRING   ? "type.googleapis.com/google.protobuf.StringValue"
                             : value->kind == MC_BOOL   ? "type.googleapis.com/google.protobuf.BoolValue"
                             : value->kind == MC_NUMBER ? "type.googleapis.com/google.protobuf.DoubleValue"
                                                        : "type.googleapis.com/google.protobuf.Struct";
    mc_wire_text(out, TYPE_URL, mc_slice_cstr(type));
    if (value->kind == MC_OBJECT) {
        mc_wire_struct(out, VALUE, value);
    } else {
        const size_t inner = mc_wire_begin(out, VALUE);
        if (value->kind == MC_STRING) {
            mc_wire_text(out, WRAPPED, value->string);
        } else if (value->kind == MC_BOOL) {
            mc_wire_u64(out, WRAPPED, value->boolean);
        } else if (value->kind == MC_NUMBER) {
            mc_wire_double(out, WRAPPED, value->number);
        }
        mc_wire_end(out, inner);
    }
    mc_wire_end(out, mark);
}

/* --- AccessLogCommon ----------------------------------------------------------------------------------------------------------- */

static void wire_address(mc_text *out, uint32_t field, const mc_address *address) {
    enum { SOCKET_ADDRESS = 1, ADDRESS = 2, PORT_VALUE = 3 };
    char ip[MC_ADDRESS_TEXT];
    if (address == NULL || address->length == 0) {
        return;
    }
    const size_t mark = mc_wire_begin(out, field), inner = mc_wire_begin(out, SOCKET_ADDRESS);
    mc_wire_text(out, ADDRESS, mc_slice_of(ip, mc_address_ip(address, ip)));
    const size_t before = out->n;
    mc_wire_u64(out, PORT_VALUE, mc_address_port(address));
    if (out->n == before) { /* a member of a oneof */
        mc_text_add(out, mc_slice_of("\x18\0", 2));
    }
    mc_wire_end(out, inner);
    mc_wire_end(out, mark);
}

/* ResponseFlags: bit i is the field i + 1, but for what has no field, or another one. */
static void wire_flags(mc_text *out, uint32_t field, uint64_t flags) {
    enum { UNAUTHORIZED_DETAILS = 13, REASON = 1, EXTERNAL_SERVICE = 1, DOWNSTREAM_REMOTE_RESET = 28 };
    uint64_t known = flags & ~(MC_FLAG(DO) | MC_FLAG(DR) | MC_FLAG(UDO));
    if (flags == 0) {
        return;
    }
    const size_t mark = mc_wire_begin(out, field);
    for (; known != 0; known &= known - 1) {
        const uint32_t number = (uint32_t)__builtin_ctzll(known) + 1;
        if (number == UNAUTHORIZED_DETAILS) {
            const size_t inner = mc_wire_begin(out, number);
            mc_wire_u64(out, REASON, EXTERNAL_SERVICE);
            mc_wire_end(out, inner);
        } else {
            mc_wire_u64(out, number, true);
        }
    }
    mc_wire_u64(out, DOWNSTREAM_REMOTE_RESET, (flags & MC_FLAG(DR)) != 0);
    mc_wire_end(out, mark);
}

static void wire_certificate(mc_text *out, uint32_t field, const mc_certificate *certificate) {
    enum { SUBJECT_ALT_NAME = 1, SUBJECT = 2, URI = 1 };
    const size_t mark = mc_wire_begin(out, field);
    for (uint32_t i = 0; certificate != NULL && i < certificate->uri_sans.count; i++) {
        const size_t inner = mc_wire_begin(out, SUBJECT_ALT_NAME);
        mc_wire_text(out, URI, certificate->uri_sans.items[i]);
        mc_wire_end(out, inner);
    }
    mc_wire_text(out, SUBJECT, certificate == NULL ? MC_SLICE_NONE : certificate->subject);
    mc_wire_end(out, mark);
}

/* The number of an enum's value: 1 for the first of the four names; 0: it is none of them. */
static uint64_t enum_number(const char *const names[4], mc_slice name) {
    for (size_t i = 0; i < 4; i++) {
        if (mc_slice_eq(name, mc_slice_cstr(names[i]))) {
            return i + 1;
        }
    }
    return 0;
}

static const char *const TLS_VERSIONS[4] = {"TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"};
static const char *const PROTOCOLS[4] = {"HTTP/1.0", "HTTP/1.1", "HTTP/2", "HTTP/3"};

static void wire_tls(mc_text *out, uint32_t field, const mc_stream_info *info) {
    enum { VERSION = 1, SNI = 3, LOCAL = 4, PEER = 5, SESSION_ID = 6, JA3 = 7 };
    const mc_tls_info *tls = info->downstream_tls;
    if (tls == NULL && info->requested_server_name.n == 0) {
        return;
    }
    const size_t mark = mc_wire_begin(out, field);
    mc_wire_text(out, SNI, info->requested_server_name);
    if (tls != NULL) {
        mc_wire_u64(out, VERSION, enum_number(TLS_VERSIONS, tls->version));
        wire_certificate(out, LOCAL, tls->local);
        wire_certificate(out, PEER, tls->peer);
        mc_wire_text(out, SESSION_ID, tls->session_id);
        mc_wire_text(out, JA3, tls->ja3);
    }
    mc_wire_end(out, mark);
}

static void wire_metadata(mc_text *out, uint32_t field, const mc_value *metadata) {
    enum { FILTER_METADATA = 1 };
    if (metadata == NULL || metadata->count == 0) {
        return;
    }
    const size_t mark = mc_wire_begin(out, field);
    for (size_t i = 0; i < metadata->count; i++) {
        const size_t pair = mc_wire_begin(out, FILTER_METADATA);
        mc_wire_text(out, MAP_KEY, metadata->names[i]);
        mc_wire_struct(out, MAP_VALUE, &metadata->items[i]);
        mc_wire_end(out, pair);
    }
    mc_wire_end(out, mark);
}

static const mc_value *state_of(const mc_value *states, mc_slice key) {
    for (size_t i = 0; states != NULL && i < states->count; i++) {
        if (mc_slice_eq(states->names[i], key)) {
            return &states->items[i];
        }
    }
    return NULL;
}

static void wire_filter_states(mc_text *out, uint32_t field, const mc_slices *keys, const mc_value *states) {
    for (uint32_t i = 0; i < keys->count; i++) {
        const mc_value *value = state_of(states, keys->items[i]);
        if (value != NULL) {
            const size_t pair = mc_wire_begin(out, field);
            mc_wire_text(out, MAP_KEY, keys->items[i]);
            wire_any(out, MAP_VALUE, value);
            mc_wire_end(out, pair);
        }
    }
}

enum { CUSTOM_TAGS = 22 };

static void tell_tag(mc_text *out, mc_slice name, mc_slice value) { wire_pair(out, CUSTOM_TAGS, name, value); }

static mc_slice request_id(const mc_stream_info *info) {
    const mc_slice id = info->stream_id_text;
    return id.p != NULL || info->request == NULL ? id : mc_headers_get(info->request, MC_SLICE("x-request-id"));
}

static bool is_over(unsigned type) {
    return type == MC_LOG_DOWNSTREAM_END || type == MC_LOG_UPSTREAM_END || type == MC_LOG_TCP_CONNECTION_END ||
           type == MC_LOG_NOT_SET;
}

static void wire_times(mc_text *out, const mc_stream_info *info) {
    enum { START = 5, LAST_RX = 6, DURATION = 23 };
    wire_duration(out, START, info->start_ns);
    const uint64_t points[] = {info->at.request_end,          info->at.upstream_send_begin,
                               info->at.upstream_send_end,    info->at.upstream_receive_begin,
                               info->at.upstream_receive_end, info->at.response_begin,
                               info->at.response_end};
    for (uint32_t i = 0; i < sizeof points / sizeof *points; i++) {
        wire_duration(out, LAST_RX + i, points[i]);
    }
    wire_duration(out, DURATION, is_over(info->log_type) ? info->at.now : MC_NO_TIME);
}

static void wire_common(mc_text *out, uint32_t field, const mc_log_message *message, const mc_stream_info *info) {
    enum {
        DOWNSTREAM_REMOTE = 2,
        DOWNSTREAM_LOCAL = 3,
        TLS = 4,
        UPSTREAM_REMOTE = 13,
        UPSTREAM_LOCAL = 14,
        UPSTREAM_CLUSTER = 15,
        FLAGS = 16,
        METADATA = 17,
        UPSTREAM_FAILURE = 18,
        ROUTE_NAME = 19,
        DIRECT_REMOTE = 20,
        FILTER_STATES = 21,
        ATTEMPTS = 24,
        TERMINATION = 25,
        STREAM_ID = 26,
        INTERMEDIATE = 27,
        DOWNSTREAM_FAILURE = 28,
        DOWNSTREAM_SENT = 29,
        DOWNSTREAM_RECEIVED = 30,
        UPSTREAM_SENT = 31,
        UPSTREAM_RECEIVED = 32,
        LOG_TYPE = 33
    };
    const size_t mark = mc_wire_begin(out, field);
    wire_address(out, DOWNSTREAM_REMOTE, info->downstream_remote);
    wire_address(out, DOWNSTREAM_LOCAL, info->downstream_local);
    wire_address(out, DIRECT_REMOTE, info->downstream_direct_remote);
    wire_tls(out, TLS, info);
    wire_times(out, info);
    if (info->upstream_host != NULL) {
        wire_address(out, UPSTREAM_REMOTE, info->upstream_host);
        mc_wire_text(out, UPSTREAM_CLUSTER, info->upstream_cluster_raw);
    }
    wire_address(out, UPSTREAM_LOCAL, info->upstream_local);
    wire_flags(out, FLAGS, info->flags);
    wire_metadata(out, METADATA, info->dynamic_metadata);
    mc_wire_text(out, UPSTREAM_FAILURE, info->upstream_failure);
    mc_wire_text(out, ROUTE_NAME, info->route_name);
    wire_filter_states(out, FILTER_STATES, &message->filter_states, info->filter_state);
    mc_log_message_tags(message, info, out, tell_tag);
    mc_wire_u64(out, ATTEMPTS, info->attempts);
    mc_wire_text(out, TERMINATION, info->connection_termination_details);
    mc_wire_text(out, STREAM_ID, request_id(info));
    mc_wire_u64(out, INTERMEDIATE, !is_over(info->log_type));
    mc_wire_text(out, DOWNSTREAM_FAILURE, info->downstream_failure);
    mc_wire_u64(out, DOWNSTREAM_SENT, info->downstream_wire_sent);
    mc_wire_u64(out, DOWNSTREAM_RECEIVED, info->downstream_wire_received);
    mc_wire_u64(out, UPSTREAM_SENT, info->upstream_wire_sent);
    mc_wire_u64(out, UPSTREAM_RECEIVED, info->upstream_wire_received);
    mc_wire_u64(out, LOG_TYPE, info->log_type);
    mc_wire_end(out, mark);
}

/* --- request and response ------------------------------------------------------------------------------------------------------ */

/* The names of envoy.config.core.v3.RequestMethod, in its order; 0 is none of them. */
static uint64_t method_number(mc_slice name) {
    static const char *const names[] = {
        "METHOD_UNSPECIFIED", "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"};
    for (size_t i = 1; i < sizeof names / sizeof *names; i++) {
        if (mc_slice_eq(name, mc_slice_cstr(names[i]))) {
            return i;
        }
    }
    return 0;
}

/* Each with all its values, joined by ','. */
static void wire_headers(mc_text *out, uint32_t field, const mc_slices *names, const mc_headers *headers) {
    for (uint32_t i = 0; headers != NULL && i < names->count; i++) {
        const mc_slice name = names->items[i];
        const mc_slice as = mc_slice_eq(name, MC_SLICE("host")) ? MC_SLICE(":authority") : name;
        mc_text joined;
        bool found = false;
        mc_text_init(&joined);
        MC_HEADERS_EACH(headers, header) {
            if (mc_slice_eq(header->name, as)) {
                mc_text_add(&joined, found ? MC_SLICE(",") : MC_SLICE(""));
                mc_text_add(&joined, header->value);
                found = true;
            }
        }
        if (found) {
            wire_pair(out, field, name, mc_text_slice(&joined));
        }
        mc_text_fini(&joined);
    }
}

static void wire_header(mc_text *out, uint32_t field, const mc_headers *headers, const char *name) {
    mc_wire_text(out, field, headers == NULL ? MC_SLICE_NONE : mc_headers_get(headers, mc_slice_cstr(name)));
}

static void wire_request(mc_text *out, uint32_t field, const mc_log_message *message, const mc_stream_info *info) {
    enum {
        METHOD = 1,
        HEADERS_BYTES = 11,
        BODY_BYTES = 12,
        HEADERS = 13,
        UPSTREAM_SENT = 14,
        DOWNSTREAM_RECEIVED = 15
    };
    static const struct {
        uint32_t field;
        const char *name;
    } texts[] = {{2, ":scheme"}, {3, ":authority"},      {5, ":path"},        {6, "user-agent"},
                 {7, "referer"}, {8, "x-forwarded-for"}, {9, "x-request-id"}, {10, "x-envoy-original-path"}};
    const mc_headers *request = info->request;
    const size_t mark = mc_wire_begin(out, field);
    mc_wire_u64(out, METHOD, request == NULL ? 0 : method_number(mc_headers_get(request, MC_SLICE(":method"))));
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        wire_header(out, texts[i].field, request, texts[i].name);
    }
    mc_wire_u64(out, HEADERS_BYTES, info->request_header_bytes);
    mc_wire_u64(out, BODY_BYTES, info->bytes_received);
    wire_headers(out, HEADERS, &message->request_headers, request);
    mc_wire_u64(out, UPSTREAM_SENT, info->upstream_header_sent);
    mc_wire_u64(out, DOWNSTREAM_RECEIVED, info->downstream_header_received);
    mc_wire_end(out, mark);
}

static void wire_response(mc_text *out, uint32_t field, const mc_log_message *message, const mc_stream_info *info) {
    enum { CODE = 1, HEADERS_BYTES, BODY_BYTES, HEADERS, TRAILERS, DETAILS, UPSTREAM_RECEIVED, DOWNSTREAM_SENT };
    enum { UINT32_VALUE = 1 };
    const size_t mark = mc_wire_begin(out, field);
    if (info->status != 0) {
        const size_t code = mc_wire_begin(out, CODE);
        mc_wire_u64(out, UINT32_VALUE, info->status);
        mc_wire_end(out, code);
    }
    mc_wire_u64(out, HEADERS_BYTES, info->response_header_bytes);
    mc_wire_u64(out, BODY_BYTES, info->bytes_sent);
    wire_headers(out, HEADERS, &message->response_headers, info->response);
    wire_headers(out, TRAILERS, &message->response_trailers, info->response_trailers);
    mc_wire_text(out, DETAILS, info->response_code_details);
    mc_wire_u64(out, UPSTREAM_RECEIVED, info->upstream_header_received);
    mc_wire_u64(out, DOWNSTREAM_SENT, info->downstream_header_sent);
    mc_wire_end(out, mark);
}

static void wire_connection(mc_text *out, uint32_t field, const mc_stream_info *info) {
    enum { RECEIVED = 1, SENT = 2 };
    const size_t mark = mc_wire_begin(out, field);
    mc_wire_u64(out, RECEIVED, info->bytes_received);
    mc_wire_u64(out, SENT, info->bytes_sent);
    mc_wire_end(out, mark);
}

void mc_log_entry_write(const mc_log_message *message, const mc_stream_info *info, mc_text *out) {
    enum { COMMON = 1, CONNECTION = 2, PROTOCOL = 2, REQUEST = 3, RESPONSE = 4 };
    wire_common(out, COMMON, message, info);
    if (message->kind == MC_LOG_TCP_ENTRY) {
        wire_connection(out, CONNECTION, info);
        return;
    }
    mc_wire_u64(out, PROTOCOL, enum_number(PROTOCOLS, info->protocol));
    wire_request(out, REQUEST, message, info);
    wire_response(out, RESPONSE, message, info);
}
