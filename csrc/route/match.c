/* Matching: virtual host, candidates in order, the first whose matchers hold, its cluster. */
#include "http/uri.h"
#include "route/compile.h"

int mc_matchers_test(const mc_matchers *matchers, const mc_match_input *in) {
    for (uint32_t i = 0; i < matchers->count; i++) {
        int holds = matchers->items[i].match(matchers->items[i].self, in);
        if (holds != 1) {
            return holds;
        }
    }
    return 1;
}

void mc_match_input_init(mc_match_input *in, const mc_route_table *table, const mc_route_request *request) {
    mc_slice path = mc_headers_get_known(request->headers, MC_H_PATH);
    size_t end = mc_slice_find(mc_slice_until(path, mc_slice_find(path, '?')), '#');
    in->request = request;
    in->query = end < path.n && path.p[end] == '?' ? mc_slice_from(path, end + 1) : MC_SLICE_NONE;
    in->path = in->whole = mc_slice_until(path, end);
    if (table->ignore_path_parameters && path.p != NULL) {
        in->path = mc_slice_until(in->path, mc_slice_find(in->path, ';'));
    }
}

static bool has_upper(mc_slice text) {
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] >= 'A' && text.p[i] <= 'Z') {
            return true;
        }
    }
    return false;
}

static mc_status find_host(const mc_route_table *table, const mc_route_request *request, const mc_host **out) {
    mc_slice name = table->vhost_header.n == 0 ? mc_headers_get_known(request->headers, MC_H_AUTHORITY)
                                               : mc_headers_get(request->headers, table->vhost_header);
    if (mc_domains_only_any(&table->domains)) {
        *out = table->domains.any;
        return MC_OK;
    }
    if (table->ignore_port) {
        name = mc_slice_until(name, mc_uri_port_start(name));
    }
    if (has_upper(name)) {
        MC_TRY(mc_dup_lower(request->arena, name, &name));
    }
    *out = mc_domains_find(&table->domains, name);
    return MC_OK;
}

typedef enum tls_answer { TLS_FINE, TLS_REDIRECT, TLS_NO_ROUTE } tls_answer;

/* RT-4. A request whose protocol is unknown finds no route where TLS is required. */
static tls_answer check_tls(const mc_host *host, const mc_headers *headers) {
    mc_slice proto = mc_headers_get_known(headers, MC_H_X_FORWARDED_PROTO);
    if (proto.n == 0) {
        return proto.p != NULL || host->public.require_tls != 0 ? TLS_NO_ROUTE : TLS_FINE;
    }
    if (host->public.require_tls == 0 || mc_slice_eq(proto, MC_SLICE("https"))) {
        return TLS_FINE;
    }
    bool internal = mc_slice_eq(mc_headers_get_known(headers, MC_H_X_ENVOY_INTERNAL), MC_SLICE("true"));
    return host->public.require_tls == 1 && internal ? TLS_FINE : TLS_REDIRECT;
}

/* The route with its cluster; one whose cluster cannot be chosen is passed over. */
static mc_status find_route(const mc_host *host, const mc_match_input *in, mc_route_match *out) {
    mc_walk walk;
    const mc_candidate *candidate;
    mc_walk_init(&walk, in);
    MC_TRY(mc_path_index_find(&host->paths, in, &walk));
    while ((candidate = mc_walk_next(&walk)) != NULL) {
        if (MC_UNLIKELY(candidate->route == NULL)) {
            MC_TRY(mc_path_index_find_late(candidate, in, &walk));
            continue;
        }
        const mc_matchers matchers = {candidate->matchers, candidate->matcher_count};
        int holds = mc_matchers_test(&matchers, in);
        if (holds < 0) {
            return holds;
        }
        if (holds == 1) {
            out->route = candidate->route;
            out->cluster = candidate->cluster;
            out->cluster_id = candidate->cluster_id;
            if (MC_UNLIKELY(candidate->chooses)) {
                MC_TRY(mc_route_choose_cluster(in, out));
                if (out->route == NULL) {
                    continue;
                }
            }
            return MC_OK;
        }
    }
    return MC_OK;
}

/* The routes of the action that the host's matcher leads to, in order (RT-15). */
static mc_status find_by_tree(const mc_host *host, const mc_match_input *in, mc_route_match *out) {
    const void *action;
    MC_TRY(mc_matcher_tree_find(host->tree, in, &action));
    const mc_route_list *list = action;
    for (size_t i = 0; list != NULL && i < list->count; i++) {
        const mc_route_entry *entry = list->entries[i];
        int holds = mc_path_pattern_test(&entry->pattern, in);
        if (holds == 1) {
            holds = mc_matchers_test(&entry->matchers, in);
        }
        if (holds < 0) {
            return holds;
        }
        if (holds == 1) {
            out->route = &entry->route;
            out->cluster = entry->route.cluster;
            out->cluster_id = entry->route.cluster_id;
            MC_TRY(mc_route_choose_cluster(in, out));
        }
        if (out->route != NULL) {
            break;
        }
    }
    return MC_OK;
}

mc_status mc_route_table_match(const mc_route_table *table, const mc_route_request *request, mc_route_match *out) {
    const mc_host *host;
    mc_match_input in;
    *out = (mc_route_match){.cluster_id = MC_NO_CLUSTER};
    MC_TRY(find_host(table, request, &host));
    if (host == NULL) {
        return MC_OK;
    }
    out->virtual_host = &host->public;
    switch (check_tls(host, request->headers)) {
    case TLS_REDIRECT: out->tls_redirect = true; return MC_OK;
    case TLS_NO_ROUTE: return MC_OK;
    case TLS_FINE: break;
    }
    mc_match_input_init(&in, table, request);
    return MC_UNLIKELY(host->tree != NULL) ? find_by_tree(host, &in, out) : find_route(host, &in, out);
}
