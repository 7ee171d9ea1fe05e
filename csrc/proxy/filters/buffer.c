/* buffer (FL-40): a request goes on when all of it has come. */
#include "proxy/filters/kind.h"
#include "proxy/stream.h"

typedef struct settings {
    bool disabled;
    uint32_t max_request_bytes;
} settings;

typedef struct state {
    uint64_t bytes;
} state;

static mc_filter_status decode_headers(mc_filter *filter, mc_headers *headers, bool end_stream) {
    const settings *settings = mc_filter_route_config(filter);
    if (end_stream || settings->disabled) {
        return MC_FILTER_CONTINUE;
    }
    state *state = mc_arena_zalloc(mc_filter_arena(filter), sizeof *state);
    if (state == NULL) {
        return mc_filter_out_of_memory(filter);
    }
    mc_filter_set_state(filter, state);
    mc_filter_limit_request(filter, settings->max_request_bytes);
    return MC_FILTER_STOP_AND_BUFFER;
}

static mc_filter_status complete(mc_filter *filter, const state *state) {
    mc_headers *headers = mc_filter_request_headers(filter);
    char digits[20];
    if (!mc_headers_has(headers, MC_H_CONTENT_LENGTH) &&
        mc_headers_set_known(headers, MC_H_CONTENT_LENGTH, mc_slice_of(digits, mc_format_u64(digits, state->bytes))) !=
            MC_OK) {
        return mc_filter_out_of_memory(filter);
    }
    return MC_FILTER_CONTINUE;
}

static mc_filter_status decode_data(mc_filter *filter, mc_slice data, bool end_stream) {
    state *state = mc_filter_get_state(filter);
    if (state == NULL) {
        return MC_FILTER_CONTINUE;
    }
    state->bytes += data.n;
    return end_stream ? complete(filter, state) : MC_FILTER_STOP_AND_BUFFER;
}

static mc_filter_status decode_trailers(mc_filter *filter, mc_headers *trailers) {
    const state *state = mc_filter_get_state(filter);
    return state == NULL ? MC_FILTER_CONTINUE : complete(filter, state);
}

static mc_status read_limit(mc_filter_compile *c, const mc_value *value, settings *out) {
    MC_TRY(mc_value_read_u32(value, "max_request_bytes", &out->max_request_bytes, c->error));
    return out->max_request_bytes > 0
               ? MC_OK
               : mc_error_set(c->error, MC_EINVAL, "max_request_bytes", "must be greater than 0");
}

static mc_status compile(mc_filter_compile *c, const mc_value *value, void **out) {
    settings *settings = mc_arena_zalloc(c->arena, sizeof *settings);
    *out = settings;
    return settings == NULL ? MC_ENOMEM : read_limit(c, value, settings);
}

static mc_status compile_route(mc_filter_compile *c, const mc_value *value, void **out) {
    settings *settings = mc_arena_zalloc(c->arena, sizeof *settings);
    const mc_value *buffer;
    *out = settings;
    if (settings == NULL) {
        return MC_ENOMEM;
    }
    MC_TRY(mc_value_read_bool(value, "disabled", &settings->disabled, c->error));
    MC_TRY(mc_value_read_object(value, "buffer", &buffer, c->error));
    if (buffer != NULL) {
        return mc_error_in(read_limit(c, buffer, settings), c->error, "buffer");
    }
    return settings->disabled ? MC_OK : mc_error_set(c->error, MC_EINVAL, "", "must have one of disabled, buffer");
}

static const mc_filter_type filter_type = {
    .name = "envoy.filters.http.buffer",
    .decode_headers = decode_headers,
    .decode_data = decode_data,
    .decode_trailers = decode_trailers,
};

const mc_filter_kind mc_filter_kind_buffer = {
    .type = "envoy.extensions.filters.http.buffer.v3.Buffer",
    .route_type = "envoy.extensions.filters.http.buffer.v3.BufferPerRoute",
    .filter = &filter_type,
    .in_tries = MC_TRY_CHAIN,
    .compile = compile,
    .compile_route = compile_route,
};
