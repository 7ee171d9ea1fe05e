/* decompressor (FL-45): bodies of one content coding made plain, and that coding asked for. */
#include "proxy/filters/codec.h"
#include "proxy/filters/kind.h"
#include "proxy/stream.h"

#define STATS(X) X(decompressed) X(not_decompressed) X(total_uncompressed_bytes) X(total_compressed_bytes)

typedef struct side {
    mc_feature_flag enabled;
    bool ignore_no_transform;
    struct {
        STATS(MC_STAT_FIELD)
    } stats;
} side;

typedef struct config {
    const mc_codec *codec;
    void *library;
    side sides[2]; /* by mc_direction */
    bool advertise;
    mc_slice compressed_key, uncompressed_key; /* of the trailers that tell the bytes */
} config;

typedef struct state {
    void *streams[2];
    uint64_t in[2], out[2];
} state;

static bool is_enabled(mc_filter *filter, const side *side) {
    return mc_feature_flag_on(&side->enabled, mc_filter_runtime(filter));
}

static bool has_no_transform(const mc_headers *headers) {
    mc_slice list = mc_headers_get_known(headers, MC_H_CACHE_CONTROL), item;
    while (mc_slice_next(&list, ',', &item)) {
        if (mc_slice_ieq(item, MC_SLICE("no-transform"))) {
            return true;
        }
    }
    return false;
}

/* The outermost coding, which stands first here as in Envoy; the others stay, be it that a comma is all there is of them. */
static mc_slice first_coding(const mc_headers *headers, mc_slice *others) {
    mc_slice list = mc_headers_get_known(headers, MC_H_CONTENT_ENCODING);
    size_t comma = mc_slice_find(list, ',');
    *others = comma == list.n ? MC_SLICE_NONE : mc_slice_trim((mc_slice){list.p + comma + 1, list.n - comma - 1});
    return mc_slice_trim(mc_slice_until(list, comma));
}

static mc_status begin(mc_filter *filter, mc_direction direction, mc_headers *headers) {
    const config *config = mc_filter_get_config(filter);
    const side *side = &config->sides[direction];
    state *state = mc_filter_get_state(filter);
    mc_slab *slab = mc_filter_slab(filter);
    mc_slice others, coding = first_coding(headers, &others);
    if (!is_enabled(filter, side) || (!side->ignore_no_transform && has_no_transform(headers)) ||
        !mc_slice_ieq(coding, mc_slice_cstr(config->codec->name))) {
        mc_counter_inc(slab, side->stats.not_decompressed);
        return MC_OK;
    }
    mc_counter_inc(slab, side->stats.decompressed);
    state->streams[direction] = config->codec->open(config->library, false);
    mc_headers_remove_known(headers, MC_H_CONTENT_LENGTH);
    if (others.p == NULL) {
        mc_headers_remove_known(headers, MC_H_CONTENT_ENCODING);
    } else {
        MC_TRY(mc_headers_set_known(headers, MC_H_CONTENT_ENCODING, others));
    }
    return state->streams[direction] == NULL ? MC_ENOMEM : MC_OK;
}

/* This coding once, without a weight, behind what else there is. */
static mc_status advertise(mc_filter *filter, mc_headers *headers) {
    const config *config = mc_filter_get_config(filter);
    mc_slice name = mc_slice_cstr(config->codec->name), accept, item, text = MC_SLICE_NONE;
    mc_arena *arena = mc_filter_arena(filter);
    MC_TRY(mc_headers_joined(headers, MC_SLICE("accept-encoding"), arena, &accept));
    while (mc_slice_next(&accept, ',', &item)) {
        if (item.n > 0 && !mc_slice_eq(mc_slice_trim(mc_slice_until(item, mc_slice_find(item, ';'))), name)) {
            mc_slice parts[] = {text, item, MC_SLICE(",")};
            MC_TRY(mc_arena_concat(arena, parts, 3, &text));
        }
    }
    mc_slice parts[] = {text, name};
    MC_TRY(mc_arena_concat(arena, parts, 2, &text));
    return mc_headers_set_known_ref(headers, MC_H_ACCEPT_ENCODING, text);
}

static mc_status tell_bytes(mc_filter *filter, mc_direction direction) {
    const config *config = mc_filter_get_config(filter);
    const state *state = mc_filter_get_state(filter);
    mc_headers *trailers = mc_filter_add_trailers(filter, direction == MC_DECODE);
    char digits[20];
    if (trailers == NULL) {
        return MC_ENOMEM;
    }
    MC_TRY(mc_headers_add(trailers, config->compressed_key,
                          mc_slice_of(digits, mc_format_u64(digits, state->in[direction]))));
    return mc_headers_add(trailers, config->uncompressed_key,
                          mc_slice_of(digits, mc_format_u64(digits, state->out[direction])));
}

static mc_filter_status data(mc_filter *filter, mc_direction direction, mc_slice bytes, bool end_stream) {
    const config *config = mc_filter_get_config(filter);
    const side *side = &config->sides[direction];
    state *state = mc_filter_get_state(filter);
    if (state == NULL || state->streams[direction] == NULL) {
        return MC_FILTER_CONTINUE;
    }
    mc_buffer out;
    mc_buffer_init(&out, mc_net_chunks(mc_filter_stream(filter)->proxy->net));
    /* What is not the coding ends the body there, as in Envoy. */
    if (config->codec->run(state->streams[direction], bytes, false, &out) == MC_ENOMEM) {
        mc_buffer_clear(&out);
        return mc_filter_out_of_memory(filter);
    }
    mc_counter_add(mc_filter_slab(filter), side->stats.total_compressed_bytes, bytes.n);
    mc_counter_add(mc_filter_slab(filter), side->stats.total_uncompressed_bytes, out.length);
    state->in[direction] += bytes.n;
    state->out[direction] += out.length;
    if (end_stream && tell_bytes(filter, direction) != MC_OK) {
        mc_buffer_clear(&out);
        return mc_filter_out_of_memory(filter);
    }
    mc_codec_give(filter, direction, &out, end_stream);
    return MC_FILTER_CONSUMED;
}

static mc_filter_status trailers(mc_filter *filter, mc_direction direction) {
    const state *state = mc_filter_get_state(filter);
    return state == NULL || state->streams[direction] == NULL || tell_bytes(filter, direction) == MC_OK
               ? MC_FILTER_CONTINUE
               : mc_filter_out_of_memory(filter);
}

static mc_filter_status decode_headers(mc_filter *filter, mc_headers *headers, bool end_stream) {
    const config *config = mc_filter_get_config(filter);
    state *state = mc_arena_zalloc(mc_filter_arena(filter), sizeof *state);
    mc_filter_set_state(filter, state);
    mc_status status = state == NULL ? MC_ENOMEM : MC_OK;
    if (status == MC_OK && config->advertise && is_enabled(filter, &config->sides[MC_ENCODE])) {
        status = advertise(filter, headers);
    }
    if (status == MC_OK && !end_stream) {
        status = begin(filter, MC_DECODE, headers);
    }
    return status == MC_OK ? MC_FILTER_CONTINUE : mc_filter_out_of_memory(filter);
}

static mc_filter_status encode_headers(mc_filter *filter, mc_headers *headers, bool end_stream) {
    if (end_stream) {
        return MC_FILTER_CONTINUE;
    }
    if (mc_filter_get_state(filter) == NULL) {
        state *state = mc_arena_zalloc(mc_filter_arena(filter), sizeof *state);
        if (state == NULL) {
            return mc_filter_out_of_memory(filter);
        }
        mc_filter_set_state(filter, state);
    }
    return begin(filter, MC_ENCODE, headers) == MC_OK ? MC_FILTER_CONTINUE : mc_filter_out_of_memory(filter);
}

static mc_filter_status decode_data(mc_filter *filter, mc_slice bytes, bool end_stream) {
    return data(filter, MC_DECODE, bytes, end_stream);
}
static mc_filter_status encode_data(mc_filter *filter, mc_slice bytes, bool end_stream) {
    return data(filter, MC_ENCODE, bytes, end_stream);
}
static mc_filter_status decode_trailers(mc_filter *filter, mc_headers *map) { return trailers(filter, MC_DECODE); }
static mc_filter_status encode_trailers(mc_filter *filter, mc_headers *map) { return trailers(filter, MC_ENCODE); }

static void close_filter(mc_filter *filter) {
    const config *config = mc_filter_get_config(filter);
    state *state = mc_filter_get_state(filter);
    for (int i = 0; state != NULL && i < 2; i++) {
        if (state->streams[i] != NULL) {
            config->codec->close(state->streams[i]);
            state->streams[i] = NULL;
        }
    }
}

/* --- compiling ------------------------------------------------------------------------------------------------------------- */

static mc_status read_side(mc_filter_compile *c, const mc_value *value, const char *field, mc_slice prefix,
                           const char *direction, side *out) {
    const mc_value *config, *common;
    mc_slice parts[] = {prefix, mc_slice_cstr(direction)}, scope;
    MC_TRY(mc_arena_concat(c->arena, parts, 2, &scope));
#define COUNTER(name) out->stats.name = mc_filter_stat(c, MC_COUNTER, scope, #name);
    STATS(COUNTER)
#undef COUNTER
    out->enabled = (mc_feature_flag){true, MC_SLICE_NONE};
    MC_TRY(mc_value_read_object(value, field, &config, c->error));
    MC_TRY(mc_value_read_object(config, "common_config", &common, c->error));
    MC_TRY(mc_value_read_bool(common, "ignore_no_transform_header", &out->ignore_no_transform, c->error));
    return mc_error_in(mc_feature_flag_read(c->arena, common, "enabled", &out->enabled, c->error), c->error,
                       "%s.common_config", field);
}

static mc_status compile(mc_filter_compile *c, const mc_value *value, void **out) {
    const mc_value *library, *typed, *request;
    mc_slice name = MC_SLICE_NONE, prefix;
    config *config = mc_arena_zalloc(c->arena, sizeof *config);
    *out = config;
    if (config == NULL) {
        return MC_ENOMEM;
    }
    MC_TRY(mc_value_read_object(value, "decompressor_library", &library, c->error));
    MC_TRY(mc_value_read_string(library, "name", &name, c->error));
    MC_TRY(mc_value_read_object(library, "typed_config", &typed, c->error));
    config->codec = mc_codec_find(mc_any_type(typed), false);
    if (config->codec == NULL) {
        return mc_error_set(c->error, MC_EINVAL, "decompressor_library.typed_config",
                            "is no compression that this build has: %.*s", MC_SLICE_ARG(mc_any_type(typed)));
    }
    MC_TRY(mc_error_in(config->codec->compile(c->arena, typed, false, &config->library, c->error), c->error,
                       "decompressor_library.typed_config"));
    mc_slice parts[] = {MC_SLICE("decompressor."), name, MC_SLICE("."), mc_slice_cstr(config->codec->prefix)};
    MC_TRY(mc_arena_concat(c->arena, parts, 4, &prefix));
    mc_slice compressed[] = {MC_SLICE("x-envoy-decompressor-"), name, MC_SLICE("-compressed-bytes")};
    mc_slice uncompressed[] = {MC_SLICE("x-envoy-decompressor-"), name, MC_SLICE("-uncompressed-bytes")};
    MC_TRY(mc_arena_concat(c->arena, compressed, 3, &config->compressed_key));
    MC_TRY(mc_arena_concat(c->arena, uncompressed, 3, &config->uncompressed_key));
    config->advertise = true;
    MC_TRY(mc_value_read_object(value, "request_direction_config", &request, c->error));
    MC_TRY(mc_value_read_bool(request, "advertise_accept_encoding", &config->advertise, c->error));
    MC_TRY(read_side(c, value, "request_direction_config", prefix, "request.", &config->sides[MC_DECODE]));
    return read_side(c, value, "response_direction_config", prefix, "response.", &config->sides[MC_ENCODE]);
}

static const mc_filter_type filter_type = {
    .name = "envoy.filters.http.decompressor",
    .decode_headers = decode_headers,
    .decode_data = decode_data,
    .decode_trailers = decode_trailers,
    .encode_headers = encode_headers,
    .encode_data = encode_data,
    .encode_trailers = encode_trailers,
    .close = close_filter,
};

const mc_filter_kind mc_filter_kind_decompressor = {
    .type = "envoy.extensions.filters.http.decompressor.v3.Decompressor", .filter = &filter_type, .compile = compile};
