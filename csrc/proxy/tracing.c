/* Decisions and contexts; span_text.c writes what a finished span tells. */
#include "proxy/tracing.h"

#include "base/read.h"
#include "proxy/filters/kind.h"
#include "proxy/stream.h"

/* --- compiling ---------------------------------------------------------------------------------------------------------- */

/* A Percent, in parts of `denominator`. */
static mc_status read_percent(const mc_value *object, const char *field, const char *runtime_key, uint32_t denominator,
                              mc_fraction *out, mc_error *error) {
    const mc_value *percent;
    double value = 0;
    *out = (mc_fraction){denominator, denominator, mc_slice_cstr(runtime_key)};
    MC_TRY(mc_value_read_object(object, field, &percent, error));
    if (percent != NULL) {
        MC_TRY(mc_error_in(mc_value_read_double(percent, "value", &value, error), error, "%s", field));
        if (!(value >= 0 && value <= 100)) {
            return mc_error_set(error, MC_EINVAL, field, "must be between 0 and 100");
        }
        /* Envoy rounds to its resolution, and cuts the percents of clients. */
        out->numerator = (uint32_t)(denominator * (value / 100) + (denominator > 100 ? 0.5 : 0));
    }
    return MC_OK;
}

static mc_status read_zipkin(const mc_value *config, const mc_hcm_context *context, mc_tracing *out, mc_error *error) {
    mc_slice cluster = MC_SLICE_NONE, endpoint = MC_SLICE_NONE, option = MC_SLICE_NONE, version = MC_SLICE_NONE;
    out->tracer = MC_TRACER_ZIPKIN;
    out->shared_span_context = true;
    MC_TRY(mc_value_read_bool(config, "shared_span_context", &out->shared_span_context, error));
    MC_TRY(mc_value_read_bool(config, "trace_id_128bit", &out->trace_id_128bit, error));
    MC_TRY(mc_value_read_bool(config, "timestamp_trace_ids", &out->timestamp_trace_ids, error));
    MC_TRY(mc_value_read_string(config, "trace_context_option", &option, error));
    MC_TRY(mc_value_read_string(config, "collector_endpoint_version", &version, error));
    if (mc_slice_eq(version, MC_SLICE("GRPC"))) {
        return mc_error_set(error, MC_EINVAL, "collector_endpoint_version", "GRPC is not supported");
    }
    MC_TRY(mc_value_read_string(config, "collector_cluster", &cluster, error));
    MC_TRY(mc_value_read_string(config, "collector_endpoint", &endpoint, error));
    if (mc_value_get(config, "collector_service") == NULL && (cluster.n == 0 || endpoint.n == 0)) {
        return mc_error_set(error, MC_EINVAL, cluster.n == 0 ? "collector_cluster" : "collector_endpoint",
                            "is required where there is no collector_service");
    }
    out->w3c_too = mc_slice_eq(option, MC_SLICE("USE_B3_WITH_W3C_PROPAGATION"));
    if (cluster.n > 0 && !context->cluster_exists(context->ctx, cluster)) {
        return mc_error_set(error, MC_EINVAL, "collector_cluster", "names an unknown cluster %.*s",
                            MC_SLICE_ARG(cluster));
    }
    return MC_OK;
}

#define SAMPLERS "envoy.extensions.tracers.opentelemetry.samplers.v3."

/* A ParentBased sampler may wrap another. */
static mc_status read_sampler(const mc_value *object, const char *field, mc_sampler *out, mc_error *error) {
    const mc_value *extension, *typed, *percent;
    MC_TRY(mc_value_read_object(object, field, &extension, error));
    if (extension == NULL) {
        return MC_OK;
    }
    MC_TRY(mc_error_in(mc_value_read_object(extension, "typed_config", &typed, error), error, "%s", field));
    mc_slice type = mc_any_type(typed);
    if (mc_slice_eq(type, MC_SLICE(SAMPLERS "AlwaysOnSamplerConfig"))) {
        out->kind = MC_SAMPLER_ALWAYS_ON;
        return MC_OK;
    }
    if (mc_slice_eq(type, MC_SLICE(SAMPLERS "TraceIdRatioBasedSamplerConfig"))) {
        out->kind = MC_SAMPLER_RATIO;
        out->ratio = (mc_fraction){0, 100, MC_SLICE_INIT("")};
        MC_TRY(mc_error_in(mc_value_read_object(typed, "sampling_percentage", &percent, error), error, "%s", field));
        return percent == NULL ? MC_OK
                               : mc_error_in(mc_fraction_read_percent(percent, &out->ratio, error), error, "%s", field);
    }
    if (mc_slice_eq(type, MC_SLICE(SAMPLERS "ParentBasedSamplerConfig")) && !out->parent_first) {
        out->parent_first = true;
        if (mc_value_get(typed, "wrapped_sampler") == NULL) {
            return mc_error_set(error, MC_EINVAL, field, "must have a wrapped_sampler");
        }
        return mc_error_in(read_sampler(typed, "wrapped_sampler", out, error), error, "%s", field);
    }
    return mc_error_set(error, MC_EINVAL, field, "is no supported sampler: %.*s", MC_SLICE_ARG(type));
}

static mc_status read_provider(const mc_value *provider, const mc_hcm_context *context, mc_tracing *out,
                               mc_error *error) {
    const mc_value *typed;
    MC_TRY(mc_value_read_u32(provider, "index", &out->provider, error));
    MC_TRY(mc_value_read_object(provider, "typed_config", &typed, error));
    mc_slice type = mc_any_type(typed);
    if (mc_slice_eq(type, MC_SLICE("envoy.config.trace.v3.ZipkinConfig"))) {
        return mc_error_in(read_zipkin(typed, context, out, error), error, "typed_config");
    }
    if (!mc_slice_eq(type, MC_SLICE("envoy.config.trace.v3.OpenTelemetryConfig"))) {
        return mc_error_set(error, MC_EINVAL, "typed_config", "is no supported tracer: %.*s", MC_SLICE_ARG(type));
    }
    out->tracer = MC_TRACER_OPENTELEMETRY;
    if (mc_value_get(typed, "grpc_service") != NULL && mc_value_get(typed, "http_service") != NULL) {
        return mc_error_set(error, MC_EINVAL, "typed_config", "cannot have both grpc_service and http_service");
    }
    return mc_error_in(read_sampler(typed, "sampler", &out->sampler, error), error, "typed_config");
}

static mc_status read_tracing(mc_arena *arena, const mc_value *value, const mc_hcm_context *context, mc_tracing *out,
                              mc_error *error) {
    const mc_value *provider;
    out->max_path_tag_length = 256;
    MC_TRY(read_percent(value, "client_sampling", MC_TRACING_CLIENT_KEY, 100, &out->client_sampling, error));
    MC_TRY(read_percent(value, "random_sampling", MC_TRACING_RANDOM_KEY, 10000, &out->random_sampling, error));
    MC_TRY(read_percent(value, "overall_sampling", MC_TRACING_OVERALL_KEY, 10000, &out->overall_sampling, error));
    MC_TRY(mc_value_read_bool(value, "verbose", &out->verbose, error));
    MC_TRY(mc_value_read_bool(value, "spawn_upstream_span", &out->spawn_upstream_span, error));
    MC_TRY(mc_value_read_bool(value, "no_context_propagation", &out->no_context_propagation, error));
    MC_TRY(mc_value_read_u32(value, "max_path_tag_length", &out->max_path_tag_length, error));
    MC_TRY(mc_read_operation(arena, value, "operation", &out->operation, error));
    MC_TRY(mc_read_operation(arena, value, "upstream_operation", &out->upstream_operation, error));
    MC_TRY(mc_custom_tags_compile(arena, value, &out->tags, error));
    MC_TRY(mc_value_read_object(value, "provider", &provider, error));
    return provider == NULL ? MC_OK : mc_error_in(read_provider(provider, context, out, error), error, "provider");
}

mc_status mc_tracing_compile(mc_arena *arena, const mc_value *config, const mc_hcm_context *context,
                             const mc_tracing **out, mc_error *error) {
    const mc_value *value;
    *out = NULL;
    MC_TRY(mc_value_read_object(config, "tracing", &value, error));
    if (value == NULL) {
        return MC_OK;
    }
    mc_tracing *tracing = mc_arena_zalloc(arena, sizeof *tracing);
    if (tracing == NULL) {
        return MC_ENOMEM;
    }
    *out = tracing;
    tracing->egress = context->egress;
    MC_TRY(mc_arena_dup(arena, context->node_id, &tracing->node_id));
    MC_TRY(mc_arena_dup(arena, context->node_zone, &tracing->zone));
    return mc_error_in(read_tracing(arena, value, context, tracing, error), error, "tracing");
}

/* --- deciding (TR-1) ------------------------------------------------------------------------------------------------------ */

typedef struct sampling {
    const mc_fraction *client, *random, *overall;
} sampling;

static sampling sampling_of(const mc_stream *stream) {
    const mc_tracing *tracing = stream->hcm->tracing;
    const mc_route_tracing *route = stream->match.route == NULL ? NULL : stream->match.route->tracing;
    return route == NULL ? (sampling){&tracing->client_sampling, &tracing->random_sampling, &tracing->overall_sampling}
                         : (sampling){&route->client_sampling, &route->random_sampling, &route->overall_sampling};
}

static void pack(mc_stream *stream, mc_slice id, mc_trace_reason reason) {
    char digit = mc_trace_reason_digit(reason);
    if (!stream->hcm->pack_trace_reason || id.n != MC_REQUEST_ID_LENGTH || id.p[MC_REQUEST_ID_REASON] == digit) {
        return;
    }
    char *copy = mc_arena_bytes(&stream->arena, id.n);
    if (copy != NULL) {
        memcpy(copy, id.p, id.n);
        copy[MC_REQUEST_ID_REASON] = digit;
        if (mc_headers_set_known_ref(&stream->request, MC_H_X_REQUEST_ID, mc_slice_of(copy, id.n)) != MC_OK) {
            return; /* the id stays as it was: only the next hop decides anew */
        }
    }
}

void mc_tracing_decide(mc_stream *stream) {
    const mc_headers *headers = &stream->request;
    const mc_runtime *runtime = stream->proxy->runtime;
    mc_slice id = mc_headers_get_known(headers, MC_H_X_REQUEST_ID);
    uint64_t number;
    stream->trace_reason = MC_TRACE_NOT_TRACEABLE;
    if (!stream->hcm->use_request_id_for_trace_sampling) {
        stream->trace_reason = MC_TRACE_SAMPLED;
        return;
    }
    if (!mc_request_id_number(id, &number)) {
        return;
    }
    const uint64_t drawn = number % 10000;
    const sampling parts = sampling_of(stream);
    /* An id that is not to be written is not read either. */
    mc_trace_reason reason = stream->hcm->pack_trace_reason ? mc_request_id_reason(id) : MC_TRACE_NOT_TRACEABLE;
    bool decided = false; /* anew: then the id is to say so */
    if (reason == MC_TRACE_NOT_TRACEABLE) {
        if (mc_headers_has(headers, MC_H_X_CLIENT_TRACE_ID) &&
            mc_fraction_holds(parts.client, runtime, mc_random_next(mc_loop_random(stream->proxy->loop)))) {
            reason = MC_TRACE_CLIENT_FORCED;
        } else if (mc_headers_has(headers, MC_H_X_ENVOY_FORCE_TRACE)) {
            reason = MC_TRACE_SERVICE_FORCED;
        } else if (mc_fraction_holds(parts.random, runtime, drawn)) {
            reason = MC_TRACE_SAMPLED;
        }
        decided = reason != MC_TRACE_NOT_TRACEABLE;
    }
    if (reason != MC_TRACE_NOT_TRACEABLE && !mc_fraction_holds(parts.overall, runtime, drawn)) {
        reason = MC_TRACE_NOT_TRACEABLE;
        decided = true;
    }
    stream->trace_reason = (uint8_t)reason;
    if (decided) {
        pack(stream, id, reason);
    }
}

/* --- beginning (TR-2, TR-5, TR-7) -------------------------------------------------------------------------------------------- */

static uint64_t draw(const mc_stream *stream) { return mc_random_next(mc_loop_random(stream->proxy->loop)); }

/* Half a trace id; for those who order traces by them, it begins with the seconds. */
static uint64_t draw_id(const mc_stream *stream) {
    const uint64_t seconds = mc_loop_wall_ms(stream->proxy->loop) / 1000;
    return stream->hcm->tracing->timestamp_trace_ids ? seconds << 32 | draw(stream) >> 32 : draw(stream);
}

static void begin_zipkin(mc_stream *stream, mc_span *span, bool traced) {
    const mc_tracing *tracing = stream->hcm->tracing;
    mc_trace_context *context = &span->context;
    int sampled;
    span->name = mc_headers_get_known(&stream->request, MC_H_AUTHORITY);
    span->shared = span->server && tracing->shared_span_context;
    switch (mc_b3_read(&stream->request, tracing->w3c_too, context, &sampled)) {
    case MC_TRACE_INVALID: span->none = true; return;
    case MC_TRACE_ABSENT:
        context->span = draw(stream);
        context->trace_high = tracing->trace_id_128bit ? draw_id(stream) : 0;
        context->trace_low =
            tracing->timestamp_trace_ids && !tracing->trace_id_128bit ? draw_id(stream) : context->span;
        break;
    case MC_TRACE_PRESENT:
        if (!span->shared) {
            context->parent = context->span;
            context->span = draw(stream);
        }
        break;
    }
    context->sampled = sampled < 0 ? traced : sampled == 1;
}

/* The ratio is of the id's first eight bytes, read as a little-endian number, as Envoy reads them. */
static bool sampled_by(const mc_sampler *sampler, const mc_trace_context *context, const mc_trace_context *parent) {
    if (parent != NULL && sampler->parent_first) {
        return parent->sampled;
    }
    return sampler->kind != MC_SAMPLER_RATIO ||
           mc_fraction_holds(&sampler->ratio, NULL, __builtin_bswap64(context->trace_high));
}

static mc_status begin_opentelemetry(mc_stream *stream, mc_span *span, bool traced) {
    mc_trace_context *context = &span->context;
    span->name = MC_SLICE("ingress");
    if (stream->hcm->tracing->egress) {
        const mc_slice parts[] = {MC_SLICE("egress "), mc_headers_get_known(&stream->request, MC_H_AUTHORITY)};
        MC_TRY(mc_arena_concat(&stream->arena, parts, 2, &span->name));
    }
    switch (mc_w3c_read(&stream->request, context)) {
    case MC_TRACE_INVALID: span->none = true; return MC_OK;
    case MC_TRACE_ABSENT:
        *context = (mc_trace_context){.trace_high = draw(stream), .trace_low = draw(stream), .sampled = traced};
        break;
    case MC_TRACE_PRESENT:
        context->parent = context->span;
        MC_TRY(mc_headers_joined(&stream->request, MC_SLICE("tracestate"), &stream->arena, &span->tracestate));
        break;
    }
    context->span = draw(stream);
    const mc_sampler *sampler = &stream->hcm->tracing->sampler;
    if (sampler->kind != MC_SAMPLER_NONE) {
        context->sampled = sampled_by(sampler, context, context->parent == 0 ? NULL : context);
    }
    context->sampled = context->sampled && traced; /* others only narrow our decision */
    return MC_OK;
}

/* A decorator names the span and, for a neighbour of ours, its side of it. */
static void decorate(mc_stream *stream, mc_span *span) {
    const mc_tracing *tracing = stream->hcm->tracing;
    const mc_route *route = stream->match.route;
    const mc_decorator *decorator = route == NULL ? NULL : route->decorator;
    const bool formatted = tracing->operation != NULL ||
                           (route != NULL && route->tracing != NULL && route->tracing->operation_format != NULL);
    span->formatted = formatted;
    if (formatted) {
        return;
    }
    if (decorator != NULL && decorator->operation.n > 0) {
        span->name = decorator->operation;
        span->decorated = decorator->propagate ? decorator->operation : MC_SLICE_NONE;
    }
    if (tracing->egress) {
        if (span->decorated.n > 0 &&
            mc_headers_set_known_ref(&stream->request, MC_H_X_ENVOY_DECORATOR_OPERATION, span->decorated) != MC_OK) {
            span->decorated = MC_SLICE_NONE;
        }
        return;
    }
    mc_slice given = mc_headers_get_known(&stream->request, MC_H_X_ENVOY_DECORATOR_OPERATION);
    if (given.p != NULL) {
        if (given.n > 0) {
            span->name = given;
            span->decorated = MC_SLICE_NONE;
        }
        mc_headers_remove_known(&stream->request, MC_H_X_ENVOY_DECORATOR_OPERATION);
    }
}

void mc_tracing_start(mc_stream *stream) {
    const mc_tracing *tracing = stream->hcm->tracing;
    const bool traced = stream->trace_reason != MC_TRACE_NOT_TRACEABLE;
    mc_span *span = mc_arena_zalloc(&stream->arena, sizeof *span);
    mc_status status = span == NULL ? MC_ENOMEM : MC_OK;
    if (status == MC_OK) {
        span->start_us = mc_loop_now_us(stream->proxy->loop);
        span->server = !tracing->egress || tracing->spawn_upstream_span;
        switch (tracing->tracer) {
        case MC_TRACER_NONE: span->none = true; break;
        case MC_TRACER_ZIPKIN: begin_zipkin(stream, span, traced); break;
        case MC_TRACER_OPENTELEMETRY: status = begin_opentelemetry(stream, span, traced); break;
        }
    }
    if (status == MC_OK) { /* without memory the request goes on untraced */
        decorate(stream, span);
        stream->span = span;
    }
}

void mc_tracing_forget(mc_stream *stream) {
    if (stream->span != NULL) {
        stream->span->context.sampled = false;
    }
}

/* --- tries ---------------------------------------------------------------------------------------------------------------------- */

mc_span *mc_tracing_spawn(mc_stream *stream, mc_slice cluster) {
    mc_span *parent = stream->span;
    if (parent == NULL || parent->none) {
        return NULL;
    }
    if (!mc_slice_eq(parent->cluster, cluster) && mc_arena_dup(&stream->arena, cluster, &parent->cluster) != MC_OK) {
        parent->cluster = MC_SLICE_NONE; /* its name does */
    }
    if (!(stream->hcm->tracing->spawn_upstream_span || stream->chain->router.start_child_span)) {
        return NULL;
    }
    mc_span *child = mc_arena_zalloc(&stream->arena, sizeof *child);
    const mc_slice name[] = {MC_SLICE("router "), cluster, MC_SLICE(" egress")};
    if (child == NULL || mc_arena_concat(&stream->arena, name, 3, &child->name) != MC_OK) {
        return NULL; /* the request's own context is passed on */
    }
    child->context = parent->context;
    child->context.parent = parent->context.span;
    child->context.span = draw(stream);
    const mc_tracing *tracing = stream->hcm->tracing;
    if (tracing->tracer == MC_TRACER_ZIPKIN && !tracing->egress && !tracing->spawn_upstream_span) {
        child->server = true; /* what start_child_span alone makes is another server's side to Envoy */
        child->shared = tracing->shared_span_context;
        if (child->shared) {
            child->context = parent->context;
        }
    }
    child->tracestate = parent->tracestate;
    child->start_us = mc_loop_now_us(stream->proxy->loop);
    return child;
}

static mc_status inject(const mc_tracing *tracing, const mc_span *span, mc_headers *headers) {
    if (span->none || tracing->no_context_propagation) {
        return MC_OK;
    }
    if (tracing->tracer == MC_TRACER_ZIPKIN) {
        MC_TRY(mc_b3_write(headers, &span->context));
        return tracing->w3c_too ? mc_w3c_write(headers, &span->context) : MC_OK;
    }
    MC_TRY(mc_w3c_write(headers, &span->context));
    return mc_headers_set(headers, MC_SLICE("tracestate"), span->tracestate);
}

mc_status mc_tracing_inject(mc_stream *stream, const mc_span *child) {
    const mc_span *span = child != NULL ? child : stream->span;
    return span == NULL ? MC_OK : inject(stream->hcm->tracing, span, &stream->request);
}

mc_shadow_span *mc_tracing_spawn_shadow(mc_stream *stream, mc_headers *copy, mc_slice cluster, int8_t sampled) {
    const mc_span *parent = stream->span;
    if (parent->none) {
        return NULL;
    }
    mc_shadow_span *shadow = mc_arena_zalloc(copy->arena, sizeof *shadow);
    if (shadow == NULL) {
        return NULL; /* the copy goes on without a span of its own */
    }
    mc_span *span = &shadow->span;
    span->context = parent->context;
    span->context.parent = parent->context.span;
    span->context.span = draw(stream);
    span->context.sampled = sampled < 0 ? parent->context.sampled : sampled == 1;
    span->start_us = mc_loop_now_us(stream->proxy->loop);
    if (mc_arena_dup(copy->arena, cluster, &span->name) != MC_OK ||
        mc_arena_dup(copy->arena, parent->tracestate, &span->tracestate) != MC_OK ||
        inject(stream->hcm->tracing, span, copy) != MC_OK) {
        return NULL;
    }
    shadow->pin = mc_hcm_pin_ref(stream->pin);
    return shadow;
}

/* --- the response (TR-2, ST-2) ------------------------------------------------------------------------------------------------------ */

static void count(const mc_stream *stream) {
    const mc_hcm_stats *stats = &stream->hcm->stats;
    const mc_stat by_reason[] = {
        [MC_TRACE_NOT_TRACEABLE] = stats->tracing.not_traceable,
        [MC_TRACE_SAMPLED] = stats->tracing.random_sampling,
        [MC_TRACE_SERVICE_FORCED] = stats->tracing.service_forced,
        [MC_TRACE_CLIENT_FORCED] = stats->tracing.client_enabled,
    };
    const mc_trace_reason reason = stream->health_check ? MC_TRACE_NOT_TRACEABLE : stream->trace_reason;
    mc_counter_inc(stream->proxy->slab, by_reason[reason]);
    if (MC_UNLIKELY(stream->health_check)) { /* counts as either */
        mc_counter_inc(stream->proxy->slab, stats->tracing.health_check);
    }
}

void mc_tracing_response(mc_stream *stream) {
    mc_span *span = stream->span;
    count(stream);
    if (span == NULL || span->formatted) {
        return;
    }
    if (!stream->hcm->tracing->egress) {
        if (span->decorated.n > 0 &&
            mc_headers_set_known_ref(stream->response, MC_H_X_ENVOY_DECORATOR_OPERATION, span->decorated) != MC_OK) {
            span->decorated = MC_SLICE_NONE;
        }
        return;
    }
    mc_slice given = mc_headers_get_known(stream->response, MC_H_X_ENVOY_DECORATOR_OPERATION);
    if (given.p != NULL) {
        span->name = given.n > 0 ? given : span->name;
        mc_headers_remove_known(stream->response, MC_H_X_ENVOY_DECORATOR_OPERATION);
    }
}

void mc_tracing_tell(mc_stream *stream, mc_stream_info *info) {
    mc_span *span = stream->span;
    info->trace_reason = stream->trace_reason;
    if (span != NULL && !span->none) {
        const bool wide = stream->hcm->tracing->tracer == MC_TRACER_OPENTELEMETRY;
        info->trace_id = mc_slice_of(span->trace_text, mc_trace_id_text(&span->context, wide, span->trace_text));
        if (wide) { /* of Zipkin's Envoy tells none */
            info->span_id = mc_slice_of(span->span_text, mc_span_id_text(span->context.span, span->span_text));
        }
    }
}
