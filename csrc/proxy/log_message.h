/* Log message: an access record as a protobuf message, for loggers that send records to a service (AL-7): an HTTPAccessLogEntry
 * or a TCPAccessLogEntry (envoy.data.accesslog.v3), or OpenTelemetry's LogRecord, whose body and attributes are trees of formats.
 *
 * Compiled once into an arena, immutable; written by the log writer's thread out of a captured record. */
#ifndef MC_PROXY_LOG_MESSAGE_H
#define MC_PROXY_LOG_MESSAGE_H

#include "route/custom_tag.h"

typedef enum mc_log_message_kind { MC_LOG_HTTP_ENTRY, MC_LOG_TCP_ENTRY, MC_LOG_RECORD } mc_log_message_kind;

typedef struct mc_any_format mc_any_format; /* log_record.c: an AnyValue whose strings are formats */

typedef struct mc_log_message {
    mc_log_message_kind kind;
    mc_slices request_headers, response_headers, response_trailers; /* additional ones; lower-case */
    mc_slices filter_states;
    mc_custom_tags tags;
    const mc_any_format *body, *attributes; /* NULL: none */
} mc_log_message;

/* `config` is a HttpGrpcAccessLogConfig, a TcpGrpcAccessLogConfig or an OpenTelemetryAccessLogConfig, as `kind` says. */
MC_MUST_CHECK mc_status mc_log_message_compile(mc_arena *arena, mc_log_message_kind kind, const mc_value *config,
                                               const mc_log_message **out, mc_error *error);
void mc_log_message_tell_reads(const mc_log_message *message, mc_format_reads *reads);
/* Appends it as one element of the list that it is sent in; returns its size alone. */
size_t mc_log_message_write(const mc_log_message *message, const mc_stream_info *info, mc_text *out);

/* --- for the files of this module ------------------------------------------------------------------------------------------ */

void mc_log_entry_write(const mc_log_message *message, const mc_stream_info *info, mc_text *out); /* log_entry.c */
/* Calls `tell` for each tag that has a value, in order: of entries of one name in a map the last one counts. */
void mc_log_message_tags(const mc_log_message *message, const mc_stream_info *info, mc_text *out,
                         void (*tell)(mc_text *out, mc_slice name, mc_slice value));
void mc_wire_struct(mc_text *out, uint32_t field, const mc_value *object); /* a google.protobuf.Struct */

void mc_log_record_write(const mc_log_message *message, const mc_stream_info *info, mc_text *out); /* log_record.c */
MC_MUST_CHECK mc_status mc_any_format_compile(mc_arena *arena, const mc_value *any, bool extended,
                                              const mc_any_format **out, mc_error *error);
/* A KeyValueList. */
MC_MUST_CHECK mc_status mc_any_format_compile_list(mc_arena *arena, const mc_value *list, bool extended,
                                                   const mc_any_format **out, mc_error *error);
void mc_any_format_tell_reads(const mc_any_format *any, mc_format_reads *reads);

#endif
