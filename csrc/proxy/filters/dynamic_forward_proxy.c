/* dynamic_forward_proxy (CL-17): a request for a dynamic forward proxy cluster waits until its name is resolved. */
#include "base/defaults.h"
#include "proxy/filters/kind.h"
#include "proxy/forward.h"

typedef struct rewrite {
    mc_slice literal, header; /* of which one is set */
} rewrite;

typedef struct config {
    mc_slice cache;
    bool by_state; /* allow_dynamic_host_from_filter_state */
    bool save_address;
    uint64_t init_timeout_ms; /* of a sub-cluster */
} config;

typedef struct state {
    mc_name_wait wait;
    mc_filter *filter;
    mc_slice key;
    mc_timer too_long;
} state;

static void reply(mc_filter *filter, uint16_t status, mc_slice body, const char *details, const char *details_class,
                  uint64_t flags) {
    mc_filter_reply(
        filter,
        &(mc_reply){
            .status = status, .body = body, .details = details, .details_class = details_class, .flags = flags});
}

/* The new name is what goes upstream too. */
static mc_status rewrite_host(mc_filter *filter, mc_headers *headers) {
    const mc_route_filter *route = mc_filter_route(filter);
    const rewrite *rewrite = route == NULL ? NULL : route->config;
    if (rewrite == NULL) {
        return MC_OK;
    }
    if (rewrite->literal.n > 0) {
        mc_headers_doubt(headers, rewrite->literal);
        return mc_headers_set_known_ref(headers, MC_H_AUTHORITY, rewrite->literal);
    }
    const mc_slice value = mc_headers_get(headers, rewrite->header); /* of several the first: nobody vouches for it */
    return value.p == NULL ? MC_OK : mc_headers_set_known_ref(headers, MC_H_AUTHORITY, value);
}

static void fail(mc_filter *filter, mc_slice why) {
    const char *details = mc_forward_details(mc_filter_arena(filter), why);
    reply(filter, 503, MC_SLICE("DNS resolution failure"), details == NULL ? "dns_resolution_failure" : details,
          "dns_resolution_failure", MC_FLAG(DF));
}

/* For logs and for filters behind. */
static mc_status save_address(mc_filter *filter, mc_slice key) {
    const config *config = mc_filter_get_config(filter);
    const mc_upstream *upstream = mc_filter_upstream(filter);
    const mc_host *host = upstream == NULL ? NULL : mc_named_find(&upstream->named, key);
    const mc_address *address = host == NULL ? NULL : mc_named_address(&upstream->named, host, 0);
    char text[MC_ADDRESS_TEXT];
    if (!config->save_address || address == NULL) {
        return MC_OK;
    }
    mc_value *value = mc_arena_zalloc(mc_filter_arena(filter), sizeof *value);
    if (value == NULL) {
        return MC_ENOMEM;
    }
    value->kind = MC_STRING;
    MC_TRY(mc_arena_dup(mc_filter_arena(filter), mc_slice_of(text, mc_address_text(address, text)), &value->string));
    return mc_filter_set_filter_state(filter, MC_SLICE("envoy.stream.upstream_address"), value);
}

static void resolved(mc_name_wait *wait, mc_slice details) {
    state *state = MC_CONTAINER(wait, struct state, wait);
    if (mc_filter_stream(state->filter)->local_reply) { /* it took too long for somebody */
        return;
    }
    if (details.n > 0) {
        fail(state->filter, details);
    } else if (save_address(state->filter, state->key) != MC_OK) {
        mc_filter_out_of_memory(state->filter);
    } else {
        mc_filter_continue_decoding(state->filter);
    }
}

static mc_filter_status look(mc_filter *filter, state *state, mc_names *names) {
    mc_slice why;
    switch (mc_names_look(names, state->key, false, &state->wait, &why)) {
    case MC_NAME_KNOWN:
        return save_address(filter, state->key) == MC_OK ? MC_FILTER_CONTINUE : mc_filter_out_of_memory(filter);
    case MC_NAME_LOADING: mc_filter_set_state(filter, state); return MC_FILTER_STOP;
    case MC_NAME_FAILED: fail(filter, why); return MC_FILTER_STOP;
    case MC_NAME_CACHE_FULL:
        reply(filter, 503, MC_SLICE("DNS cache overflow"), "dns_cache_overflow", NULL, 0);
        return MC_FILTER_STOP;
    case MC_NAME_TOO_MANY_WAIT:
        reply(filter, 503, MC_SLICE("Dynamic forward proxy pending request overflow"),
              "dynamic_forward_proxy_pending_request_overflow", NULL, 0);
        return MC_FILTER_STOP;
    case MC_NAME_NO_MEMORY: break;
    }
    return mc_filter_out_of_memory(filter);
}

/* --- a sub-cluster, which is made when its name is first asked for ---------------------------------------------------------- */

static void touch(mc_filter *filter, const state *state) {
    const mc_proxy *proxy = mc_filter_stream(filter)->proxy;
    mc_upstream *sub = mc_proxy_upstream(proxy, proxy->find_slot(proxy->ctx, state->key));
    if (sub != NULL) {
        atomic_store_explicit(&sub->cluster->used_ms, mc_loop_now_ms(proxy->loop), memory_order_relaxed);
    }
}

static void made(mc_name_wait *wait, mc_slice details) {
    state *state = MC_CONTAINER(wait, struct state, wait);
    mc_timer_cancel(mc_filter_loop(state->filter), &state->too_long);
    if (!mc_filter_stream(state->filter)->local_reply) {
        touch(state->filter, state);
        mc_filter_continue_decoding(state->filter);
    }
}

static void not_made(mc_timer *timer) {
    state *state = MC_CONTAINER(timer, struct state, too_long);
    mc_name_wait_cancel(&state->wait);
    reply(state->filter, 503, MC_SLICE("Sub cluster warming timeout"), "sub_cluster_warming_timeout", NULL, 0);
}

static mc_filter_status seek_sub_cluster(mc_filter *filter, state *state, mc_names *names) {
    const config *config = mc_filter_get_config(filter);
    mc_slice why;
    switch (mc_names_look(names, state->key, false, &state->wait, &why)) {
    case MC_NAME_KNOWN:
    case MC_NAME_FAILED: touch(filter, state); return MC_FILTER_CONTINUE;
    case MC_NAME_LOADING:
        mc_filter_set_state(filter, state);
        mc_timer_arm(mc_filter_loop(filter), &state->too_long, config->init_timeout_ms);
        return MC_FILTER_STOP;
    case MC_NAME_CACHE_FULL:
        reply(filter, 503, MC_SLICE("Sub cluster overflow"), "sub_cluster_overflow", NULL, 0);
        return MC_FILTER_STOP;
    case MC_NAME_TOO_MANY_WAIT:
    case MC_NAME_NO_MEMORY: break;
    }
    return mc_filter_out_of_memory(filter);
}

/* --- the filter --------------------------------------------------------------------------------------------------------------- */

static mc_status set_key(mc_filter *filter, const mc_headers *headers, const mc_forward *forward, state *state) {
    const config *config = mc_filter_get_config(filter);
    mc_stream *stream = mc_filter_stream(filter);
    const mc_value *values = config->by_state ? stream->filter_state : NULL;
    MC_TRY(mc_forward_key(headers, values, &stream->arena, &state->key));
    return forward->sub_clusters ? mc_forward_sub_cluster(state->key, &stream->arena, &state->key) : MC_OK;
}

static mc_filter_status decode_headers(mc_filter *filter, mc_headers *headers, bool end_stream) {
    const config *config = mc_filter_get_config(filter);
    mc_stream *stream = mc_filter_stream(filter);
    const mc_upstream *upstream = mc_filter_upstream(filter);
    if (upstream == NULL || upstream->cluster->forward == NULL) {
        return MC_FILTER_CONTINUE;
    }
    state *state = mc_arena_zalloc(mc_filter_arena(filter), sizeof *state);
    const mc_forward *forward = upstream->cluster->forward;
    mc_names *names = mc_forward_names(stream->proxy, forward->sub_clusters ? forward->cache : config->cache);
    if (state == NULL || names == NULL || rewrite_host(filter, headers) != MC_OK ||
        set_key(filter, headers, forward, state) != MC_OK) {
        return mc_filter_out_of_memory(filter);
    }
    if (state->key.n == 0) {
        reply(filter, 400, MC_SLICE("Empty host header"), "empty_host_header", NULL, 0);
        return MC_FILTER_STOP;
    }
    state->filter = filter;
    if (forward->sub_clusters) {
        state->wait.done = made;
        state->too_long.fire = not_made;
        return seek_sub_cluster(filter, state, names);
    }
    state->wait.done = resolved;
    return look(filter, state, names);
}

static void close_filter(mc_filter *filter) {
    state *state = mc_filter_get_state(filter);
    if (state != NULL) {
        mc_name_wait_cancel(&state->wait);
        mc_timer_cancel(mc_filter_loop(filter), &state->too_long);
    }
}

static mc_status compile(mc_filter_compile *c, const mc_value *value, void **out) {
    const mc_value *cache;
    config *config = mc_arena_zalloc(c->arena, sizeof *config);
    *out = config;
    if (config == NULL) {
        return MC_ENOMEM;
    }
    MC_TRY(mc_value_read_object(value, "sub_cluster_config", &cache, c->error));
    config->init_timeout_ms = MC_DEFAULT_SUB_CLUSTER_INIT_TIMEOUT;
    MC_TRY(mc_value_read_duration_ms(cache, "cluster_init_timeout", &config->init_timeout_ms, c->error));
    MC_TRY(mc_value_read_object(value, "dns_cache_config", &cache, c->error));
    MC_TRY(mc_read_text(c->arena, cache, "name", &config->cache, c->error));
    MC_TRY(mc_value_read_bool(value, "allow_dynamic_host_from_filter_state", &config->by_state, c->error));
    return mc_value_read_bool(value, "save_upstream_address", &config->save_address, c->error);
}

static mc_status compile_route(mc_filter_compile *c, const mc_value *value, void **out) {
    mc_slice header = MC_SLICE_NONE;
    rewrite *rewrite = mc_arena_zalloc(c->arena, sizeof *rewrite);
    *out = rewrite;
    if (rewrite == NULL) {
        return MC_ENOMEM;
    }
    MC_TRY(mc_read_text(c->arena, value, "host_rewrite_literal", &rewrite->literal, c->error));
    MC_TRY(mc_value_read_string(value, "host_rewrite_header", &header, c->error));
    return mc_dup_lower(c->arena, header, &rewrite->header);
}

static const mc_filter_type filter_type = {
    .name = "envoy.filters.http.dynamic_forward_proxy",
    .decode_headers = decode_headers,
    .close = close_filter,
};

const mc_filter_kind mc_filter_kind_dynamic_forward_proxy = {
    .type = "envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig",
    .route_type = "envoy.extensions.filters.http.dynamic_forward_proxy.v3.PerRouteConfig",
    .filter = &filter_type,
    .compile = compile,
    .compile_route = compile_route,
};
