/* The table of commands, and those that need no file of their own. */
#include <stddef.h>

#include "http/flags.h"
#include "route/compile.h"
#include "route/format_evals.h"

#define FIELD(type, op, info) MC_FORMAT_FIELD(type, op, info)

/* --- scalars ------------------------------------------------------------------------------------------------------------ */

static MC_FORMAT_EVAL(eval_u64) { return MC_FORMAT_COUNT(FIELD(uint64_t, op, info)); }
static MC_FORMAT_EVAL(eval_u32) { return MC_FORMAT_COUNT(FIELD(uint32_t, op, info)); }
static MC_FORMAT_EVAL(eval_u16) { return MC_FORMAT_COUNT(FIELD(uint16_t, op, info)); }
static MC_FORMAT_EVAL(eval_slice) { return mc_format_slice(FIELD(mc_slice, op, info), out); }

/* There is always a text, if an empty one. */
static MC_FORMAT_EVAL(eval_present_slice) {
    mc_text_add(out, FIELD(mc_slice, op, info));
    return MC_FORMAT_SOME;
}

/* An IP address has none: there is an empty one where there is an address. */
static MC_FORMAT_EVAL(eval_endpoint_id) {
    const mc_address *address = op->command->variant == 1 ? info->upstream_remote : info->downstream_local;
    mc_text_add(out, FIELD(mc_slice, op, info));
    return address == NULL ? MC_FORMAT_NOTHING : MC_FORMAT_SOME;
}

/* variant 1: every white space becomes '_', else only the space. */
static MC_FORMAT_EVAL(eval_underscored) {
    mc_slice text = FIELD(mc_slice, op, info);
    const size_t start = out->n;
    mc_format_result result = mc_format_slice(text, out);
    for (size_t i = start; op->mode == 0 && i < out->n; i++) {
        bool blank = out->p[i] == ' ' || (op->command->variant == 1 && out->p[i] >= '\t' && out->p[i] <= '\r');
        out->p[i] = blank ? '_' : out->p[i];
    }
    return result;
}

static MC_FORMAT_PARSER(parse_details) {
    op->mode = mc_slice_eq(argument, MC_SLICE("ALLOW_WHITESPACES"));
    return MC_OK;
}

static MC_FORMAT_EVAL(eval_flags) {
    if (info->flags == 0) {
        mc_text_lit(out, "-");
    }
    uint64_t flags = info->flags, order = info->flag_order;
    for (unsigned index; mc_flags_take(&flags, &order, &index);) {
        mc_text_add(out, op->command->variant ? mc_flag_long_name(index) : mc_flag_name(index));
        if (flags != 0) {
            mc_text_lit(out, ",");
        }
    }
    return MC_FORMAT_SOME;
}

static MC_FORMAT_EVAL(eval_log_type) { return mc_format_slice(mc_log_type_name(info->log_type), out); }

/* A random UUID, version 4 (RFC 9562 section 5.4). */
static MC_FORMAT_EVAL(eval_unique_id) {
    static const char hex[] = "0123456789abcdef";
    mc_random derived;
    mc_random *random = info->random;
    char id[36];
    if (random == NULL) {
        mc_random_seed(&derived, info->stream_id + (uintptr_t)op);
        random = &derived;
    }
    uint64_t draws[2] = {mc_random_next(random), mc_random_next(random)};
    for (size_t i = 0, digit = 0; i < sizeof id; i++) {
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            id[i] = '-';
            continue;
        }
        unsigned nibble = (draws[digit / 16] >> (digit % 16 * 4)) & 15;
        id[i] = hex[i == 14 ? 4 : i == 19 ? 8 | (nibble & 3) : nibble];
        digit++;
    }
    mc_text_add(out, mc_slice_of(id, sizeof id));
    return MC_FORMAT_SOME;
}

/* The control side has put the value in place; where there was none, Envoy writes this even when it omits what is empty. */
static MC_FORMAT_EVAL(eval_unknown_to_core) {
    mc_text_lit(out, "-");
    return MC_FORMAT_SOME;
}

/* --- COALESCE ------------------------------------------------------------------------------------------------------------- */

static mc_status parse_choice(mc_arena *arena, const mc_value *entry, mc_format_op *op, mc_error *error) {
    mc_slice name = MC_SLICE_NONE, param = MC_SLICE_NONE;
    if (entry->kind == MC_STRING) {
        name = entry->string;
    } else if (entry->kind != MC_OBJECT || mc_value_get(entry, "command") == NULL) {
        return mc_error_set(error, MC_EINVAL, "",
                            "%%COALESCE%%: an operator must be a string or an object with command");
    } else {
        MC_TRY(mc_value_read_string(entry, "command", &name, error));
        MC_TRY(mc_value_read_string(entry, "param", &param, error));
    }
    for (size_t i = 0; entry->kind == MC_OBJECT && i < entry->count; i++) {
        const mc_value *most = &entry->items[i];
        uint64_t length = 0; /* a number: neither digits in quotes nor null */
        if (!mc_slice_eq(entry->names[i], MC_SLICE("max_length"))) {
            continue;
        }
        if (most->kind != MC_NUMBER || mc_value_read_u64(entry, "max_length", &length, error) != MC_OK || length == 0) {
            return mc_error_set(error, MC_EINVAL, "", "%%COALESCE%%: max_length must be a positive integer");
        }
        op->has_length = true;
        op->length = length;
    }
    const mc_format_command *command = mc_format_find(name);
    if (command == NULL || (command->syntax & MC_SYNTAX_EXTENSION)) {
        return mc_error_set(error, MC_EINVAL, "", "%%COALESCE%%: unknown operator %.*s", MC_SLICE_ARG(name));
    }
    return mc_format_bind(arena, command, param, op, error);
}

static MC_FORMAT_PARSER(parse_coalesce) {
    const mc_value *json = NULL, *items;
    size_t count;
    mc_error inner;
    if (mc_value_parse(arena, argument, &json, &inner) != MC_OK || json->kind != MC_OBJECT) {
        return mc_error_set(error, MC_EINVAL, "", "%%COALESCE%% takes a JSON object: %.*s", MC_SLICE_ARG(argument));
    }
    MC_TRY(mc_value_read_list(json, "operators", &items, &count, error));
    if (count == 0) {
        return mc_error_set(error, MC_EINVAL, "", "%%COALESCE%% must have operators");
    }
    mc_format_op *choices = mc_arena_zalloc(arena, count * sizeof *choices);
    if (choices == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(parse_choice(arena, &items[i], &choices[i], error));
    }
    op->choices = choices;
    op->choice_count = (uint32_t)count;
    return MC_OK;
}

/* The first that yields something other than an empty text. */
static MC_FORMAT_EVAL(eval_coalesce) {
    for (uint32_t i = 0; i < op->choice_count; i++) {
        const size_t start = out->n;
        mc_format_result result = mc_format_eval(&op->choices[i], info, out);
        if (result.kind == MC_FORMAT_VALUE && result.value->kind == MC_NULL && mc_format_null(&op->choices[i], out)) {
            return MC_FORMAT_SOME;
        }
        bool empty_text = result.kind == MC_FORMAT_TEXT && out->n == start;
        bool empty_value =
            result.kind == MC_FORMAT_VALUE &&
            (result.value->kind == MC_NULL || (result.value->kind == MC_STRING && result.value->string.n == 0));
        if (result.kind != MC_FORMAT_ABSENT && !empty_text && !empty_value) {
            result.limited = op->choices[i].has_length ? &op->choices[i] : NULL;
            return result;
        }
    }
    return MC_FORMAT_NOTHING;
}

/* --- the table --------------------------------------------------------------------------------------------------------------- */

#define BARE      MC_SYNTAX_BARE
#define REQUIRED  MC_SYNTAX_ARGUMENT
#define OPTIONAL  MC_SYNTAX_OPTIONAL
#define LENGTH    MC_SYNTAX_LENGTH
#define EXTENSION MC_SYNTAX_EXTENSION
#define AT(field) offsetof(mc_stream_info, field)

#define TEXT(NAME, field)    {NAME, BARE, 0, AT(field), 0, NULL, eval_slice, MC_INFO_SLICE}
#define COUNTER(NAME, field) {NAME, BARE, 0, AT(field), 0, NULL, eval_u64, MC_INFO_U64}
#define POINT(NAME, field)   {NAME, BARE, 0, AT(field), 0, NULL, mc_format_eval_point, MC_INFO_POINT}
#define HEADER(NAME, map)                                                                                              \
    {NAME, REQUIRED | LENGTH, map, 0, 0, mc_format_parse_headers, mc_format_eval_header, MC_INFO_OTHER}
#define SIZE(NAME, map, field, read) {NAME, BARE, map, AT(field), read, NULL, mc_format_eval_header_bytes, MC_INFO_U64}
#define TIME(NAME, local, eval)      {NAME, OPTIONAL, local, 0, 0, mc_format_parse_start_time, eval, MC_INFO_OTHER}
#define TLS(NAME, field, variant) {NAME, BARE, variant, AT(field), MC_READS_TLS, NULL, mc_format_eval_tls, MC_INFO_TLS}
#define CERT_TIME(NAME, field, variant)                                                                                \
    {NAME, OPTIONAL, variant, AT(field), MC_READS_TLS, mc_format_parse_start_time, mc_format_eval_tls, MC_INFO_TLS}
#define ADDRESS(NAME, field, read)                                                                                     \
    {NAME "_ADDRESS", BARE, MC_ADDRESS_WITH_PORT, AT(field), read, NULL, mc_format_eval_address, MC_INFO_ADDRESS},     \
        {NAME "_ADDRESS_WITHOUT_PORT", OPTIONAL,     MC_ADDRESS_PLAIN, AT(field), read, mc_format_parse_mask,          \
         mc_format_eval_address,       MC_INFO_OTHER},                                                                 \
    {                                                                                                                  \
        NAME "_PORT", BARE, MC_ADDRESS_PORT, AT(field), read, NULL, mc_format_eval_address, MC_INFO_OTHER              \
    }
#define CERTIFICATES(NAME, field)                                                                                      \
    TLS(NAME "_PEER_SUBJECT", field, MC_CERT_SUBJECT), TLS(NAME "_PEER_ISSUER", field, MC_CERT_ISSUER),                \
        TLS(NAME "_PEER_CERT", field, MC_CERT_PEM), TLS(NAME "_PEER_URI_SAN", field, MC_CERT_URI_SAN),                 \
        TLS(NAME "_PEER_DNS_SAN", field, MC_CERT_DNS_SAN), TLS(NAME "_PEER_IP_SAN", field, MC_CERT_IP_SAN),            \
        TLS(NAME "_LOCAL_URI_SAN", field, MC_CERT_LOCAL | MC_CERT_URI_SAN),                                            \
        TLS(NAME "_LOCAL_DNS_SAN", field, MC_CERT_LOCAL | MC_CERT_DNS_SAN),                                            \
        TLS(NAME "_LOCAL_IP_SAN", field, MC_CERT_LOCAL | MC_CERT_IP_SAN),                                              \
        TLS(NAME "_TLS_VERSION", field, MC_TLS_VERSION), TLS(NAME "_TLS_CIPHER", field, MC_TLS_CIPHER),                \
        TLS(NAME "_TLS_SESSION_ID", field, MC_TLS_SESSION_ID), TLS(NAME "_TLS_GROUP", field, MC_TLS_GROUP),            \
        CERT_TIME(NAME "_PEER_CERT_V_START", field, MC_CERT_V_START),                                                  \
        CERT_TIME(NAME "_PEER_CERT_V_END", field, MC_CERT_V_END)
#define METADATA(NAME, syntax, field, read)                                                                            \
    {NAME, REQUIRED | syntax, 0, AT(field), read, mc_format_parse_metadata, mc_format_eval_metadata, MC_INFO_VALUE}
#define FILTER_STATE(NAME, field)                                                                                      \
    {NAME,                                                                                                             \
     OPTIONAL | LENGTH,                                                                                                \
     0,                                                                                                                \
     AT(field),                                                                                                        \
     MC_READS_FILTER_STATE,                                                                                            \
     mc_format_parse_filter_state,                                                                                     \
     mc_format_eval_filter_state,                                                                                      \
     MC_INFO_VALUE}
#define HOSTS(NAME, variant) {NAME, BARE, variant, 0, MC_READS_HOSTS, NULL, mc_format_eval_hosts, MC_INFO_OTHER}

static const mc_format_command commands[] = {
    HEADER("REQ", MC_MAP_REQUEST),
    HEADER("REQUEST_HEADER", MC_MAP_REQUEST),
    HEADER("STREAM_INFO_REQ", MC_MAP_REQUEST),
    {"REQ_WITHOUT_QUERY", OPTIONAL | LENGTH | EXTENSION, MC_MAP_REQUEST, 0, 0, mc_format_parse_headers,
     mc_format_eval_header_without_query, MC_INFO_OTHER},
    HEADER("RESP", MC_MAP_RESPONSE),
    HEADER("RESPONSE_HEADER", MC_MAP_RESPONSE),
    HEADER("TRAILER", MC_MAP_TRAILERS),
    HEADER("RESPONSE_TRAILER", MC_MAP_TRAILERS),
    SIZE("REQUEST_HEADERS_BYTES", MC_MAP_REQUEST, request_header_bytes, MC_READS_REQUEST_SIZE),
    SIZE("RESPONSE_HEADERS_BYTES", MC_MAP_RESPONSE, response_header_bytes, MC_READS_RESPONSE_SIZE),
    SIZE("RESPONSE_TRAILERS_BYTES", MC_MAP_TRAILERS, response_trailer_bytes, MC_READS_TRAILER_SIZE),
    {"PATH", OPTIONAL | LENGTH, 0, 0, 0, mc_format_parse_path, mc_format_eval_path, MC_INFO_OTHER},
    {"QUERY_PARAM", REQUIRED | LENGTH, 0, 0, 0, mc_format_parse_query_param, mc_format_eval_query_param, MC_INFO_OTHER},
    {"QUERY_PARAMS", OPTIONAL | LENGTH, 0, 0, 0, mc_format_parse_query_params, mc_format_eval_query_params,
     MC_INFO_OTHER},
    {"GRPC_STATUS", OPTIONAL, 0, 0, 0, mc_format_parse_grpc_status, mc_format_eval_grpc_status, MC_INFO_OTHER},
    {"GRPC_STATUS_NUMBER", BARE, 1, 0, 0, mc_format_parse_grpc_status, mc_format_eval_grpc_status, MC_INFO_OTHER},
    {"STREAM_ID", BARE, 0, AT(stream_id_text), 0, NULL, mc_format_eval_stream_id, MC_INFO_SLICE},
    {"REQUESTED_SERVER_NAME", OPTIONAL, 0, 0, 0, mc_format_parse_server_name, mc_format_eval_server_name,
     MC_INFO_OTHER},

    TIME("START_TIME", 0, mc_format_eval_start_time),
    TIME("START_TIME_LOCAL", 1, mc_format_eval_start_time),
    TIME("EMIT_TIME", 0, mc_format_eval_emit_time),
    TIME("EMIT_TIME_LOCAL", 1, mc_format_eval_emit_time),
    POINT("DURATION", at.now),
    POINT("REQUEST_DURATION", at.request_end),
    POINT("REQUEST_TX_DURATION", at.upstream_send_end),
    POINT("RESPONSE_DURATION", at.upstream_receive_begin),
    {"RESPONSE_TX_DURATION", BARE, 0, 0, 0, NULL, mc_format_eval_response_tx, MC_INFO_OTHER},
    POINT("ROUNDTRIP_DURATION", at.acknowledged),
    POINT("DOWNSTREAM_HANDSHAKE_DURATION", at.handshake_end),
    POINT("UPSTREAM_CONNECTION_POOL_READY_DURATION", at.pool_ready),
    {"COMMON_DURATION", REQUIRED, 0, 0, 0, mc_format_parse_common_duration, mc_format_eval_common_duration,
     MC_INFO_OTHER},

    {"RESPONSE_CODE", BARE, 0, AT(status), 0, NULL, eval_u16, MC_INFO_U16},
    {"RESPONSE_CODE_DETAILS", OPTIONAL, 1, AT(response_code_details), 0, parse_details, eval_underscored,
     MC_INFO_SLICE},
    TEXT("CONNECTION_TERMINATION_DETAILS", connection_termination_details),
    {"RESPONSE_FLAGS", BARE, 0, 0, 0, NULL, eval_flags, MC_INFO_OTHER},
    {"RESPONSE_FLAGS_LONG", BARE, 1, 0, 0, NULL, eval_flags, MC_INFO_OTHER},
    {"CUSTOM_FLAGS", BARE, 0, AT(custom_flags), 0, NULL, eval_present_slice, MC_INFO_SLICE},
    {"LOCAL_REPLY_BODY", BARE, 0, AT(local_reply_body), MC_READS_BODY, NULL, eval_present_slice, MC_INFO_SLICE},
    {"ACCESS_LOG_TYPE", BARE, 0, 0, 0, NULL, eval_log_type, MC_INFO_OTHER},
    TEXT("PROTOCOL", protocol),
    TEXT("UPSTREAM_PROTOCOL", upstream_protocol),
    TEXT("ROUTE_NAME", route_name),
    TEXT("VIRTUAL_CLUSTER_NAME", virtual_cluster_name),
    TEXT("FILTER_CHAIN_NAME", filter_chain_name),
    TEXT("UPSTREAM_CLUSTER", upstream_cluster),
    TEXT("UPSTREAM_CLUSTER_RAW", upstream_cluster_raw),
    TEXT("TRACE_ID", trace_id),
    TEXT("SPAN_ID", span_id),
    COUNTER("CONNECTION_ID", connection_id),
    COUNTER("UPSTREAM_CONNECTION_ID", upstream_connection_id),
    {"UPSTREAM_REQUEST_ATTEMPT_COUNT", BARE, 0, AT(attempts), 0, NULL, eval_u32, MC_INFO_U32},
    {"UNIQUE_ID", BARE, 0, 0, 0, NULL, eval_unique_id, MC_INFO_OTHER},
    {"HOSTNAME", BARE, 0, 0, 0, NULL, eval_unknown_to_core, MC_INFO_OTHER},
    {"ENVIRONMENT", REQUIRED | LENGTH, 0, 0, 0, NULL, eval_unknown_to_core, MC_INFO_OTHER},
    {"COALESCE", REQUIRED | LENGTH, 0, 0, 0, parse_coalesce, eval_coalesce, MC_INFO_OTHER},

    {"CEL", REQUIRED | LENGTH, MC_CEL_PLAIN, 0, 0, mc_format_parse_cel, mc_format_eval_cel, MC_INFO_OTHER},
    {"TYPED_CEL", REQUIRED | LENGTH, MC_CEL_TYPED, 0, 0, mc_format_parse_cel, mc_format_eval_cel, MC_INFO_OTHER},

    COUNTER("BYTES_RECEIVED", bytes_received),
    COUNTER("BYTES_SENT", bytes_sent),
    COUNTER("BYTES_RETRANSMITTED", bytes_retransmitted),
    COUNTER("PACKETS_RETRANSMITTED", packets_retransmitted),
    COUNTER("UPSTREAM_WIRE_BYTES_SENT", upstream_wire_sent),
    COUNTER("UPSTREAM_WIRE_BYTES_RECEIVED", upstream_wire_received),
    COUNTER("UPSTREAM_HEADER_BYTES_SENT", upstream_header_sent),
    COUNTER("UPSTREAM_HEADER_BYTES_RECEIVED", upstream_header_received),
    COUNTER("UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT", upstream_plain_header_sent),
    COUNTER("UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED", upstream_plain_header_received),
    COUNTER("DOWNSTREAM_WIRE_BYTES_SENT", downstream_wire_sent),
    COUNTER("DOWNSTREAM_WIRE_BYTES_RECEIVED", downstream_wire_received),
    COUNTER("DOWNSTREAM_HEADER_BYTES_SENT", downstream_header_sent),
    COUNTER("DOWNSTREAM_HEADER_BYTES_RECEIVED", downstream_header_received),
    COUNTER("DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT", downstream_plain_header_sent),
    COUNTER("DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED", downstream_plain_header_received),

    {"UPSTREAM_HOST", BARE, MC_ADDRESS_WITH_PORT, AT(upstream_host), 0, NULL, mc_format_eval_address, MC_INFO_ADDRESS},
    {"UPSTREAM_HOST_NAME", BARE, 0, 0, 0, NULL, mc_format_eval_host_name, MC_INFO_OTHER},
    {"UPSTREAM_HOST_NAME_WITHOUT_PORT", BARE, MC_HOST_WITHOUT_PORT, 0, 0, NULL, mc_format_eval_host_name,
     MC_INFO_OTHER},
    HOSTS("UPSTREAM_HOSTS_ATTEMPTED", 0),
    HOSTS("UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT", MC_HOST_WITHOUT_PORT),
    HOSTS("UPSTREAM_HOST_NAMES_ATTEMPTED", MC_HOST_NAMES),
    HOSTS("UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT", MC_HOST_NAMES | MC_HOST_WITHOUT_PORT),
    {"UPSTREAM_CONNECTION_IDS_ATTEMPTED", BARE, 0, 0, MC_READS_HOSTS, NULL, mc_format_eval_connections, MC_INFO_OTHER},
    ADDRESS("UPSTREAM_LOCAL", upstream_local, MC_READS_LOCAL),
    ADDRESS("UPSTREAM_REMOTE", upstream_remote, 0),
    ADDRESS("DOWNSTREAM_LOCAL", downstream_local, 0),
    ADDRESS("DOWNSTREAM_REMOTE", downstream_remote, 0),
    ADDRESS("DOWNSTREAM_DIRECT_LOCAL", downstream_direct_local, 0),
    ADDRESS("DOWNSTREAM_DIRECT_REMOTE", downstream_direct_remote, 0),
    {"UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID", BARE, 1, AT(upstream_endpoint_id), 0, NULL, eval_endpoint_id,
     MC_INFO_SLICE},
    {"DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID", BARE, 0, AT(downstream_endpoint_id), 0, NULL, eval_endpoint_id,
     MC_INFO_SLICE},
    {"DOWNSTREAM_DIRECT_LOCAL_ADDRESS_ENDPOINT_ID", BARE, 0, AT(downstream_endpoint_id), 0, NULL, eval_endpoint_id,
     MC_INFO_SLICE},
    {"UPSTREAM_TRANSPORT_FAILURE_REASON", BARE, 0, AT(upstream_failure), 0, NULL, eval_underscored, MC_INFO_SLICE},
    {"DOWNSTREAM_TRANSPORT_FAILURE_REASON", BARE, 0, AT(downstream_failure), 0, NULL, eval_underscored, MC_INFO_SLICE},
    {"UPSTREAM_LOCAL_CLOSE_REASON", BARE, 0, AT(upstream_close_reason), 0, NULL, eval_underscored, MC_INFO_SLICE},
    {"DOWNSTREAM_LOCAL_CLOSE_REASON", BARE, 0, AT(downstream_close_reason), 0, NULL, eval_underscored, MC_INFO_SLICE},
    TEXT("UPSTREAM_DETECTED_CLOSE_TYPE", upstream_close_type),
    TEXT("DOWNSTREAM_DETECTED_CLOSE_TYPE", downstream_close_type),

    METADATA("DYNAMIC_METADATA", LENGTH, dynamic_metadata, MC_READS_DYNAMIC_METADATA),
    METADATA("CLUSTER_METADATA", 0, cluster_metadata, MC_READS_OTHER_METADATA),
    METADATA("UPSTREAM_METADATA", 0, upstream_metadata, MC_READS_OTHER_METADATA),
    {"METADATA", OPTIONAL | LENGTH, 0, 0, MC_READS_DYNAMIC_METADATA | MC_READS_OTHER_METADATA,
     mc_format_parse_any_metadata, mc_format_eval_any_metadata, MC_INFO_OTHER},
    FILTER_STATE("FILTER_STATE", filter_state),
    FILTER_STATE("UPSTREAM_FILTER_STATE", upstream_filter_state),

    CERTIFICATES("UPSTREAM", upstream_tls),
    TLS("UPSTREAM_SERVER_NAME", upstream_tls, MC_TLS_SNI),
    CERTIFICATES("DOWNSTREAM", downstream_tls),
    TLS("DOWNSTREAM_PEER_EMAIL_SAN", downstream_tls, MC_CERT_EMAIL_SAN),
    TLS("DOWNSTREAM_PEER_OTHERNAME_SAN", downstream_tls, MC_CERT_OTHER_SAN),
    TLS("DOWNSTREAM_LOCAL_SUBJECT", downstream_tls, MC_CERT_LOCAL | MC_CERT_SUBJECT),
    TLS("DOWNSTREAM_LOCAL_EMAIL_SAN", downstream_tls, MC_CERT_LOCAL | MC_CERT_EMAIL_SAN),
    TLS("DOWNSTREAM_LOCAL_OTHERNAME_SAN", downstream_tls, MC_CERT_LOCAL | MC_CERT_OTHER_SAN),
    TLS("DOWNSTREAM_PEER_FINGERPRINT_256", downstream_tls, MC_CERT_SHA256),
    TLS("DOWNSTREAM_PEER_FINGERPRINT_1", downstream_tls, MC_CERT_SHA1),
    TLS("DOWNSTREAM_PEER_SERIAL", downstream_tls, MC_CERT_SERIAL),
    TLS("DOWNSTREAM_PEER_ISSUER_SERIAL", downstream_tls, MC_CERT_ISSUER_SERIAL),
    TLS("DOWNSTREAM_PEER_ISSUER_FINGERPRINT_256", downstream_tls, MC_CERT_ISSUER_SHA256),
    TLS("DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256", downstream_tls, MC_CERT_CHAIN_SHA256),
    TLS("DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1", downstream_tls, MC_CERT_CHAIN_SHA1),
    TLS("DOWNSTREAM_PEER_CHAIN_SERIALS", downstream_tls, MC_CERT_CHAIN_SERIALS),
    TLS("TLS_JA3_FINGERPRINT", downstream_tls, MC_TLS_JA3),
    TLS("TLS_JA4_FINGERPRINT", downstream_tls, MC_TLS_JA4),
};

const mc_format_command *mc_format_command_at(size_t i) {
    return i < sizeof commands / sizeof *commands ? &commands[i] : NULL;
}

const mc_format_command *mc_format_find(mc_slice name) {
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (mc_slice_eq(mc_slice_cstr(commands[i].name), name)) {
            return &commands[i];
        }
    }
    return NULL;
}

/* --- what a program reads ------------------------------------------------------------------------------------------------------ */

void mc_format_tell_op(const mc_format_op *op, mc_format_reads *reads) {
    if (op->command == NULL) {
        return;
    }
    reads->parts |= op->command->reads | mc_format_cel_reads(op);
    for (uint32_t i = 0; i < op->choice_count; i++) {
        mc_format_tell_op(&op->choices[i], reads);
    }
    mc_slice names[4];
    mc_header_map maps[4];
    size_t count = mc_format_header_names(op, names, maps);
    for (size_t i = 0; i < count; i++) {
        if (names[i].n > 0) { /* %REQ(?ALTERNATIVE)% is allowed, and its first header is never there */
            reads->header(reads->ctx, maps[i], names[i]);
        }
    }
}
