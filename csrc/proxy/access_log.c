#include "proxy/access_log.h"

#include "base/alloc.h"
#include "route/compile.h"

/* --- compiling ----------------------------------------------------------------------------------------------------------- */

mc_access_logs *mc_access_logs_ref(mc_access_logs *logs) {
    atomic_fetch_add_explicit(&logs->refs, 1, memory_order_relaxed);
    return logs;
}

void mc_access_logs_unref(mc_access_logs *logs) {
    if (logs == NULL || atomic_fetch_sub_explicit(&logs->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (uint32_t i = 0; i < logs->count; i++) {
        mc_log_sink_unref(logs->items[i].sink);
    }
    mc_arena_fini(&logs->arena);
    mc_free(logs);
}

static mc_status compile_format(mc_arena *arena, const mc_value *config, const mc_format **out, mc_error *error) {
    const mc_value *message, *json;
    mc_slice text = MC_SLICE_NONE;
    MC_TRY(mc_value_read_object(config, "log_format", &message, error));
    if (message != NULL) {
        return mc_error_in(mc_format_compile(arena, message, out, error), error, "log_format");
    }
    for (int i = 0; i < 2; i++) { /* older spellings of the same */
        const char *field = i == 0 ? "json_format" : "typed_json_format";
        MC_TRY(mc_value_read_object(config, field, &json, error));
        if (json != NULL) {
            return mc_error_in(mc_format_compile_json(arena, json, false, out, error), error, "%s", field);
        }
    }
    MC_TRY(mc_value_read_string(config, "format", &text, error));
    text = text.n > 0 ? text : mc_slice_cstr(mc_format_default);
    return mc_error_in(mc_format_compile_text(arena, text, false, out, error), error, "format");
}

/* Files and streams. */
static mc_status compile_lines(mc_arena *arena, const mc_value *config, mc_log_target target, mc_log_writer *writer,
                               mc_access_log *log, mc_error *error) {
    mc_slice path = MC_SLICE_NONE;
    MC_TRY(compile_format(arena, config, &log->format, error));
    MC_TRY(mc_value_read_string(config, "path", &path, error));
    return mc_log_writer_sink(writer, target, path, &log->sink, error);
}

/* Loggers that send messages to a service. The control side has put its number for the logger beside the fields. */
static mc_status compile_remote(mc_arena *arena, const mc_value *config, mc_log_message_kind kind,
                                mc_log_writer *writer, mc_access_log *log, mc_error *error) {
    const bool record = kind == MC_LOG_RECORD;
    const mc_value *common;
    mc_slice prefix = MC_SLICE_NONE;
    mc_log_remote remote = {.flush_interval_ms = 1000, .counts_written = !record};
    uint64_t flush_bytes = 16384;
    MC_TRY(mc_log_message_compile(arena, kind, config, &log->message, error));
    MC_TRY(mc_value_read_object(config, "common_config", &common, error));
    for (int i = 0; i < 2; i++) { /* of a record both places count, its own more */
        const mc_value *from = i == 0 ? common : config;
        MC_TRY(mc_value_read_duration_ms(from, "buffer_flush_interval", &remote.flush_interval_ms, error));
        MC_TRY(mc_value_read_u64(from, "buffer_size_bytes", &flush_bytes, error));
    }
    MC_TRY(mc_value_read_u32(config, "number", &remote.number, error));
    MC_TRY(mc_value_read_string(config, "stat_prefix", &prefix, error));
    const mc_slice parts[] = {record ? MC_SLICE("access_logs.open_telemetry_access_log")
                                     : MC_SLICE("access_logs.grpc_access_log"),
                              prefix.n > 0 ? MC_SLICE(".") : MC_SLICE(""), prefix};
    MC_TRY(mc_arena_concat(arena, parts, 3, &remote.scope));
    remote.flush_bytes = (size_t)flush_bytes;
    return mc_log_writer_remote(writer, &remote, &log->sink);
}

#define LOGGERS "type.googleapis.com/envoy.extensions.access_loggers."

static mc_status compile_logger(mc_arena *arena, const mc_value *config, mc_log_writer *writer, mc_access_log *log,
                                mc_error *error) {
    static const struct {
        mc_slice type;
        bool remote;
        int kind; /* mc_log_target or mc_log_message_kind */
    } loggers[] = {
        {MC_SLICE_INIT(LOGGERS "file.v3.FileAccessLog"), false, MC_LOG_FILE},
        {MC_SLICE_INIT(LOGGERS "stream.v3.StdoutAccessLog"), false, MC_LOG_STDOUT},
        {MC_SLICE_INIT(LOGGERS "stream.v3.StderrAccessLog"), false, MC_LOG_STDERR},
        {MC_SLICE_INIT(LOGGERS "grpc.v3.HttpGrpcAccessLogConfig"), true, MC_LOG_HTTP_ENTRY},
        {MC_SLICE_INIT(LOGGERS "grpc.v3.TcpGrpcAccessLogConfig"), true, MC_LOG_TCP_ENTRY},
        {MC_SLICE_INIT(LOGGERS "open_telemetry.v3.OpenTelemetryAccessLogConfig"), true, MC_LOG_RECORD},
    };
    mc_slice type = MC_SLICE_NONE;
    MC_TRY(mc_value_read_string(config, "@type", &type, error));
    if (writer == NULL) {
        return mc_error_set(error, MC_EINVAL, "", "cannot be written here");
    }
    for (size_t i = 0; i < sizeof loggers / sizeof *loggers; i++) {
        if (mc_slice_eq(type, loggers[i].type)) {
            return loggers[i].remote
                       ? compile_remote(arena, config, (mc_log_message_kind)loggers[i].kind, writer, log, error)
                       : compile_lines(arena, config, (mc_log_target)loggers[i].kind, writer, log, error);
        }
    }
    return mc_error_set(error, MC_EINVAL, "@type", "is no known access log: %.*s", MC_SLICE_ARG(type));
}

static mc_status compile_log(mc_access_logs *logs, const mc_value *value, mc_log_writer *writer, mc_error *error) {
    mc_access_log *log = &logs->items[logs->count];
    const mc_value *config, *filter;
    MC_TRY(mc_value_read_object(value, "typed_config", &config, error));
    MC_TRY(mc_value_read_object(value, "filter", &filter, error));
    if (config == NULL) {
        return mc_error_set(error, MC_EINVAL, "typed_config", "is required");
    }
    if (filter != NULL) {
        MC_TRY(mc_error_in(mc_log_filter_compile(&logs->arena, filter, &log->filter, error), error, "filter"));
    }
    MC_TRY(mc_error_in(compile_logger(&logs->arena, config, writer, log, error), error, "typed_config"));
    logs->count++;
    return MC_OK;
}

/* Names that the formats read, each once. */
typedef struct name_list {
    mc_slice *items[MC_MAP_COUNT];
    uint32_t count[MC_MAP_COUNT], room[MC_MAP_COUNT];
    bool failed;
} name_list;

static void note_name(void *ctx, mc_header_map map, mc_slice name) {
    name_list *list = ctx;
    for (uint32_t i = 0; i < list->count[map]; i++) {
        if (mc_slice_eq(list->items[map][i], name)) {
            return;
        }
    }
    size_t room = list->room[map];
    if (mc_grow(&list->items[map], &room, list->count[map] + 1, sizeof(mc_slice)) != MC_OK) {
        list->failed = true;
        return;
    }
    list->room[map] = (uint32_t)room;
    list->items[map][list->count[map]++] = name;
}

static mc_status collect_reads(mc_access_logs *logs) {
    name_list list = {0};
    mc_format_reads reads = {0, note_name, &list};
    mc_status status = MC_OK;
    for (uint32_t i = 0; i < logs->count; i++) {
        if (logs->items[i].message != NULL) {
            mc_log_message_tell_reads(logs->items[i].message, &reads);
        } else {
            mc_format_tell_reads(logs->items[i].format, &reads);
        }
        reads.parts |= logs->items[i].filter == NULL ? 0 : mc_log_filter_needs(logs->items[i].filter);
    }
    for (int map = 0; map < MC_MAP_COUNT; map++) {
        mc_slice *copy = mc_arena_alloc(&logs->arena, list.count[map] * sizeof *copy);
        if (copy == NULL || list.failed) {
            status = MC_ENOMEM;
        } else if (list.count[map] > 0) {
            memcpy(copy, list.items[map], list.count[map] * sizeof *copy);
        }
        logs->names[map] = (mc_slices){copy, list.count[map]};
        mc_free(list.items[map]);
    }
    logs->parts = reads.parts;
    return status;
}

mc_status mc_access_logs_compile(const mc_value *object, const char *field, mc_log_writer *writer, mc_access_logs **out,
                                 mc_error *error) {
    const mc_value *list;
    size_t count;
    *out = NULL;
    MC_TRY(mc_value_read_list(object, field, &list, &count, error));
    if (count == 0) {
        return MC_OK;
    }
    if (count > MC_ACCESS_LOGS_MAX) {
        return mc_error_set(error, MC_EINVAL, field, "must have at most %d entries", MC_ACCESS_LOGS_MAX);
    }
    mc_access_logs *logs = mc_calloc(1, sizeof *logs);
    if (logs == NULL) {
        return MC_ENOMEM;
    }
    atomic_init(&logs->refs, 1);
    mc_arena_init(&logs->arena, NULL);
    logs->items = mc_arena_zalloc(&logs->arena, count * sizeof *logs->items);
    mc_status status = logs->items == NULL ? MC_ENOMEM : MC_OK;
    for (size_t i = 0; i < count && status == MC_OK; i++) {
        status = mc_error_in(compile_log(logs, &list[i], writer, error), error, "%s[%zu]", field, i);
    }
    if (status == MC_OK) {
        status = collect_reads(logs);
    }
    if (status != MC_OK) {
        mc_access_logs_unref(logs);
        return status;
    }
    *out = logs;
    return MC_OK;
}

/* --- capturing, on the worker ------------------------------------------------------------------------------------------------- */

static void keep(mc_log_span *span, mc_slice *text) {
    if (text->n == 0) {
        return;
    }
    char *copy = mc_log_span_take(span, text->n);
    if (copy != NULL) {
        memcpy(copy, text->p, text->n);
        text->p = copy;
    }
}

static const void *keep_bytes(mc_log_span *span, const void *from, size_t size) {
    void *copy = from == NULL ? NULL : mc_log_span_take(span, size);
    if (copy != NULL) {
        memcpy(copy, from, size);
    }
    return copy;
}

static const mc_address *keep_address(mc_log_span *span, const mc_address *address) {
    return keep_bytes(span, address, sizeof *address);
}

/* The named headers, each with all it repeats; the names are the formats' own. */
static const mc_headers *keep_headers(mc_log_span *span, const mc_headers *from, mc_slices names) {
    if (from == NULL || names.count == 0) {
        return NULL;
    }
    mc_headers *map = mc_log_span_take(span, sizeof *map);
    mc_header *items = mc_log_span_take(span, names.count * sizeof *items);
    if (map == NULL || items == NULL) {
        return NULL;
    }
    mc_headers_init(map, NULL);
    map->items = items;
    map->cap = names.count;
    for (uint32_t i = 0; i < names.count; i++) { /* formats read the first value */
        mc_slice value = mc_headers_get(from, names.items[i]);
        if (value.p != NULL) {
            keep(span, &value);
            (void)!mc_headers_add_ref(map, mc_header_lookup(names.items[i]), names.items[i], value);
        }
    }
    return map;
}

/* Every header, as often as it is there. */
static const mc_headers *keep_all_headers(mc_log_span *span, const mc_headers *from) {
    mc_headers *map = mc_log_span_take(span, sizeof *map);
    mc_header *items = mc_log_span_take(span, from->live * sizeof *items);
    if (map == NULL || items == NULL) {
        return NULL;
    }
    mc_headers_init(map, NULL);
    map->items = items;
    map->cap = from->live;
    MC_HEADERS_EACH(from, header) {
        mc_slice name = header->name, value = header->value;
        keep(span, &name);
        keep(span, &value);
        (void)!mc_headers_add_ref(map, (mc_header_id)header->id, name, value);
    }
    return map;
}

/* `whole`: the part that says that names are not enough. */
static const mc_headers *keep_map(mc_log_span *span, const mc_headers *from, const mc_access_logs *logs,
                                  mc_header_map which, uint32_t whole) {
    return from != NULL && (logs->parts & whole) ? keep_all_headers(span, from)
                                                 : keep_headers(span, from, logs->names[which]);
}

static void keep_value_into(mc_log_span *span, const mc_value *from, mc_value *to) {
    *to = *from;
    if (from->kind == MC_STRING) {
        keep(span, &to->string);
    } else if (from->kind == MC_LIST || from->kind == MC_OBJECT) {
        mc_value *items = mc_log_span_take(span, from->count * sizeof *items);
        mc_slice *names = from->kind == MC_OBJECT ? mc_log_span_take(span, from->count * sizeof *names) : NULL;
        for (size_t i = 0; i < from->count && !span->full; i++) {
            keep_value_into(span, &from->items[i], &items[i]);
            if (names != NULL) {
                names[i] = from->names[i];
                keep(span, &names[i]);
            }
        }
        to->items = items;
        to->names = names;
    }
}

static const mc_value *keep_value(mc_log_span *span, const mc_value *from) {
    mc_value *to = from == NULL ? NULL : mc_log_span_take(span, sizeof *to);
    if (to != NULL) {
        keep_value_into(span, from, to);
    }
    return to;
}

static void keep_slices(mc_log_span *span, mc_slices *slices) {
    mc_slice *items = (mc_slice *)keep_bytes(span, slices->items, slices->count * sizeof *items);
    for (uint32_t i = 0; items != NULL && i < slices->count; i++) {
        keep(span, &items[i]);
    }
    slices->items = items;
}

static const mc_certificate *keep_certificate(mc_log_span *span, const mc_certificate *from) {
    mc_certificate *cert = (mc_certificate *)keep_bytes(span, from, sizeof *cert);
    if (cert == NULL) {
        return NULL;
    }
    mc_slice *texts[] = {&cert->subject, &cert->issuer,    &cert->serial,        &cert->sha256,       &cert->sha1,
                         &cert->pem,     &cert->chain_pem, &cert->issuer_serial, &cert->issuer_sha256};
    mc_slices *lists[] = {&cert->uri_sans,   &cert->dns_sans,      &cert->ip_sans,      &cert->email_sans,
                          &cert->other_sans, &cert->chain_serials, &cert->chain_sha256, &cert->chain_sha1};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        keep(span, texts[i]);
    }
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        keep_slices(span, lists[i]);
    }
    return cert;
}

static const mc_tls_info *keep_tls(mc_log_span *span, const mc_tls_info *from) {
    mc_tls_info *tls = (mc_tls_info *)keep_bytes(span, from, sizeof *tls);
    if (tls == NULL) {
        return NULL;
    }
    mc_slice *texts[] = {&tls->version, &tls->cipher, &tls->session_id, &tls->sni,
                         &tls->alpn,    &tls->group,  &tls->ja3,        &tls->ja4};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        keep(span, texts[i]);
    }
    tls->peer = keep_certificate(span, tls->peer);
    tls->local = keep_certificate(span, tls->local);
    return tls;
}

static void keep_hosts(mc_log_span *span, mc_stream_info *info) {
    const mc_address **hosts = mc_log_span_take(span, info->attempted_host_count * sizeof *hosts);
    mc_slices names = {info->attempted_host_names, info->attempted_host_count};
    for (uint32_t i = 0; hosts != NULL && i < info->attempted_host_count; i++) {
        hosts[i] = keep_address(span, info->attempted_hosts[i]);
    }
    keep_slices(span, &names);
    info->attempted_hosts = hosts;
    info->attempted_host_names = names.items;
    info->attempted_connections = keep_bytes(span, info->attempted_connections,
                                             info->attempted_connection_count * sizeof *info->attempted_connections);
}

static void keep_texts(mc_log_span *span, mc_stream_info *info, uint32_t parts) {
    mc_slice *texts[] = {
        &info->requested_server_name,
        &info->protocol,
        &info->upstream_protocol,
        &info->route_name,
        &info->virtual_host_name,
        &info->virtual_cluster_name,
        &info->filter_chain_name,
        &info->upstream_cluster,
        &info->upstream_cluster_raw,
        &info->upstream_host_name,
        &info->response_code_details,
        &info->connection_termination_details,
        &info->downstream_failure,
        &info->upstream_failure,
        &info->downstream_close_reason,
        &info->upstream_close_reason,
        &info->downstream_close_type,
        &info->upstream_close_type,
        &info->downstream_endpoint_id,
        &info->upstream_endpoint_id,
        &info->trace_id,
        &info->span_id,
        &info->custom_flags,
        &info->stream_id_text,
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        keep(span, texts[i]);
    }
    if (parts & MC_READS_BODY) {
        keep(span, &info->local_reply_body);
    }
}

static void keep_addresses(mc_log_span *span, mc_stream_info *info) {
    const mc_address **addresses[] = {
        &info->downstream_remote,       &info->downstream_direct_remote, &info->downstream_local,
        &info->downstream_direct_local, &info->upstream_remote,          &info->upstream_local,
        &info->upstream_host,
    };
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        *addresses[i] = keep_address(span, *addresses[i]);
    }
}

static void keep_trees(mc_log_span *span, mc_stream_info *info, uint32_t parts) {
    const mc_value **others[] = {&info->route_metadata,        &info->cluster_metadata,  &info->upstream_metadata,
                                 &info->virtual_host_metadata, &info->listener_metadata, &info->filter_chain_metadata};
    const uint32_t all = MC_READS_OTHER_METADATA;
    info->dynamic_metadata = parts & MC_READS_DYNAMIC_METADATA ? keep_value(span, info->dynamic_metadata) : NULL;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        *others[i] = parts & all ? keep_value(span, *others[i]) : NULL;
    }
    info->node = parts & MC_READS_PLACE ? keep_value(span, info->node) : NULL;
    info->upstream_locality = parts & MC_READS_PLACE ? keep_value(span, info->upstream_locality) : NULL;
    info->filter_state = parts & MC_READS_FILTER_STATE ? keep_value(span, info->filter_state) : NULL;
    info->upstream_filter_state = parts & MC_READS_FILTER_STATE ? keep_value(span, info->upstream_filter_state) : NULL;
}

static uint64_t size_of(uint64_t known, const mc_headers *headers) {
    return known != 0 || headers == NULL ? known : headers->bytes;
}

/* Everything that the formats may read, behind the record. */
static void capture(const mc_access_logs *logs, const mc_stream_info *from, mc_log_span *span) {
    mc_log_record *record = mc_log_span_take(span, sizeof *record);
    if (record == NULL) {
        return;
    }
    mc_stream_info *info = &record->info;
    *info = *from;
    info->request_header_bytes = size_of(from->request_header_bytes, from->request);
    info->response_header_bytes = size_of(from->response_header_bytes, from->response);
    info->response_trailer_bytes = size_of(from->response_trailer_bytes, from->response_trailers);
    info->request = keep_map(span, from->request, logs, MC_MAP_REQUEST, MC_READS_REQUEST);
    info->response = keep_map(span, from->response, logs, MC_MAP_RESPONSE, MC_READS_RESPONSE);
    info->response_trailers = keep_map(span, from->response_trailers, logs, MC_MAP_TRAILERS, MC_READS_TRAILERS);
    keep_texts(span, info, logs->parts);
    keep_addresses(span, info);
    keep_trees(span, info, logs->parts);
    if (logs->parts & MC_READS_TLS) {
        info->downstream_tls = keep_tls(span, info->downstream_tls);
        info->upstream_tls = keep_tls(span, info->upstream_tls);
    } else {
        info->downstream_tls = info->upstream_tls = NULL;
    }
    if (logs->parts & MC_READS_HOSTS) {
        keep_hosts(span, info);
    } else {
        info->attempted_host_count = info->attempted_connection_count = 0;
    }
    mc_time_point *points = (mc_time_point *)keep_bytes(span, info->points, info->point_count * sizeof *points);
    for (uint32_t i = 0; points != NULL && i < info->point_count; i++) {
        keep(span, &points[i].name);
    }
    info->points = points;
}

void mc_access_logs_emit(mc_access_logs *logs, const mc_stream_info *info, const mc_log_port *port) {
    uint64_t wanted = 0;
    mc_log_span span;
    for (uint32_t i = 0; i < logs->count; i++) {
        const mc_log_filter *filter = logs->items[i].filter;
        if (filter == NULL || mc_log_filter_holds(filter, info, port->runtime, port->random)) {
            wanted |= UINT64_C(1) << i;
        }
    }
    if (wanted == 0 || !mc_log_ring_begin(port->ring, &span)) {
        return;
    }
    capture(logs, info, &span);
    if (span.full) {
        if (!mc_log_ring_retry(port->ring, &span)) {
            return;
        }
        capture(logs, info, &span);
        if (span.full) {
            mc_log_ring_give_up(port->ring);
            return;
        }
    }
    mc_log_record *record = (mc_log_record *)span.begin;
    record->wanted = wanted;
    record->logs = mc_access_logs_ref(logs);
    mc_log_writer_published(port->writer, mc_log_ring_publish(port->ring, &span));
}
