/* compressor (FL-41 to FL-44): responses, and where configured requests, compressed for who accepts it. */
#include "http/coding.h"
#include "proxy/filters/codec.h"
#include "proxy/filters/kind.h"
#include "proxy/stream.h"

#define DIRECTION_STATS(X)                                                                                             \
    X(compressed) X(not_compressed) X(total_uncompressed_bytes) X(total_compressed_bytes) X(content_length_too_small)
#define RESPONSE_STATS(X)                                                                                              \
    X(no_accept_header)                                                                                                \
    X(header_identity)                                                                                                 \
    X(header_compressor_used)                                                                                          \
    X(header_compressor_overshadowed) X(header_wildcard) X(header_not_valid) X(not_compressed_etag)

enum { MIN_LENGTH = 30 };

static const char *const default_types[] = {"text/html",
                                            "text/plain",
                                            "text/css",
                                            "application/javascript",
                                            "application/x-javascript",
                                            "text/javascript",
                                            "text/x-javascript",
                                            "text/ecmascript",
                                            "text/js",
                                            "text/jscript",
                                            "text/x-js",
                                            "application/ecmascript",
                                            "application/x-json",
                                            "application/xml",
                                            "application/json",
                                            "image/svg+xml",
                                            "text/xml",
                                            "application/xhtml+xml",
                                            "application/grpc-web",
                                            "application/grpc-web+proto"};

/* Of one direction. */
typedef struct side {
    bool set; /* configured at all */
    mc_feature_flag enabled;
    uint32_t min_length;
    mc_slice *types;
    uint32_t type_count;
    struct {
        DIRECTION_STATS(MC_STAT_FIELD)
    } stats;
} side;

/* A coding and how it is made. */
typedef struct library {
    const mc_codec *codec; /* NULL: none is said */
    void *config;
} library;

typedef struct config {
    library library;
    bool choose_first;
    side request, response;
    bool refuse_etag, hide_accept, tell_status;
    uint32_t *refused_codes;
    uint32_t refused_count;
    struct {
        RESPONSE_STATS(MC_STAT_FIELD)
    } stats;
} config;

typedef struct route {
    bool disabled;
    bool response;      /* response compression is on here */
    int8_t hide_accept; /* -1: as the filter */
    library library;    /* takes the place of the filter's */
} route;

typedef struct state {
    mc_slice accept; /* what the client accepts; p == NULL: it does not say */
    bool decided;    /* what follows was */
    mc_coding_reason reason;
    mc_slice chosen;           /* the coding; empty: none */
    void *streams[2];          /* by mc_direction */
    const mc_codec *codecs[2]; /* of streams */
} state;

static const mc_filter_type filter_type;

static const library *library_of(mc_filter *filter) {
    const config *config = mc_filter_get_config(filter);
    for (const mc_route_filter *at = mc_filter_route(filter); at != NULL; at = at->outer) {
        const route *route = at->config;
        if (route != NULL) {
            return route->library.codec == NULL ? &config->library : &route->library;
        }
    }
    return &config->library;
}

static mc_slice coding_of(mc_filter *filter) { return mc_slice_cstr(library_of(filter)->codec->name); }

/* --- conditions ---------------------------------------------------------------------------------------------------------- */

static bool response_enabled(mc_filter *filter, const config *config) {
    const route *route = NULL;
    for (const mc_route_filter *at = mc_filter_route(filter); at != NULL && route == NULL; at = at->outer) {
        route = at->config;
    }
    if (route != NULL && (route->disabled || route->response)) {
        return !route->disabled;
    }
    return config->response.set && mc_feature_flag_on(&config->response.enabled, mc_filter_runtime(filter));
}

static bool hides_accept(mc_filter *filter, const config *config) {
    for (const mc_route_filter *at = mc_filter_route(filter); at != NULL; at = at->outer) {
        const route *route = at->config;
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

static bool length_allowed(mc_filter *filter, const side *side, const mc_headers *headers) {
    uint64_t length;
    mc_slice text = mc_headers_get_known(headers, MC_H_CONTENT_LENGTH);
    if (text.p == NULL || (mc_slice_u64(text, &length) == MC_OK && length >= side->min_length)) {
        return true;
    }
    mc_counter_inc(mc_filter_slab(filter), side->stats.content_length_too_small);
    return false;
}

static bool type_allowed(const side *side, const mc_headers *headers) {
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

static bool etag_allowed(mc_filter *filter, const config *config, const mc_headers *headers, bool counts) {
    if (!config->refuse_etag || !mc_headers_has(headers, MC_H_ETAG)) {
        return true;
    }
    if (counts) {
        mc_counter_inc(mc_filter_slab(filter), config->stats.not_compressed_etag);
    }
    return false;
}

static bool code_allowed(const config *config, const mc_headers *headers) {
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
        const config *config = stream->filters.items[i].type == &filter_type ? stream->filters.items[i].config : NULL;
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

static bool accepted(mc_filter *filter, const config *config, state *state, const mc_headers *headers) {
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
    const library *library = library_of(filter);
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
    const config *config = mc_filter_get_config(filter);
    const state *state = mc_filter_get_state(filter);
    const side *side = direction == MC_DECODE ? &config->request : &config->response;
    mc_stream *stream = mc_filter_stream(filter);
    mc_net *net = stream->proxy->net;
    mc_buffer out;
    mc_buffer_init(&out, mc_net_chunks(net));
    if (state->codecs[direction]->run(state->streams[direction], data, finish, &out) != MC_OK) {
        mc_buffer_clear(&out);
        return mc_filter_out_of_memory(filter);
    }
    mc_counter_add(mc_filter_slab(filter), side->stats.total_uncompressed_bytes, data.n);
    mc_counter_add(mc_filter_slab(filter), side->stats.total_compressed_bytes, out.length);
    size_t left = out.length;
    for (const mc_chunk *chunk = out.head; chunk != NULL && !stream->finished; chunk = chunk->next) {
        mc_slice piece = mc_slice_of(chunk->data + chunk->begin, chunk->end - chunk->begin);
        left -= piece.n;
        mc_filter_inject(filter, direction == MC_DECODE, piece, end_stream && left == 0);
    }
    if (out.length == 0 && end_stream) {
        mc_filter_inject(filter, direction == MC_DECODE, MC_SLICE_NONE, true);
    }
    mc_net_retire(net, &out);
    return MC_FILTER_CONSUMED;
}

/* --- requests -------------------------------------------------------------------------------------------------------------- */

static bool compress_request(mc_filter *filter, const config *config, const mc_headers *headers) {
    const side *side = &config->request;
    return side->set && mc_feature_flag_on(&side->enabled, mc_filter_runtime(filter)) &&
           !mc_filter_stream(filter)->upgrade && length_allowed(filter, side, headers) && type_allowed(side, headers) &&
           !mc_headers_has(headers, MC_H_CONTENT_ENCODING) && transfer_allowed(filter, headers);
}

static mc_filter_status decode_headers(mc_filter *filter, mc_headers *headers, bool end_stream) {
    const config *config = mc_filter_get_config(filter);
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
    if (vary.n == 0) {
        return mc_headers_set_known_ref(headers, MC_H_VARY, MC_SLICE("Accept-Encoding"));
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

static mc_status begin_response(mc_filter *filter, const config *config, mc_headers *headers) {
    mc_slice etag = mc_headers_get_known(headers, MC_H_ETAG);
    if (etag.p != NULL && !mc_slice_has_prefix(etag, MC_SLICE("W/"))) { /* the bytes differ: no strong validator */
        mc_headers_remove_known(headers, MC_H_ETAG);
    }
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

static mc_status decide_response(mc_filter *filter, mc_headers *headers, bool end_stream) {
    const config *config = mc_filter_get_config(filter);
    state *state = mc_filter_get_state(filter);
    mc_slab *slab = mc_filter_slab(filter);
    const bool kept = mc_filter_stream(filter)->upgrade ||
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

/* --- compiling ------------------------------------------------------------------------------------------------------------- */

static mc_status read_types(mc_filter_compile *c, const mc_value *value, side *out) {
    const mc_value *list;
    size_t count;
    const size_t defaults = sizeof default_types / sizeof default_types[0];
    MC_TRY(mc_value_read_list(value, "content_type", &list, &count, c->error));
    out->type_count = (uint32_t)(count == 0 ? defaults : count);
    out->types = mc_arena_alloc(c->arena, out->type_count * sizeof *out->types);
    if (out->types == NULL) {
        return MC_ENOMEM;
    }
    for (uint32_t i = 0; i < out->type_count; i++) {
        mc_slice type = count == 0                  ? mc_slice_cstr(default_types[i])
                        : list[i].kind == MC_STRING ? list[i].string
                                                    : MC_SLICE_NONE;
        MC_TRY(mc_arena_dup(c->arena, type, &out->types[i]));
    }
    return MC_OK;
}

static mc_status read_common(mc_filter_compile *c, const mc_value *value, const char *length, const char *enabled,
                             side *out) {
    out->set = true;
    out->enabled = (mc_feature_flag){true, MC_SLICE_NONE};
    out->min_length = MIN_LENGTH;
    MC_TRY(mc_value_read_u32(value, length, &out->min_length, c->error));
    MC_TRY(mc_feature_flag_read(c->arena, value, enabled, &out->enabled, c->error));
    return read_types(c, value, out);
}

static mc_status read_codes(mc_filter_compile *c, const mc_value *value, config *out) {
    const mc_value *list;
    size_t count;
    MC_TRY(mc_value_read_list(value, "uncompressible_response_codes", &list, &count, c->error));
    out->refused_codes = mc_arena_alloc(c->arena, count * sizeof *out->refused_codes);
    if (out->refused_codes == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        out->refused_codes[out->refused_count++] = list[i].kind == MC_NUMBER ? (uint32_t)list[i].number : 0;
    }
    return MC_OK;
}

static mc_status read_response(mc_filter_compile *c, const mc_value *value, config *out) {
    const mc_value *common;
    MC_TRY(mc_value_read_object(value, "common_config", &common, c->error));
    MC_TRY(mc_error_in(read_common(c, common, "min_content_length", "enabled", &out->response), c->error,
                       "common_config"));
    MC_TRY(mc_value_read_bool(value, "disable_on_etag_header", &out->refuse_etag, c->error));
    MC_TRY(mc_value_read_bool(value, "remove_accept_encoding_header", &out->hide_accept, c->error));
    MC_TRY(mc_value_read_bool(value, "status_header_enabled", &out->tell_status, c->error));
    return read_codes(c, value, out);
}

static mc_status read_library(mc_filter_compile *c, const mc_value *value, library *out, mc_slice *name) {
    const mc_value *library, *typed;
    MC_TRY(mc_value_read_object(value, "compressor_library", &library, c->error));
    MC_TRY(mc_value_read_string(library, "name", name, c->error));
    MC_TRY(mc_value_read_object(library, "typed_config", &typed, c->error));
    out->codec = mc_codec_find(mc_any_type(typed), true);
    if (out->codec == NULL) {
        return mc_error_set(c->error, MC_EINVAL, "compressor_library.typed_config",
                            "is no compression that this build has: %.*s", MC_SLICE_ARG(mc_any_type(typed)));
    }
    return mc_error_in(out->codec->compile(c->arena, typed, true, &out->config, c->error), c->error,
                       "compressor_library.typed_config");
}

static mc_status register_side(mc_filter_compile *c, mc_slice prefix, const char *direction, side *out) {
    mc_slice parts[] = {prefix, mc_slice_cstr(direction)}, scope;
    MC_TRY(mc_arena_concat(c->arena, parts, 2, &scope));
#define COUNTER(name) out->stats.name = mc_filter_stat(c, MC_COUNTER, scope, #name);
    DIRECTION_STATS(COUNTER)
#undef COUNTER
    return MC_OK;
}

static mc_status register_stats(mc_filter_compile *c, mc_slice library, bool split, config *out) {
    mc_slice parts[] = {MC_SLICE("compressor."), library, MC_SLICE("."), mc_slice_cstr(out->library.codec->prefix)},
             prefix;
    MC_TRY(mc_arena_concat(c->arena, parts, 4, &prefix));
    MC_TRY(register_side(c, prefix, "request.", &out->request));
    MC_TRY(register_side(c, prefix, split ? "response." : "", &out->response));
#define COUNTER(name) out->stats.name = mc_filter_stat(c, MC_COUNTER, prefix, #name);
    RESPONSE_STATS(COUNTER)
#undef COUNTER
    return MC_OK;
}

static mc_status compile(mc_filter_compile *c, const mc_value *value, void **out) {
    const mc_value *request, *response, *common;
    mc_slice library = MC_SLICE_NONE;
    config *config = mc_arena_zalloc(c->arena, sizeof *config);
    *out = config;
    if (config == NULL) {
        return MC_ENOMEM;
    }
    MC_TRY(read_library(c, value, &config->library, &library));
    MC_TRY(mc_value_read_bool(value, "choose_first", &config->choose_first, c->error));
    MC_TRY(mc_value_read_object(value, "request_direction_config", &request, c->error));
    MC_TRY(mc_value_read_object(value, "response_direction_config", &response, c->error));
    MC_TRY(register_stats(c, library, response != NULL, config));
    if (request != NULL) {
        MC_TRY(mc_value_read_object(request, "common_config", &common, c->error));
        MC_TRY(mc_error_in(read_common(c, common, "min_content_length", "enabled", &config->request), c->error,
                           "request_direction_config.common_config"));
    }
    if (response != NULL) {
        return mc_error_in(read_response(c, response, config), c->error, "response_direction_config");
    }
    /* The older fields, of responses. */
    MC_TRY(read_common(c, value, "content_length", "runtime_enabled", &config->response));
    MC_TRY(mc_value_read_bool(value, "disable_on_etag_header", &config->refuse_etag, c->error));
    return mc_value_read_bool(value, "remove_accept_encoding_header", &config->hide_accept, c->error);
}

static mc_status compile_route(mc_filter_compile *c, const mc_value *value, void **out) {
    const mc_value *overrides, *response;
    bool hide = false;
    route *route = mc_arena_zalloc(c->arena, sizeof *route);
    *out = route;
    if (route == NULL) {
        return MC_ENOMEM;
    }
    route->hide_accept = -1;
    MC_TRY(mc_value_read_bool(value, "disabled", &route->disabled, c->error));
    MC_TRY(mc_value_read_object(value, "overrides", &overrides, c->error));
    if (overrides == NULL && !route->disabled) {
        return mc_error_set(c->error, MC_EINVAL, "", "must have one of disabled, overrides");
    }
    MC_TRY(mc_value_read_object(overrides, "response_direction_config", &response, c->error));
    route->response = response != NULL;
    if (mc_value_get(overrides, "compressor_library") != NULL) {
        mc_slice name;
        MC_TRY(mc_error_in(read_library(c, overrides, &route->library, &name), c->error, "overrides"));
    }
    if (mc_value_get(response, "remove_accept_encoding_header") != NULL) {
        MC_TRY(mc_value_read_bool(response, "remove_accept_encoding_header", &hide, c->error));
        route->hide_accept = hide;
    }
    return MC_OK;
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
    .compile = compile,
    .compile_route = compile_route,
};
