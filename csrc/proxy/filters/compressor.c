/* compressor (FL-41 to FL-44): responses, and where configured requests, compressed for who accepts it. */
#include "http/coding.h"
#include "proxy/filters/compressor_config.h"
#include "proxy/stream.h"

typedef struct state {
    mc_slice accept; /* what the client accepts; p == NULL: it does not say */
    bool decided;    /* what follows was */
    mc_coding_reason reason;
    mc_slice chosen;           /* the coding; empty: none */
    void *streams[2];          /* by mc_direction */
    const mc_codec *codecs[2]; /* of streams */
} state;

static const mc_filter_type filter_type;

static const mc_compressor_library *library_of(mc_filter *filter) {
    const mc_compressor *config = mc_filter_get_config(filter);
    for (const mc_route_filter *at = mc_filter_route(filter); at != NULL; at = at->outer) {
        const mc_compressor_route *route = at->config;
        if (route != NULL) {
            return route->library.codec == NULL ? &config->library : &route->library;
        }
    }
    return &config->library;
}

static mc_slice coding_of(mc_filter *filter) { return mc_slice_cstr(library_of(filter)->codec->name); }

/* --- conditions ---------------------------------------------------------------------------------------------------------- */

static bool response_enabled(mc_filter *filter, const mc_compressor *config) {
    const mc_compressor_route *route = NULL;
    for (const mc_route_filter *at = mc_filter_route(filter); at != NULL && route == NULL; at = at->outer) {
        route = at->config;
    }
    if (route != NULL && (route->disabled || route->response)) {
        return !route->disabled;
    }
    return config->response.set && mc_feature_flag_on(&config->response.enabled, mc_filter_runtime(filter));
}

static bool hides_accept(mc_filter *filter, const mc_compressor *config) {
    for (const mc_route_filter *at = mc_filter_route(filter); at != NULL; at = at->outer) {
        const mc_compressor_route *route = at->config;
        if (route != NULL) {
            return route->hide_accept < 0 ? config->hide_accept : route->hide_accept == 1;
        }
    }
    return config->hide_accept;
}

static bool has_token(mc_slice list, const char *token) {
    mc_slice item;
    while (mc_slice_next(&list, ',', &item)) {
        if (mc_slice_ieq(item, mc_slice_cstr(token))) {
            return true;
        }
    }
    return false;
}

static bool length_allowed(mc_filter *filter, const mc_compressor_side *side, const mc_headers *headers) {
    uint64_t length;
    mc_slice text = mc_headers_get_known(headers, MC_H_CONTENT_LENGTH);
    if (text.p == NULL || (mc_slice_u64(text, &length) == MC_OK && length >= side->min_length)) {
        return true;
    }
    mc_counter_inc(mc_filter_slab(filter), side->stats.content_length_too_small);
    return false;
}

static bool type_allowed(const mc_compressor_side *side, const mc_headers *headers) {
    mc_slice type = mc_headers_get_known(headers, MC_H_CONTENT_TYPE);
    if (type.p == NULL || side->type_count == 0) {
        return true;
    }
    type = mc_slice_trim(mc_slice_until(type, mc_slice_find(type, ';')));
    for (uint32_t i = 0; i < side->type_count; i++) {
        if (mc_slice_ieq(side->types[i], type)) {
            return true;
        }
    }
    return false;
}

static bool etag_allowed(mc_filter *filter, const mc_compressor *config, const mc_headers *headers, bool counts) {
    if (!config->refuse_etag || !mc_headers_has(headers, MC_H_ETAG)) {
        return true;
    }
    if (counts) {
        mc_counter_inc(mc_filter_slab(filter), config->stats.not_compressed_etag);
    }
    return false;
}

static bool code_allowed(const mc_compressor *config, const mc_headers *headers) {
    uint64_t status;
    if (mc_slice_u64(mc_headers_get_known(headers, MC_H_STATUS), &status) == MC_OK) {
        for (uint32_t i = 0; i < config->refused_count; i++) {
            if (config->refused_codes[i] == status) {
                return false;
            }
        }
    }
    return true;
}

static bool transfer_allowed(mc_filter *filter, const mc_headers *headers) {
    mc_slice codings = mc_headers_get_known(headers, MC_H_TRANSFER_ENCODING);
    return codings.p == NULL || (!has_token(codings, "gzip") && !has_token(codings, "deflate") &&
                                 !has_token(codings, library_of(filter)->codec->name));
}

/* The codings of the chain's compressors that take this content type, whether or not they are on here (FL-42). As Envoy: of
 * what routes say, only the asking compressor's own library counts. */
static unsigned list_codings(mc_filter *filter, const mc_headers *headers, mc_coding out[MC_CODING_MAX]) {
    const mc_stream *stream = mc_filter_stream(filter);
    unsigned count = 0;
    const bool typed = mc_headers_get_known(headers, MC_H_CONTENT_TYPE).n > 0;
    for (uint32_t i = 0; i < stream->filters.count && count < MC_CODING_MAX; i++) {
        const mc_compressor *config =
            stream->filters.items[i].type == &filter_type ? stream->filters.items[i].config : NULL;
        if (config == NULL || (typed && !type_allowed(&config->response, headers))) {
            continue;
        }
        const bool own = &stream->filters.items[i] == filter;
        const mc_slice name = own ? coding_of(filter) : mc_slice_cstr(config->library.codec->name);
        unsigned at = 0;
        while (at < count && !mc_slice_eq(out[at].name, name)) {
            at++;
        }
        if (at == count) {
            out[count++] = (mc_coding){name, config->choose_first};
        }
    }
    return count;
}

/* The decision of the first compressor that was asked is that of all. */
static void decide(mc_filter *filter, state *state, const mc_headers *headers) {
    mc_stream *stream = mc_filter_stream(filter);
    mc_coding codings[MC_CODING_MAX];
    for (uint32_t i = 0; i < stream->filters.count; i++) {
        const struct state *other =
            stream->filters.items[i].type == &filter_type ? stream->filters.items[i].state : NULL;
        if (other != NULL && other->decided) {
            state->reason = other->reason;
            state->chosen = other->chosen;
            return;
        }
    }
    const unsigned count = list_codings(filter, headers, codings);
    const int chosen = mc_coding_choose(state->accept, codings, count, &state->reason);
    state->chosen = chosen < 0 ? MC_SLICE_NONE : codings[chosen].name;
    state->decided = true;
}

static bool accepted(mc_filter *filter, const mc_compressor *config, state *state, const mc_headers *headers) {
    mc_slab *slab = mc_filter_slab(filter);
    if (state->accept.p == NULL) {
        mc_counter_inc(slab, config->stats.no_accept_header);
        return false;
    }
    decide(filter, state, headers);
    const bool chosen = mc_slice_eq(state->chosen, coding_of(filter));
    const mc_stat stats[] = {
        [MC_CODING_NO_HEADER] = config->stats.no_accept_header,
        [MC_CODING_IDENTITY] = config->stats.header_identity,
        [MC_CODING_WILDCARD] = config->stats.header_wildcard,
        [MC_CODING_COMPRESSOR] =
            chosen ? config->stats.header_compressor_used : config->stats.header_compressor_overshadowed,
        [MC_CODING_NOT_VALID] = config->stats.header_not_valid,
    };
    mc_counter_inc(slab, stats[state->reason]);
    return chosen;
}

/* --- bodies ---------------------------------------------------------------------------------------------------------------- */

static mc_status begin(mc_filter *filter, mc_direction direction, mc_headers *headers, mc_header_id encoding) {
    const mc_compressor_library *library = library_of(filter);
    state *state = mc_filter_get_state(filter);
    state->codecs[direction] = library->codec;
    state->streams[direction] = library->codec->open(library->config, true);
    mc_headers_remove_known(headers, MC_H_CONTENT_LENGTH);
    return state->streams[direction] == NULL
               ? MC_ENOMEM
               : mc_headers_set_known_ref(headers, encoding, mc_slice_cstr(library->codec->name));
}

/* What comes out goes on; with `end_stream` as the last of the body. */
static mc_filter_status transform(mc_filter *filter, mc_direction direction, mc_slice data, bool finish,
                                  bool end_stream) {
    const mc_compressor *config = mc_filter_get_config(filter);
    const state *state = mc_filter_get_state(filter);
    const mc_compressor_side *side = direction == MC_DECODE ? &config->request : &config->response;
    mc_buffer out;
    mc_buffer_init(&out, mc_net_chunks(mc_filter_stream(filter)->proxy->net));
    if (state->codecs[direction]->run(state->streams[direction], data, finish, &out) != MC_OK) {
        mc_buffer_clear(&out);
        return mc_filter_out_of_memory(filter);
    }
    mc_counter_add(mc_filter_slab(filter), side->stats.total_uncompressed_bytes, data.n);
    mc_counter_add(mc_filter_slab(filter), side->stats.total_compressed_bytes, out.length);
    mc_codec_give(filter, direction, &out, end_stream);
    return MC_FILTER_CONSUMED;
}

/* --- requests -------------------------------------------------------------------------------------------------------------- */

static bool compress_request(mc_filter *filter, const mc_compressor *config, const mc_headers *headers) {
    const mc_compressor_side *side = &config->request;
    return side->set && mc_feature_flag_on(&side->enabled, mc_filter_runtime(filter)) &&
           !mc_filter_stream(filter)->upgrade && length_allowed(filter, side, headers) && type_allowed(side, headers) &&
           !mc_headers_has(headers, MC_H_CONTENT_ENCODING) && transfer_allowed(filter, headers);
}

static mc_filter_status decode_headers(mc_filter *filter, mc_headers *headers, bool end_stream) {
    const mc_compressor *config = mc_filter_get_config(filter);
    state *state = mc_arena_zalloc(mc_filter_arena(filter), sizeof *state);
    mc_slab *slab = mc_filter_slab(filter);
    if (state == NULL ||
        mc_headers_joined(headers, MC_SLICE("accept-encoding"), mc_filter_arena(filter), &state->accept) != MC_OK) {
        return mc_filter_out_of_memory(filter);
    }
    mc_filter_set_state(filter, state);
    if (response_enabled(filter, config) && hides_accept(filter, config)) {
        mc_headers_remove_known(headers, MC_H_ACCEPT_ENCODING);
    }
    if (!end_stream && compress_request(filter, config, headers)) {
        mc_counter_inc(slab, config->request.stats.compressed);
        if (begin(filter, MC_DECODE, headers, MC_H_CONTENT_ENCODING) != MC_OK) {
            return mc_filter_out_of_memory(filter);
        }
    } else {
        mc_counter_inc(slab, config->request.stats.not_compressed);
    }
    return MC_FILTER_CONTINUE;
}

static mc_filter_status data(mc_filter *filter, mc_direction direction, mc_slice bytes, bool end_stream) {
    const state *state = mc_filter_get_state(filter);
    return state == NULL || state->streams[direction] == NULL
               ? MC_FILTER_CONTINUE
               : transform(filter, direction, bytes, end_stream, end_stream);
}

static mc_filter_status decode_data(mc_filter *filter, mc_slice bytes, bool end_stream) {
    return data(filter, MC_DECODE, bytes, end_stream);
}

static mc_filter_status trailers(mc_filter *filter, mc_direction direction) {
    const state *state = mc_filter_get_state(filter);
    if (state == NULL || state->streams[direction] == NULL) {
        return MC_FILTER_CONTINUE;
    }
    mc_filter_status status = transform(filter, direction, MC_SLICE_NONE, true, false);
    return status == MC_FILTER_CONSUMED ? MC_FILTER_CONTINUE : status;
}

static mc_filter_status decode_trailers(mc_filter *filter, mc_headers *map) { return trailers(filter, MC_DECODE); }

/* --- responses ------------------------------------------------------------------------------------------------------------- */

/* As Envoy: the very spelling counts. */
static bool varies(mc_slice vary) {
    mc_slice item;
    while (mc_slice_next(&vary, ',', &item)) {
        if (mc_slice_eq(item, MC_SLICE("Accept-Encoding"))) {
            return true;
        }
    }
    return false;
}

static mc_status add_vary(mc_headers *headers) {
    mc_slice vary = mc_headers_get_known(headers, MC_H_VARY);
    if (vary.n == 0) { /* an empty line is an item */
        bool empty = mc_headers_has(headers, MC_H_VARY);
        return mc_headers_set_known_ref(headers, MC_H_VARY,
                                        empty ? MC_SLICE(", Accept-Encoding") : MC_SLICE("Accept-Encoding"));
    }
    return varies(vary) ? MC_OK
                        : mc_headers_append_value(headers, MC_H_VARY, MC_SLICE(", "), MC_SLICE("Accept-Encoding"));
}

static mc_status add_status(mc_filter *filter, mc_headers *headers, const char *what, const char *then,
                            mc_slice length) {
    mc_slice parts[] = {coding_of(filter), MC_SLICE(";"), mc_slice_cstr(what), mc_slice_cstr(then), length};
    mc_slice text;
    MC_TRY(mc_arena_concat(mc_filter_arena(filter), parts, 5, &text));
    return mc_headers_add(headers, MC_SLICE("x-envoy-compression-status"), text);
}

/* The bytes will differ: no strong validator is left (RFC 9110, section 8.8.1). */
static mc_status change_etag(mc_filter *filter, const mc_compressor *config, mc_headers *headers) {
    const mc_slice etag = mc_headers_get_known(headers, MC_H_ETAG);
    if (etag.p == NULL || mc_slice_ieq(mc_slice_until(etag, 2), MC_SLICE("W/"))) {
        return MC_OK;
    }
    if (!config->weaken_etag) {
        mc_headers_remove_known(headers, MC_H_ETAG);
        return MC_OK;
    }
    mc_slice weak;
    MC_TRY(mc_arena_concat(mc_filter_arena(filter), (mc_slice[]){MC_SLICE("W/"), etag}, 2, &weak));
    return mc_headers_set_known_ref(headers, MC_H_ETAG, weak);
}

static mc_status begin_response(mc_filter *filter, const mc_compressor *config, mc_headers *headers) {
    MC_TRY(change_etag(filter, config, headers));
    if (config->tell_status) {
        MC_TRY(add_status(filter, headers, "Compressed",
                          ";OriginalLength=", mc_headers_get_known(headers, MC_H_CONTENT_LENGTH)));
    }
    return begin(filter, MC_ENCODE, headers, MC_H_CONTENT_ENCODING);
}

/* The first condition that failed, for the header that tells it; NULL: none of those that are told. */
static const char *refusal(bool length, bool type, bool etag, bool code) {
    return !length ? "ContentLengthTooSmall"
           : !type ? "ContentTypeNotAllowed"
           : !etag ? "EtagNotAllowed"
           : !code ? "StatusCodeNotAllowed"
                   : NULL;
}

/* Another protocol from here on. Envoy compresses the tunnels of CONNECT: what is in them is no content (RFC 9110, 9.3.6). */
static bool opens_tunnel(const mc_stream *stream, const mc_headers *headers) {
    const mc_slice status = mc_headers_get_known(headers, MC_H_STATUS);
    return MC_UNLIKELY(stream->upgrade) &&
           (mc_slice_eq(status, MC_SLICE("101")) || (stream->connect && mc_slice_has_prefix(status, MC_SLICE("2"))));
}

static mc_status decide_response(mc_filter *filter, mc_headers *headers, bool end_stream) {
    const mc_compressor *config = mc_filter_get_config(filter);
    state *state = mc_filter_get_state(filter);
    mc_slab *slab = mc_filter_slab(filter);
    const bool kept = opens_tunnel(mc_filter_stream(filter), headers) ||
                      has_token(mc_headers_get_known(headers, MC_H_CACHE_CONTROL), "no-transform");
    const bool coded = mc_headers_has(headers, MC_H_CONTENT_ENCODING);
    /* As Envoy: where the status is told, what may not be touched is not looked at further. */
    const bool enabled = response_enabled(filter, config) && !(config->tell_status && (kept || coded));
    const bool length = enabled && length_allowed(filter, &config->response, headers);
    const bool type = type_allowed(&config->response, headers), code = code_allowed(config, headers);
    const bool plain = length && !kept && type;
    const bool etag = !plain || etag_allowed(filter, config, headers, !config->tell_status || !end_stream);
    const bool compressible = plain && etag && !coded && code;
    /* And Accept-Encoding is looked at last there, the length counted twice. */
    const bool asks = !end_stream && length && (compressible || !config->tell_status);
    if (config->tell_status && enabled && !end_stream && !length) {
        mc_counter_inc(slab, config->response.stats.content_length_too_small);
    }
    if (asks && accepted(filter, config, state, headers) && compressible && transfer_allowed(filter, headers)) {
        mc_counter_inc(slab, config->response.stats.compressed);
        MC_TRY(begin_response(filter, config, headers));
    } else {
        const char *why = config->tell_status && enabled && !end_stream ? refusal(length, type, etag, code) : NULL;
        mc_counter_inc(slab, config->response.stats.not_compressed);
        if (why != NULL) {
            MC_TRY(add_status(filter, headers, why, "", MC_SLICE_NONE));
        }
    }
    return compressible ? add_vary(headers) : MC_OK;
}

static mc_filter_status encode_headers(mc_filter *filter, mc_headers *headers, bool end_stream) {
    if (mc_filter_get_state(filter) == NULL) { /* answered before this filter saw the request */
        state *state = mc_arena_zalloc(mc_filter_arena(filter), sizeof *state);
        if (state == NULL) {
            return mc_filter_out_of_memory(filter);
        }
        mc_filter_set_state(filter, state);
    }
    return decide_response(filter, headers, end_stream) == MC_OK ? MC_FILTER_CONTINUE : mc_filter_out_of_memory(filter);
}

static mc_filter_status encode_data(mc_filter *filter, mc_slice bytes, bool end_stream) {
    return data(filter, MC_ENCODE, bytes, end_stream);
}

static mc_filter_status encode_trailers(mc_filter *filter, mc_headers *map) { return trailers(filter, MC_ENCODE); }

static void close_filter(mc_filter *filter) {
    state *state = mc_filter_get_state(filter);
    for (int i = 0; state != NULL && i < 2; i++) {
        if (state->streams[i] != NULL) {
            state->codecs[i]->close(state->streams[i]);
            state->streams[i] = NULL;
        }
    }
}

static const mc_filter_type filter_type = {
    .name = "envoy.filters.http.compressor",
    .decode_headers = decode_headers,
    .decode_data = decode_data,
    .decode_trailers = decode_trailers,
    .encode_headers = encode_headers,
    .encode_data = encode_data,
    .encode_trailers = encode_trailers,
    .close = close_filter,
};

const mc_filter_kind mc_filter_kind_compressor = {
    .type = "envoy.extensions.filters.http.compressor.v3.Compressor",
    .route_type = "envoy.extensions.filters.http.compressor.v3.CompressorPerRoute",
    .filter = &filter_type,
    .compile = mc_compressor_compile,
    .compile_route = mc_compressor_compile_route,
};
