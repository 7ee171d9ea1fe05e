/* What a shadow sends (RT-55): a copy of the request that stands alone, with marks of its own. */
#include "http/uri.h"
#include "proxy/router_internal.h"
#include "proxy/upstream_chain.h"
#include "route/mutation_list.h"

mc_status mc_shadow_copy(const mc_headers *from, mc_headers *to) {
    to->unchecked = from->unchecked;
    MC_HEADERS_EACH(from, header) {
        mc_slice value = header->value, name = header->name;
        mc_status status = mc_arena_dup(to->arena, value, &value);
        if (status == MC_OK && header->id == MC_H_UNKNOWN) {
            status = mc_arena_dup(to->arena, name, &name);
        }
        if (status == MC_OK) {
            status = mc_headers_add_ref(to, header->id, header->id == MC_H_UNKNOWN ? name : mc_header_name(header->id),
                                        value);
        }
        if (status != MC_OK) {
            return status;
        }
    }
    return MC_OK;
}

static mc_status set_host(const mc_mirror_policy *policy, mc_headers *request) {
    mc_slice host = mc_headers_get_known(request, MC_H_AUTHORITY), out;
    if (policy->host_rewrite_literal.n > 0) {
        mc_headers_doubt(request, policy->host_rewrite_literal);
        return mc_headers_set_known_ref(request, MC_H_AUTHORITY, policy->host_rewrite_literal);
    }
    if (policy->keep_host || host.n == 0) {
        return MC_OK;
    }
    const size_t port = mc_uri_port_start(host);
    const mc_slice parts[] = {mc_slice_until(host, port), MC_SLICE("-shadow"), mc_slice_from(host, port)};
    mc_status status = mc_arena_concat(request->arena, parts, 3, &out);
    return status == MC_OK ? mc_headers_set_known_ref(request, MC_H_AUTHORITY, out) : status;
}

/* What a request of our own says of itself. */
static mc_status sign(const mc_router *r, uint64_t timeout_ms, mc_headers *request) {
    const mc_hcm *hcm = r->stream->hcm;
    char text[MC_ADDRESS_TEXT], digits[20];
    mc_status status = mc_headers_set_known_ref(request, MC_H_X_ENVOY_INTERNAL, MC_SLICE("true"));
    if (status == MC_OK && hcm->node_address.length > 0) {
        status = mc_headers_append_value(request, MC_H_X_FORWARDED_FOR, MC_SLICE(","),
                                         mc_slice_of(text, mc_address_ip(&hcm->node_address, text)));
    }
    if (status == MC_OK && timeout_ms != 0 && !hcm->chain.router.suppress_envoy_headers) {
        status = mc_headers_set_known(request, MC_H_X_ENVOY_EXPECTED_RQ_TIMEOUT_MS,
                                      mc_slice_of(digits, mc_format_u64(digits, timeout_ms)));
    }
    return status;
}

static mc_status mutate(const mc_router *r, const mc_mirror_policy *policy, mc_headers *headers) {
    const mc_stream_info *info = NULL;
    if (MC_LIKELY(policy->mutations == NULL)) {
        return MC_OK;
    }
    if (policy->mutations->formats && (info = mc_stream_collect_info(r->stream)) == NULL) {
        return MC_ENOMEM;
    }
    return mc_mutation_list_apply(policy->mutations, headers, info);
}

/* What filters change may lie in the stream, which ends before its shadow. */
static mc_status filter_request(const mc_router *r, const mc_cluster *cluster, mc_headers *request) {
    if (MC_LIKELY(!mc_router_filters_tries_to(r, cluster))) {
        return MC_OK;
    }
    if (!mc_upstream_chain_copy(r, cluster, request, r->headers_only)) {
        return MC_ENOMEM;
    }
    return mc_headers_set_known(request, MC_H_PATH, mc_headers_get_known(request, MC_H_PATH));
}

/* The router's own, unless a header is heeded that says what is expected (RF-11): here, what the router announced. */
static uint64_t timeout_of(const mc_router *r, const mc_headers *request) {
    const mc_slice expected = mc_headers_get_known(request, MC_H_X_ENVOY_EXPECTED_RQ_TIMEOUT_MS);
    uint64_t ms;
    return r->options->respect_expected_timeout && mc_slice_number(expected, UINT64_MAX, &ms) == MC_OK ? ms
                                                                                                       : r->timeout_ms;
}

mc_status mc_shadow_request(const mc_router *r, const mc_mirror_policy *policy, const mc_cluster *cluster,
                            mc_headers *to, uint64_t *timeout_ms) {
    mc_status status = mc_shadow_copy(&r->stream->request, to);
    if (status == MC_OK && (status = mutate(r, policy, to)) == MC_OK && (status = set_host(policy, to)) == MC_OK) {
        *timeout_ms = timeout_of(r, to);
        status = sign(r, *timeout_ms, to);
    }
    MC_TRY(status == MC_OK ? filter_request(r, cluster, to) : status);
    return to->unchecked && mc_headers_unsendable(to) != NULL ? MC_EINVAL : MC_OK;
}
