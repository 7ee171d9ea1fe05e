/* What a filter sees of its stream and may do with it (filter.h), but for the passing of messages, which is the chain's (chain.c). */
#include "proxy/filter.h"

#include "base/value_edit.h"
#include "proxy/stream.h"

const void *mc_filter_get_config(const mc_filter *filter) { return filter->config; }
void mc_filter_set_state(mc_filter *filter, void *state) { filter->state = state; }
void *mc_filter_get_state(const mc_filter *filter) { return filter->state; }
mc_stream *mc_filter_stream(mc_filter *filter) { return filter->stream; }
mc_arena *mc_filter_arena(mc_filter *filter) { return &filter->stream->arena; }
mc_headers *mc_filter_request_headers(mc_filter *filter) { return &filter->stream->request; }
mc_headers *mc_filter_response_headers(mc_filter *filter) {
    return MC_LIKELY(filter->among->of_try == NULL) ? filter->stream->response : filter->among->response;
}
void mc_filter_limit_request(mc_filter *filter, uint32_t bytes) { filter->among->limit = bytes; }

struct mc_loop *mc_filter_loop(mc_filter *filter) { return filter->stream->proxy->loop; }
const mc_address *mc_filter_remote(mc_filter *filter) { return &filter->stream->remote; }
void mc_filter_clear_route(mc_filter *filter) { filter->stream->route_stale = true; }

const mc_route_match *mc_filter_match(mc_filter *filter) {
    mc_stream *stream = filter->stream;
    if (MC_UNLIKELY(stream->route_stale) && mc_stream_match_route(stream) != MC_OK) {
        mc_stream_reset(stream, MC_FLAG(LR), "out_of_memory");
        return NULL;
    }
    return &stream->match;
}

const mc_route_filter *mc_filter_route(mc_filter *filter) {
    return mc_filter_match(filter) == NULL ? NULL : mc_filters_said(filter->among, filter->entry, filter->slot);
}

const void *mc_filter_route_config(mc_filter *filter) {
    for (const mc_route_filter *at = mc_filter_route(filter); at != NULL; at = at->outer) {
        if (at->config != NULL) {
            return at->config;
        }
    }
    return filter->config;
}

const mc_stream_info *mc_filter_info(mc_filter *filter) {
    const mc_stream_info *info = mc_stream_collect_info(filter->stream);
    if (MC_UNLIKELY(info != NULL && filter->among->of_try != NULL)) {
        filter->stream->info->response = filter->among->response;
        filter->stream->info->response_trailers = filter->among->response_trailers;
    }
    return info;
}
const mc_runtime *mc_filter_runtime(mc_filter *filter) { return filter->stream->proxy->runtime; }
struct mc_slab *mc_filter_slab(mc_filter *filter) { return filter->stream->proxy->slab; }
uint64_t mc_filter_random(mc_filter *filter) { return mc_random_next(mc_loop_random(filter->stream->proxy->loop)); }
void **mc_filter_worker_state(mc_filter *filter) { return &filter->among->worker_states[filter->slot]; }

const mc_value *mc_filter_metadata(mc_filter *filter, mc_slice space) {
    return mc_value_find(filter->stream->metadata, space);
}

mc_status mc_filter_set_filter_state(mc_filter *filter, mc_slice key, const mc_value *object) {
    mc_stream *stream = filter->stream;
    return mc_value_put(&stream->arena, stream->filter_state, key, object, &stream->filter_state);
}

struct mc_upstream *mc_filter_upstream(mc_filter *filter) {
    const mc_stream *stream = filter->stream;
    const mc_proxy *proxy = stream->proxy;
    const mc_route_match *match = mc_filter_match(filter);
    if (match == NULL || match->route == NULL || match->route->action != MC_ROUTE_TO_CLUSTER) {
        return NULL;
    }
    return mc_proxy_upstream(proxy, match->cluster_id == MC_NO_CLUSTER
                                        ? proxy->find_slot(proxy->ctx, match->cluster)
                                        : stream->routes->cluster_slots[match->cluster_id]);
}

/* What a filter of a try sets stays the try's, where nothing reads it, as in Envoy. */
static mc_status put_space(mc_filter *filter, mc_slice space, const mc_value *object) {
    mc_stream *stream = filter->stream;
    return MC_UNLIKELY(filter->among != &stream->filters)
               ? MC_OK
               : mc_value_put(&stream->arena, stream->metadata, space, object, &stream->metadata);
}

mc_status mc_filter_set_metadata(mc_filter *filter, mc_slice space, mc_slice key, const mc_value *value) {
    const mc_value *object = mc_filter_metadata(filter, space);
    mc_status status = mc_value_put(&filter->stream->arena, object, key, value, &object);
    return status == MC_OK ? put_space(filter, space, object) : status;
}

mc_status mc_filter_merge_metadata(mc_filter *filter, mc_slice space, const mc_value *object) {
    mc_value merged;
    mc_status status = mc_value_merge(&filter->stream->arena, mc_filter_metadata(filter, space), object, &merged);
    return status == MC_OK ? put_space(filter, space, &merged) : status;
}

mc_headers *mc_filter_add_trailers(mc_filter *filter, bool decode) {
    mc_stream *stream = filter->stream;
    mc_headers **trailers = decode ? &stream->request_trailers : &stream->response_trailers;
    if (*trailers == NULL) {
        *trailers = mc_arena_alloc(&stream->arena, sizeof **trailers);
        if (*trailers == NULL) {
            return NULL;
        }
        mc_headers_init(*trailers, &stream->arena);
        filter->trailers_added[decode ? MC_DECODE : MC_ENCODE] = true;
    }
    return *trailers;
}

mc_filter_status mc_filter_out_of_memory(mc_filter *filter) {
    mc_stream_reset(filter->stream, MC_FLAG(LR), "out_of_memory");
    return MC_FILTER_STOP;
}

void mc_filter_reply(mc_filter *filter, const mc_reply *reply) { mc_stream_reply(filter->stream, reply); }

void mc_filter_decode_pause(mc_filter *filter) {
    mc_stream *stream = filter->stream;
    stream->decode_pauses++;
    if (stream->downstream != NULL) {
        MC_HCM_COUNT(stream, downstream_flow_control_paused_reading_total);
        mc_conn_pause_reading(mc_downstream_conn(stream->downstream));
    }
}

void mc_filter_decode_resume(mc_filter *filter) {
    mc_stream *stream = filter->stream;
    stream->decode_pauses--;
    if (stream->downstream != NULL) {
        MC_HCM_COUNT(stream, downstream_flow_control_resumed_reading_total);
        mc_conn_resume_reading(mc_downstream_conn(stream->downstream));
    }
}
