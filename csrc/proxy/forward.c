#include "proxy/forward.h"

#include <stdio.h>

#include "base/read.h"

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

mc_status mc_forward_key(const mc_headers *request, const mc_value *state, mc_arena *arena, mc_slice *key) {
    mc_slice host = state == NULL ? MC_SLICE_NONE : text_of(state, "envoy.upstream.dynamic_host");
    host = host.p != NULL ? host : mc_headers_get_known(request, MC_H_AUTHORITY);
    if (host.n == 0) {
        *key = MC_SLICE_NONE;
        return MC_OK;
    }
    return mc_name_key(host, state == NULL ? 80 : port_of(state), arena, key);
}

mc_status mc_forward_sub_cluster(mc_slice key, mc_arena *arena, mc_slice *name) {
    return mc_sub_cluster_name(key.n == 0 ? MC_SLICE(":80") : key, arena, name);
}

mc_names *mc_forward_names(const mc_proxy *proxy, mc_slice cache) { return mc_map_get(&proxy->names, cache); }

const char *mc_forward_details(mc_arena *arena, mc_slice why) {
    const size_t size = why.n + sizeof "dns_resolution_failure{}";
    char *text = mc_arena_alloc(arena, size);
    if (text != NULL) {
        snprintf(text, size, "dns_resolution_failure{%.*s}", MC_SLICE_ARG(why));
        for (char *at = text; *at != '\0'; at++) {
            *at = *at == ' ' ? '_' : *at;
        }
    }
    return text;
}

/* --- by address -------------------------------------------------------------------------------------------------------- */

static mc_host *by_address(const mc_seeker *who, mc_upstream *upstream) {
    const mc_cluster *cluster = upstream->cluster;
    mc_address address;
    uint32_t invalid;
    const bool found = mc_original_dst_address(cluster->original_dst, who->request, who->metadata, who->filter_state,
                                               who->restored, &address, &invalid);
    mc_counter_add(who->proxy->slab, cluster->stats.original_dst_host_invalid, invalid);
    return found ? mc_upstream_original(upstream, &address) : NULL;
}

/* --- by name ----------------------------------------------------------------------------------------------------------- */

void mc_seek_failed(mc_seek *seek, mc_arena *arena, mc_slice details) {
    const char *why = mc_forward_details(arena, details);
    seek->why = why == NULL ? "dns_resolution_failure" : why;
}

/* Without a filter that has done it before, or when the name has been forgotten since, who wants the host waits for its name. */
static void look(mc_seek *seek, const mc_seeker *who, const mc_cluster *cluster, mc_slice key) {
    mc_names *names = mc_forward_names(who->proxy, cluster->forward->cache);
    mc_slice why;
    mc_name_answer answer = names == NULL ? MC_NAME_NO_MEMORY : mc_names_look(names, key, false, &seek->wait, &why);
    if (answer == MC_NAME_KNOWN && !seek->answered) { /* but this cluster, which is new, has not heard of it */
        answer = mc_names_look(names, key, true, &seek->wait, &why);
    }
    switch (answer) {
    case MC_NAME_FAILED: mc_seek_failed(seek, who->arena, why); break;
    case MC_NAME_CACHE_FULL: seek->why = "dns_cache_overflow"; break;
    case MC_NAME_TOO_MANY_WAIT: seek->why = "dns_cache_pending_requests_overflow"; break;
    case MC_NAME_NO_MEMORY: seek->why = "out_of_memory"; break;
    case MC_NAME_LOADING:
    case MC_NAME_KNOWN: break;
    }
}

/* Only a filter makes sub-clusters. */
static mc_host *in_sub_cluster(mc_seek *seek, const mc_seeker *who, mc_slice key, mc_upstream **from) {
    mc_slice name;
    if (mc_forward_sub_cluster(key, who->arena, &name) != MC_OK) {
        seek->why = "out_of_memory";
        return NULL;
    }
    return mc_upstream_choose_sub(*from, name, who->lb, from);
}

static mc_host *by_name(mc_seek *seek, const mc_seeker *who, mc_upstream **from) {
    mc_upstream *upstream = *from;
    mc_slice key;
    if (mc_forward_key(who->request, who->filter_state, who->arena, &key) != MC_OK) {
        seek->why = "out_of_memory";
        return NULL;
    }
    if (key.n == 0) {
        seek->why = "empty_host_header";
        return NULL;
    }
    if (upstream->cluster->forward->sub_clusters) {
        return in_sub_cluster(seek, who, key, from);
    }
    mc_host *host = mc_named_find(&upstream->named, key);
    if (host == NULL) {
        look(seek, who, upstream->cluster, key);
        return NULL;
    }
    if (mc_host_health(host) == MC_UNHEALTHY) {
        return NULL;
    }
    atomic_store_explicit(&host->used_ms, mc_loop_now_ms(who->proxy->loop), memory_order_relaxed);
    return host;
}

mc_host *mc_seek_host(mc_seek *seek, const mc_seeker *who, mc_upstream *upstream, mc_upstream **from) {
    *from = upstream;
    mc_host *host = upstream->cluster->original_dst != NULL ? by_address(who, upstream) : by_name(seek, who, from);
    if (host == NULL &&
        !mc_name_waits(&seek->wait)) { /* as far as it is known at once: a later answer is not counted */
        mc_counter_inc(who->proxy->slab, upstream->cluster->stats.upstream_cx_none_healthy);
    }
    return host;
}
