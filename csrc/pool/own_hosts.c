#include "pool/own_hosts.h"

#include "base/alloc.h"

typedef struct own_host {
    mc_link link;
    mc_host *host; /* referenced */
} own_host;

void mc_own_hosts_forget(mc_upstream *upstream, const mc_hosts *hosts) {
    MC_LIST_EACH(&upstream->own_hosts, node) {
        own_host *own = MC_CONTAINER(node, own_host, link);
        if (hosts == NULL || mc_hosts_find(hosts, own->host->address_text) != NULL) {
            mc_link_unlink(&own->link);
            mc_host_unref(own->host);
            mc_free(own);
        }
    }
}

mc_host *mc_own_hosts_find(const mc_upstream *upstream, mc_slice text) {
    MC_LIST_EACH(&upstream->own_hosts, node) {
        mc_host *host = MC_CONTAINER(node, own_host, link)->host;
        if (mc_slice_eq(host->address_text, text)) {
            return host;
        }
    }
    return NULL;
}

static mc_host *make_own_host(mc_upstream *upstream, const mc_address *address) {
    mc_cluster *cluster = upstream->cluster;
    own_host *own = mc_malloc(sizeof *own);
    mc_host *host = mc_hosts_make_host(address, &cluster->lb, cluster->name, cluster->stats_store);
    if (own == NULL || host == NULL) {
        mc_free(own);
        mc_host_unref(host);
        return NULL;
    }
    *own = (own_host){.host = host};
    mc_list_push_back(&upstream->own_hosts, &own->link);
    if (upstream->on_new_host != NULL) {
        upstream->on_new_host(upstream->ctx, upstream, host);
    }
    return host;
}

mc_host *mc_upstream_original(mc_upstream *upstream, const mc_address *address) {
    char text[MC_ADDRESS_TEXT];
    const mc_slice key = mc_slice_of(text, mc_address_text(address, text));
    mc_host *host = mc_hosts_find(upstream->hosts, key);
    if (host == NULL) {
        host = mc_own_hosts_find(upstream, key);
    }
    if (host == NULL) {
        host = make_own_host(upstream, address);
    }
    if (host != NULL && !atomic_load_explicit(&host->used, memory_order_relaxed)) {
        atomic_store_explicit(&host->used, true, memory_order_relaxed);
    }
    return host;
}
