#include "proxy/upstream_chain.h"

#include "proxy/filters/kind.h"

const mc_filter_type mc_upstream_codec_filter = {.name = "envoy.filters.http.upstream_codec", .terminal = true};

typedef struct passage {
    mc_direction direction;
    mc_headers *headers;
    bool trailers, end_stream, copy;
} passage;

static mc_filter_status pass_one(mc_filter *filter, const passage *what) {
    const mc_filter_type *type = filter->type;
    const bool decode = what->direction == MC_DECODE;
    if (what->trailers) {
        mc_filter_status (*fn)(mc_filter *, mc_headers *) = decode ? type->decode_trailers : type->encode_trailers;
        return fn == NULL ? MC_FILTER_CONTINUE : fn(filter, what->headers);
    }
    mc_filter_status (*fn)(mc_filter *, mc_headers *, bool) = decode ? type->decode_headers : type->encode_headers;
    return fn == NULL ? MC_FILTER_CONTINUE : fn(filter, what->headers, what->end_stream);
}

static bool pass(mc_stream *stream, const passage *what) {
    const mc_hcm *hcm = stream->hcm;
    const mc_route_filters *routed = mc_route_match_filters(&stream->match);
    const uint32_t count = hcm->upstream.end - hcm->upstream.begin;
    for (uint32_t n = 0; n < count; n++) {
        const uint32_t slot = hcm->upstream.begin + (what->direction == MC_DECODE ? n : count - 1 - n);
        const mc_filter_config *config = &hcm->filters[slot];
        mc_filter filter = {.type = config->type, .config = config->config, .stream = stream, .slot = (uint8_t)slot};
        if (what->copy && config->kind != NULL && config->kind->answers) {
            continue;
        }
        if (!mc_filter_is_disabled(config, routed, slot) && pass_one(&filter, what) != MC_FILTER_CONTINUE) {
            return false;
        }
    }
    return !stream->finished;
}

bool mc_upstream_chain_headers(mc_stream *stream, mc_direction direction, mc_headers *headers, bool end_stream) {
    return pass(stream, &(passage){.direction = direction, .headers = headers, .end_stream = end_stream});
}

bool mc_upstream_chain_copy(mc_stream *stream, mc_headers *headers, bool end_stream) {
    return pass(stream, &(passage){.direction = MC_DECODE, .headers = headers, .end_stream = end_stream, .copy = true});
}

bool mc_upstream_chain_trailers(mc_stream *stream, mc_direction direction, mc_headers *trailers) {
    return pass(stream, &(passage){.direction = direction, .headers = trailers, .trailers = true});
}
