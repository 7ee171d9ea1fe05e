/* on_demand (FL-59): a request without a route waits while its virtual host is asked for, and begins anew when that is there (RT-59).
 *
 * As in Envoy, only a request that has come whole begins anew; another one goes on without a route. Envoy asks without end for a host
 * that has come and has no route for the request; here a request asks once. */
#include "proxy/filters/kind.h"
#include "proxy/forward.h"

typedef struct state {
    mc_name_wait wait;
    mc_filter *filter;
    mc_slice key; /* "<route configuration>/<host>" */
} state;

/* Of a host in lower case, its port included. */
static mc_status make_key(mc_filter *filter, const mc_hcm_routes *routes, mc_slice *key) {
    mc_slice host;
    const mc_headers *headers = mc_filter_request_headers(filter);
    MC_TRY(mc_dup_lower(mc_filter_arena(filter), mc_headers_get_known(headers, MC_H_AUTHORITY), &host));
    const mc_slice parts[] = {routes->name, MC_SLICE("/"), host};
    return mc_arena_concat(mc_filter_arena(filter), parts, 3, key);
}

/* What upgrades has no end that could have come. */
static bool is_whole(const mc_stream *stream) { return stream->request_complete && !stream->head.upgrade; }

static void answered(mc_name_wait *wait, mc_slice details) {
    state *state = MC_CONTAINER(wait, struct state, wait);
    mc_filter *filter = state->filter;
    mc_stream *stream = mc_filter_stream(filter);
    if (stream->local_reply) { /* it took too long for somebody */
        return;
    }
    if (details.n == 0 && is_whole(stream) && mc_stream_has_newest_host(stream)) {
        stream->details = "internal_redirect"; /* as the log names the end of this leg */
        mc_stream_renew(stream, &filter->sides[MC_DECODE].held);
        return;
    }
    mc_filter_continue_decoding(filter);
}

static mc_filter_status decode_headers(mc_filter *filter, mc_headers *headers, bool end_stream) {
    mc_stream *stream = mc_filter_stream(filter);
    const mc_route_match *match = mc_filter_match(filter);
    if (match == NULL) {
        return MC_FILTER_STOP;
    }
    const mc_hcm_routes *routes = stream->routes;
    mc_names *names = routes->asking.n == 0 ? NULL : mc_forward_names(stream->proxy, routes->asking);
    if (match->route != NULL || match->tls_redirect || names == NULL || stream->host_asked) {
        return MC_FILTER_CONTINUE;
    }
    state *state = mc_arena_zalloc(mc_filter_arena(filter), sizeof *state);
    if (state == NULL || make_key(filter, routes, &state->key) != MC_OK) {
        return mc_filter_out_of_memory(filter);
    }
    state->filter = filter;
    state->wait.done = answered;
    stream->host_asked = true;
    if (mc_names_await(names, state->key, &state->wait) != MC_NAME_LOADING) {
        return mc_filter_out_of_memory(filter);
    }
    mc_filter_set_state(filter, state);
    return MC_FILTER_STOP;
}

static void close_filter(mc_filter *filter) {
    state *state = mc_filter_get_state(filter);
    if (state != NULL && mc_name_waits(&state->wait)) {
        mc_name_wait_cancel(&state->wait);
        mc_names_forget(state->wait.names, state->key);
    }
}

static mc_status compile(mc_filter_compile *c, const mc_value *value, void **out) {
    *out = NULL;
    return MC_OK;
}

static const mc_filter_type filter_type = {
    .name = "envoy.filters.http.on_demand",
    .decode_headers = decode_headers,
    .close = close_filter,
};

const mc_filter_kind mc_filter_kind_on_demand = {
    .type = "envoy.extensions.filters.http.on_demand.v3.OnDemand",
    .route_type = "envoy.extensions.filters.http.on_demand.v3.PerRouteConfig",
    .filter = &filter_type,
    .compile = compile,
    .compile_route = compile,
};
