#include "proxy/forward.h"

#include <stdio.h>

static mc_slice text_of(const mc_value *state, const char *name) {
    const mc_value *value = mc_value_get(state, name);
    return value != NULL && value->kind == MC_STRING ? value->string : MC_SLICE_NONE;
}

static uint16_t port_of(const mc_value *state) {
    const mc_value *value = mc_value_get(state, "envoy.upstream.dynamic_port");
    uint64_t port = 0;
    if (value != NULL && value->kind == MC_NUMBER && value->number > 0 && value->number <= UINT16_MAX) {
        port = (uint64_t)value->number;
    } else if (value != NULL && value->kind == MC_STRING && mc_slice_u64(value->string, &port) != MC_OK) {
        port = 0;
    }
    return port > 0 && port <= UINT16_MAX ? (uint16_t)port : 80;
}

mc_status mc_forward_key(mc_stream *stream, bool by_state, mc_slice *key) {
    const mc_value *state = by_state ? stream->filter_state : NULL;
    mc_slice host = state == NULL ? MC_SLICE_NONE : text_of(state, "envoy.upstream.dynamic_host");
    host = host.p != NULL ? host : mc_headers_get_known(&stream->request, MC_H_AUTHORITY);
    if (host.n == 0) {
        *key = MC_SLICE_NONE;
        return MC_OK;
    }
    return mc_name_key(host, state == NULL ? 80 : port_of(state), &stream->arena, key);
}

mc_names *mc_forward_names(const mc_stream *stream, mc_slice cache) { return mc_map_get(&stream->proxy->names, cache); }

const char *mc_forward_details(mc_stream *stream, mc_slice why) {
    const size_t size = why.n + sizeof "dns_resolution_failure{}";
    char *text = mc_arena_alloc(&stream->arena, size);
    if (text != NULL) {
        snprintf(text, size, "dns_resolution_failure{%.*s}", MC_SLICE_ARG(why));
        for (char *at = text; *at != '\0'; at++) {
            *at = *at == ' ' ? '_' : *at;
        }
    }
    return text;
}
