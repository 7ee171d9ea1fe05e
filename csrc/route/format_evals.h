/* The functions that the table of commands names, one file a family; private to format*.c and context*.c. */
#ifndef MC_ROUTE_FORMAT_EVALS_H
#define MC_ROUTE_FORMAT_EVALS_H

#include "route/format_program.h"

#define MC_FORMAT_PARSER(name) mc_status name(mc_arena *arena, mc_format_op *op, mc_slice argument, mc_error *error)
#define MC_FORMAT_EVAL(name)   mc_format_result name(const mc_format_op *op, const mc_stream_info *info, mc_text *out)

#define MC_FORMAT_NOTHING  ((mc_format_result){.kind = MC_FORMAT_ABSENT})
#define MC_FORMAT_SOME     ((mc_format_result){.kind = MC_FORMAT_TEXT})
#define MC_FORMAT_COUNT(n) ((mc_format_result){.kind = MC_FORMAT_NUMBER, .number = (n)})

/* The field of the stream info that the command's row names. */
#define MC_FORMAT_FIELD(type, op, info) (*(const type *)((const char *)(info) + (op)->command->offset))

/* Appends; absent when the slice has no text. */
static inline mc_format_result mc_format_slice(mc_slice text, mc_text *out) {
    if (text.n == 0) {
        return MC_FORMAT_NOTHING;
    }
    mc_text_add(out, text);
    return MC_FORMAT_SOME;
}

/* format_headers.c */
MC_FORMAT_PARSER(mc_format_parse_headers);
MC_FORMAT_EVAL(mc_format_eval_header); /* variant: mc_header_map */
MC_FORMAT_EVAL(mc_format_eval_header_without_query);
MC_FORMAT_EVAL(mc_format_eval_header_bytes);
MC_FORMAT_PARSER(mc_format_parse_path);
MC_FORMAT_EVAL(mc_format_eval_path);
MC_FORMAT_PARSER(mc_format_parse_query_param);
MC_FORMAT_EVAL(mc_format_eval_query_param);
MC_FORMAT_PARSER(mc_format_parse_query_params);
MC_FORMAT_EVAL(mc_format_eval_query_params);
MC_FORMAT_PARSER(mc_format_parse_server_name);
MC_FORMAT_EVAL(mc_format_eval_server_name);
MC_FORMAT_PARSER(mc_format_parse_grpc_status);
MC_FORMAT_EVAL(mc_format_eval_grpc_status);
MC_FORMAT_EVAL(mc_format_eval_stream_id);
/* The header names that an operation looks up, at most four; returns their number. */
size_t mc_format_header_names(const mc_format_op *op, mc_slice names[4], mc_header_map maps[4]);

/* format_tls.c: the field is a mc_tls_info pointer; variant as there */
enum {
    MC_CERT_SUBJECT,
    MC_CERT_ISSUER,
    MC_CERT_SERIAL,
    MC_CERT_SHA256,
    MC_CERT_SHA1,
    MC_CERT_ISSUER_SERIAL,
    MC_CERT_ISSUER_SHA256,
    MC_CERT_PEM,
    MC_CERT_URI_SAN,
    MC_CERT_DNS_SAN,
    MC_CERT_IP_SAN,
    MC_CERT_EMAIL_SAN,
    MC_CERT_OTHER_SAN,
    MC_CERT_CHAIN_SERIALS,
    MC_CERT_CHAIN_SHA256,
    MC_CERT_CHAIN_SHA1,
    MC_CERT_V_START,
    MC_CERT_V_END,
    MC_TLS_VERSION,
    MC_TLS_CIPHER,
    MC_TLS_SESSION_ID,
    MC_TLS_SNI,
    MC_TLS_GROUP,
    MC_TLS_JA3,
    MC_TLS_JA4,
    MC_CERT_LOCAL = 64, /* or'ed: the local certificate instead of the peer's */
};
MC_FORMAT_EVAL(mc_format_eval_tls);

/* format_metadata.c */
MC_FORMAT_PARSER(mc_format_parse_metadata); /* "ns:k:k" */
MC_FORMAT_EVAL(mc_format_eval_metadata);
MC_FORMAT_PARSER(mc_format_parse_any_metadata); /* "TYPE:ns:k" */
MC_FORMAT_EVAL(mc_format_eval_any_metadata);
MC_FORMAT_PARSER(mc_format_parse_filter_state);
MC_FORMAT_EVAL(mc_format_eval_filter_state);

/* format_cel.c */
enum { MC_CEL_PLAIN, MC_CEL_TYPED }; /* variant */
MC_FORMAT_PARSER(mc_format_parse_cel);
MC_FORMAT_EVAL(mc_format_eval_cel);
/* A typed one is JSON where it stands alone in a JSON string. */
bool mc_format_is_typed_cel(const mc_format_op *op);
/* Appends the JSON; false: absent. */
bool mc_format_eval_typed_cel(const mc_format_op *op, const mc_stream_info *info, mc_text *out);
uint32_t mc_format_cel_reads(const mc_format_op *op);

/* format_duration.c */
MC_FORMAT_PARSER(mc_format_parse_start_time); /* variant: 1 local time */
MC_FORMAT_EVAL(mc_format_eval_start_time);
MC_FORMAT_EVAL(mc_format_eval_emit_time);
MC_FORMAT_EVAL(mc_format_eval_point); /* milliseconds from the start to the field */
MC_FORMAT_EVAL(mc_format_eval_response_tx);
MC_FORMAT_PARSER(mc_format_parse_common_duration);
MC_FORMAT_EVAL(mc_format_eval_common_duration);
/* The field of a point that COMMON_DURATION knows by name; NULL: none. */
uint64_t *mc_format_point_by_name(mc_stream_info *info, mc_slice name);

/* format_headers.c: whether a message can have a header of this name; an empty one is none, and good. */
bool mc_format_header_valid(mc_slice name);

/* format_upstream.c: hosts and addresses; the field is a mc_address pointer */
enum { MC_ADDRESS_WITH_PORT, MC_ADDRESS_PLAIN, MC_ADDRESS_PORT };
MC_FORMAT_PARSER(mc_format_parse_mask);
MC_FORMAT_EVAL(mc_format_eval_address);
enum { MC_HOST_NAMES = 1, MC_HOST_WITHOUT_PORT = 2 };
MC_FORMAT_EVAL(mc_format_eval_host_name);
MC_FORMAT_EVAL(mc_format_eval_hosts);
MC_FORMAT_EVAL(mc_format_eval_connections);

#endif
