/* What a finished span tells (TR-3, TR-4): a JSON object for the control side's exporters. */
#include "http/grpc.h"
#include "proxy/stream.h"
#include "proxy/tracing.h"

typedef struct writer {
    mc_text text;
    bool first;       /* of the tags */
    bool keeps_empty; /* tags */
} writer;

static void tag(writer *out, mc_slice name, mc_slice value) {
    if (value.n == 0 && !out->keeps_empty) {
        return;
    }
    if (!out->first) {
        mc_text_lit(&out->text, ",");
    }
    out->first = false;
    mc_text_json(&out->text, name);
    mc_text_lit(&out->text, ":");
    mc_text_json(&out->text, value);
}
#define TAG(out, name, value) tag(out, MC_SLICE(name), value)

static mc_slice or_dash(mc_slice value) { return value.p == NULL ? MC_SLICE("-") : value; }

static void number_tag(writer *out, mc_slice name, uint64_t value) {
    char digits[20];
    tag(out, name, mc_slice_of(digits, mc_format_u64(digits, value)));
}

static void field(writer *out, const char *name, mc_slice value) {
    mc_text_lit(&out->text, ",\"");
    mc_text_add(&out->text, mc_slice_cstr(name));
    mc_text_lit(&out->text, "\":");
    mc_text_json(&out->text, value);
}

static void number_field(writer *out, const char *name, uint64_t value) {
    mc_text_lit(&out->text, ",\"");
    mc_text_add(&out->text, mc_slice_cstr(name));
    mc_text_lit(&out->text, "\":");
    mc_text_u64(&out->text, value);
}

/* --- what both kinds of span tell --------------------------------------------------------------------------------------------- */

static uint64_t wall_us(const mc_loop *loop, uint64_t at_us) {
    return mc_loop_wall_ms(loop) * 1000 - (mc_loop_now_us(loop) - at_us);
}

/* A point of time as an annotation; MC_NO_TIME: it did not come. */
static void annotate(writer *out, mc_slice name, uint64_t start_us, uint64_t after_ns, bool *any) {
    if (after_ns != MC_NO_TIME) {
        mc_text_add(&out->text, *any ? MC_SLICE(",[") : MC_SLICE("["));
        mc_text_json(&out->text, name);
        mc_text_lit(&out->text, ",");
        mc_text_u64(&out->text, start_us + after_ns / 1000);
        mc_text_lit(&out->text, "]");
        *any = true;
    }
}

static void annotations(writer *out, const mc_stream_info *info, bool upstream) {
    const uint64_t start = info->start_ns / 1000;
    bool any = false;
    mc_text_lit(&out->text, ",\"annotations\":[");
    if (!upstream) {
        annotate(out, MC_SLICE("last_downstream_rx_byte_received"), start, info->at.request_end, &any);
    }
    annotate(out, MC_SLICE("first_upstream_tx_byte_sent"), start, info->at.upstream_send_begin, &any);
    annotate(out, MC_SLICE("last_upstream_tx_byte_sent"), start, info->at.upstream_send_end, &any);
    annotate(out, MC_SLICE("first_upstream_rx_byte_received"), start, info->at.upstream_receive_begin, &any);
    annotate(out, MC_SLICE("last_upstream_rx_byte_received"), start, info->at.upstream_receive_end, &any);
    if (!upstream) {
        annotate(out, MC_SLICE("first_downstream_tx_byte_sent"), start, info->at.response_begin, &any);
        annotate(out, MC_SLICE("last_downstream_tx_byte_sent"), start, info->at.response_end, &any);
    }
    mc_text_lit(&out->text, "]");
}

static void begin(writer *out, const mc_loop *loop, const mc_tracing *tracing, const mc_span *span, mc_slice name) {
    char id[MC_TRACE_ID_TEXT];
    mc_text_init(&out->text);
    out->first = true;
    out->keeps_empty = tracing->tracer != MC_TRACER_ZIPKIN; /* whose tags all have values */
    mc_text_lit(&out->text, "{\"provider\":");
    mc_text_u64(&out->text, tracing->provider);
    bool wide = tracing->tracer == MC_TRACER_OPENTELEMETRY;
    field(out, "trace_id", mc_slice_of(id, mc_trace_id_text(&span->context, wide, id)));
    field(out, "id", mc_slice_of(id, mc_span_id_text(span->context.span, id)));
    if (span->context.parent != 0) {
        field(out, "parent_id", mc_slice_of(id, mc_span_id_text(span->context.parent, id)));
    }
    field(out, "name", name);
    field(out, "kind", span->server ? MC_SLICE("SERVER") : MC_SLICE("CLIENT"));
    number_field(out, "timestamp", wall_us(loop, span->start_us));
    number_field(out, "duration", mc_loop_now_us(loop) - span->start_us);
    if (span->shared) {
        mc_text_lit(&out->text, ",\"shared\":true");
    }
    if (span->tracestate.n > 0) {
        field(out, "tracestate", span->tracestate);
    }
}

static void begin_tags(writer *out, const mc_tracing *tracing, const mc_stream_info *info, bool upstream) {
    if (tracing->verbose && info != NULL) {
        annotations(out, info, upstream);
    }
    mc_text_lit(&out->text, ",\"tags\":{");
}

static bool has_tag(const mc_custom_tags *tags, mc_slice name) {
    for (uint32_t i = 0; tags != NULL && i < tags->count; i++) {
        if (mc_slice_eq(tags->items[i].name, name)) {
            return true;
        }
    }
    return false;
}

/* Those that `stronger`, which may be NULL, has not: its own, without a value, leaves none. */
static void custom_tags(writer *out, const mc_custom_tags *tags, const mc_custom_tags *stronger,
                        const mc_stream_info *info) {
    for (uint32_t i = 0; i < tags->count; i++) {
        const mc_custom_tag *one = &tags->items[i];
        if (has_tag(stronger, one->name)) {
            continue;
        }
        mc_text value;
        mc_text_init(&value);
        const bool present = mc_format_run_present(one->value, info, &value);
        mc_slice text = present ? mc_text_slice(&value) : one->otherwise;
        if ((text.n > 0 || (present && one->keeps_empty)) && !value.failed) {
            tag(out, one->name, text);
        }
        mc_text_fini(&value);
    }
}

/* A name that comes twice has its last value. */
static void outcome_tags(writer *out, mc_slice cluster, mc_slice cluster_name, uint16_t status, uint64_t flags,
                         uint64_t flag_order) {
    char text[256];
    TAG(out, "component", MC_SLICE("proxy"));
    if (cluster.p != NULL) {
        TAG(out, "upstream_cluster", cluster);
        TAG(out, "upstream_cluster.name", cluster_name);
    }
    number_tag(out, MC_SLICE("http.status_code"), status);
    TAG(out, "response_flags", mc_slice_of(text, mc_flags_text_ordered(flags, flag_order, text, sizeof text)));
    if (status == 0 || (status >= 500 && status < 600)) {
        TAG(out, "error", MC_SLICE("true"));
    }
}

static void common_tags(writer *out, const mc_stream *stream, uint16_t status, uint64_t flags, uint64_t flag_order,
                        const mc_stream_info *info) {
    const mc_route *route = stream->match.route;
    const mc_slice cluster = stream->attempts > 0 ? stream->match.cluster : MC_SLICE_NONE;
    const mc_slice told = stream->span->cluster;
    outcome_tags(out, cluster, told.n == 0 ? cluster : told, status, flags, flag_order);
    if (info != NULL) {
        const mc_custom_tags *of_route = route == NULL || route->tracing == NULL ? NULL : &route->tracing->tags;
        custom_tags(out, &stream->hcm->tracing->tags, of_route, info);
        if (of_route != NULL) {
            custom_tags(out, of_route, NULL, info);
        }
    }
}

static mc_slice grpc_field(const mc_headers *headers, const mc_headers *trailers, mc_header_id id) {
    mc_slice value = trailers == NULL ? MC_SLICE_NONE : mc_headers_get_known(trailers, id);
    return value.p != NULL || headers == NULL ? value : mc_headers_get_known(headers, id);
}

static void grpc_response_tags(writer *out, const mc_headers *headers, const mc_headers *trailers) {
    enum { ERRORS = 1 << 2 | 1 << 4 | 1 << 8 | 1 << 12 | 1 << 13 | 1 << 14 | 1 << 15 };
    mc_slice status = grpc_field(headers, trailers, MC_H_GRPC_STATUS);
    mc_slice message = grpc_field(headers, trailers, MC_H_GRPC_MESSAGE);
    uint64_t number = 0;
    if (status.p == NULL) {
        return;
    }
    TAG(out, "grpc.status_code", status);
    if (message.p != NULL) {
        TAG(out, "grpc.message", message);
    }
    if (mc_slice_u64(status, &number) == MC_OK && number <= 16 && (ERRORS >> number & 1) != 0) {
        TAG(out, "error", MC_SLICE("true"));
    }
}

static void end(writer *out, mc_proxy *proxy) {
    mc_text_lit(&out->text, "}}");
    if (mc_span_ring_push(&proxy->spans, &out->text) && proxy->on_spans != NULL) {
        proxy->on_spans(proxy->ctx);
    }
}

/* Operation formats replace the name (TR-2). The text is the caller's to free. */
static mc_slice named(const mc_format *format, const mc_stream_info *info, mc_slice name, mc_text *text) {
    mc_text_init(text);
    if (format != NULL && info != NULL) {
        mc_format_run(format, info, text);
    }
    return text->n > 0 && !text->failed ? mc_text_slice(text) : name;
}

/* --- the request's span ----------------------------------------------------------------------------------------------------------- */

static void url_tag(writer *out, const mc_stream *stream) {
    const mc_headers *headers = &stream->request;
    mc_slice path = mc_headers_get_known(headers, MC_H_X_ENVOY_ORIGINAL_PATH);
    if (path.p == NULL) {
        path = mc_headers_get_known(headers, MC_H_PATH);
    }
    const mc_slice parts[] = {mc_headers_get_known(headers, MC_H_SCHEME), MC_SLICE("://"),
                              mc_headers_get_known(headers, MC_H_AUTHORITY),
                              mc_slice_until(path, stream->hcm->tracing->max_path_tag_length)};
    mc_text url;
    mc_text_init(&url);
    for (size_t i = 0; i < 4; i++) {
        mc_text_add(&url, parts[i]);
    }
    TAG(out, "http.url", mc_text_slice(&url));
    mc_text_fini(&url);
}

static void header_tag(writer *out, const mc_stream *stream, mc_slice name, mc_header_id id) {
    mc_slice value = mc_headers_get_known(&stream->request, id);
    if (value.p != NULL) {
        tag(out, name, value);
    }
}

static void request_tags(writer *out, const mc_stream *stream) {
    const mc_headers *headers = &stream->request;
    char address[MC_ADDRESS_TEXT];
    header_tag(out, stream, MC_SLICE("guid:x-request-id"), MC_H_X_REQUEST_ID);
    url_tag(out, stream);
    TAG(out, "http.method", mc_headers_get_known(headers, MC_H_METHOD));
    TAG(out, "downstream_cluster", or_dash(mc_headers_get_known(headers, MC_H_X_ENVOY_DOWNSTREAM_SERVICE_CLUSTER)));
    TAG(out, "user_agent", or_dash(mc_headers_get_known(headers, MC_H_USER_AGENT)));
    TAG(out, "http.protocol", stream->head.version_minor == 0 ? MC_SLICE("HTTP/1.0") : MC_SLICE("HTTP/1.1"));
    const mc_address *peer = mc_downstream_peer(stream->downstream);
    TAG(out, "peer.address", mc_slice_of(address, mc_address_ip(peer, address)));
    header_tag(out, stream, MC_SLICE("guid:x-client-trace-id"), MC_H_X_CLIENT_TRACE_ID);
    if (mc_grpc_request(headers)) {
        header_tag(out, stream, MC_SLICE("grpc.path"), MC_H_PATH);
        header_tag(out, stream, MC_SLICE("grpc.authority"), MC_H_AUTHORITY);
        header_tag(out, stream, MC_SLICE("grpc.content_type"), MC_H_CONTENT_TYPE);
        header_tag(out, stream, MC_SLICE("grpc.timeout"), MC_H_GRPC_TIMEOUT);
    }
}

void mc_tracing_finish(mc_stream *stream) {
    const mc_tracing *tracing = stream->hcm->tracing;
    const mc_span *span = stream->span;
    if (span->none || !span->context.sampled || stream->health_check) {
        return;
    }
    const mc_stream_info *info = mc_stream_collect_info(stream);
    const mc_route_tracing *route = stream->match.route == NULL ? NULL : stream->match.route->tracing;
    const mc_format *operation =
        route != NULL && route->operation_format != NULL ? route->operation_format : tracing->operation;
    writer out;
    mc_text name;
    begin(&out, stream->proxy->loop, tracing, span, named(operation, info, span->name, &name));
    begin_tags(&out, tracing, info, false);
    TAG(&out, "node_id", tracing->node_id);
    TAG(&out, "zone", tracing->zone);
    request_tags(&out, stream);
    number_tag(&out, MC_SLICE("request_size"), stream->bytes_received);
    number_tag(&out, MC_SLICE("response_size"), stream->bytes_sent);
    common_tags(&out, stream, stream->status, stream->flags, stream->flag_order, info);
    grpc_response_tags(&out, stream->response, stream->response_trailers);
    end(&out, stream->proxy);
    mc_text_fini(&name);
}

/* --- a try's span ------------------------------------------------------------------------------------------------------------------- */

static void try_tags(writer *out, const mc_span_end *how) {
    if (how->retries > 0) {
        number_tag(out, MC_SLICE("retry.count"), how->retries);
    }
    if (how->reset_reason.n > 0) {
        if (how->status != 0) { /* without a status the outcome says it */
            TAG(out, "error", MC_SLICE("true"));
        }
        TAG(out, "error.reason", how->reset_reason);
    }
    if (how->canceled) {
        TAG(out, "canceled", MC_SLICE("true"));
    }
    TAG(out, "http.protocol", how->connected ? MC_SLICE("HTTP/1.1") : MC_SLICE("-"));
    if (how->upstream != NULL) {
        char address[MC_ADDRESS_TEXT];
        mc_slice upstream = mc_slice_of(address, mc_address_text(how->upstream, address));
        TAG(out, "upstream_address", upstream);
        TAG(out, "peer.address", upstream);
    }
}

void mc_tracing_finish_child(mc_stream *stream, const mc_span *child, const mc_span_end *how) {
    const mc_tracing *tracing = stream->hcm->tracing;
    if (!child->context.sampled || stream->health_check) {
        return;
    }
    const mc_route_tracing *route = stream->match.route == NULL ? NULL : stream->match.route->tracing;
    const mc_format *operation = route != NULL && route->upstream_operation_format != NULL
                                     ? route->upstream_operation_format
                                     : tracing->upstream_operation;
    const mc_stream_info *whole = mc_stream_collect_info(stream);
    mc_stream_info info;
    if (whole != NULL) { /* what formats read of the try */
        info = *whole;
        info.status = how->status;
        info.flags = how->flags;
        info.flag_order = how->flag_order;
        info.response = how->headers;
        info.response_trailers = how->trailers;
    }
    writer out;
    mc_text name;
    const mc_stream_info *seen = whole == NULL ? NULL : &info;
    begin(&out, stream->proxy->loop, tracing, child, named(operation, seen, child->name, &name));
    begin_tags(&out, tracing, seen, true);
    try_tags(&out, how);
    common_tags(&out, stream, how->status, how->flags, how->flag_order, seen);
    grpc_response_tags(&out, how->headers, how->trailers);
    end(&out, stream->proxy);
    mc_text_fini(&name);
}

void mc_tracing_finish_shadow(mc_shadow_span *shadow, mc_proxy *proxy, const mc_span_end *how) {
    const mc_tracing *tracing = shadow->pin->hcm->tracing;
    const mc_span *span = &shadow->span;
    if (span->context.sampled) {
        writer out;
        begin(&out, proxy->loop, tracing, span, span->name);
        begin_tags(&out, tracing, NULL, true);
        try_tags(&out, how);
        outcome_tags(&out, span->name, span->name, how->status, how->flags, how->flag_order);
        grpc_response_tags(&out, how->headers, NULL);
        end(&out, proxy);
    }
    mc_hcm_pin_unref(shadow->pin);
}
