#include "proxy/upstream_chain.h"

#include "base/alloc.h"
#include "proxy/filters/kind.h"

typedef struct tries_chain {
    const mc_filter_config *filters;
    uint32_t begin, end;
    bool of_cluster;
} tries_chain;

/* False: the codec alone, or nothing. */
static bool find_chain(const mc_router *r, const mc_cluster *cluster, tries_chain *out) {
    const mc_hcm *hcm = r->stream->hcm;
    const struct mc_cluster_filters *own = cluster->filters;
    const mc_filter_chain *chain = own != NULL ? &own->chain : &hcm->upstream;
    *out = (tries_chain){own != NULL ? own->list.filters : hcm->filters, chain->begin, chain->end, own != NULL};
    return out->end > out->begin + 1;
}

/* --- without state ------------------------------------------------------------------------------------------------ */

/* Headers pass the filters that `wanted` names; false: one of them let them not. */
static bool pass(const mc_router *r, const tries_chain *chain, bool (*wanted)(const mc_filter_kind *kind),
                 mc_headers *headers, bool end_stream) {
    mc_filters among = {.stream = r->stream, .by_name = chain->of_cluster};
    for (uint32_t slot = chain->begin; slot + 1 < chain->end; slot++) {
        const mc_filter_config *entry = &chain->filters[slot];
        if (!wanted(entry->kind) || mc_filter_is_disabled(&among, entry, slot)) {
            continue;
        }
        mc_filter filter = {.type = entry->type,
                            .config = entry->config,
                            .stream = r->stream,
                            .among = &among,
                            .entry = entry,
                            .slot = (uint8_t)slot};
        if (entry->type->decode_headers(&filter, headers, end_stream) != MC_FILTER_CONTINUE) {
            return false;
        }
    }
    return !r->stream->finished;
}

static bool asked_for_host(const mc_filter_kind *kind) { return kind->in_tries == MC_TRY_HOST; }
static bool changes_copies(const mc_filter_kind *kind) { return kind->copies; }

bool mc_try_admitted(mc_router *r) {
    tries_chain chain;
    return !find_chain(r, r->upstream->cluster, &chain) ||
           pass(r, &chain, asked_for_host, &r->stream->request, r->headers_only);
}

bool mc_upstream_chain_copy(const mc_router *r, const mc_cluster *cluster, mc_headers *headers, bool end_stream) {
    tries_chain chain;
    return !find_chain(r, cluster, &chain) || pass(r, &chain, changes_copies, headers, end_stream);
}

/* --- of a try ----------------------------------------------------------------------------------------------------- */

static void **cluster_states(mc_upstream *upstream) {
    if (upstream->filter_states == NULL) {
        upstream->filter_states = mc_calloc(upstream->cluster->filters->list.count, sizeof(void *));
        upstream->close_filters = mc_cluster_filters_close;
    }
    return upstream->filter_states;
}

mc_status mc_try_open_filters(mc_try *t) {
    mc_router *r = t->router;
    tries_chain chain;
    if (!find_chain(r, r->upstream->cluster, &chain)) {
        return MC_OK;
    }
    mc_filters *filters = mc_arena_alloc(&r->stream->arena, sizeof *filters);
    void **states = chain.of_cluster ? cluster_states(r->upstream) : r->stream->pin->filter_states;
    if (filters == NULL || states == NULL) {
        return MC_ENOMEM;
    }
    *filters = (mc_filters){.stream = r->stream, .of_try = t, .worker_states = states, .by_name = chain.of_cluster};
    mc_buffer_init(&t->passed, mc_net_chunks(r->stream->proxy->net));
    t->filters = filters;
    return mc_filters_open(filters, chain.filters, chain.begin, chain.end);
}

bool mc_try_filter_headers(mc_try *t, bool end_stream) {
    t->filters->let_by = false;
    t->filters->response = &t->headers;
    mc_chain_headers(t->filters, MC_ENCODE, end_stream);
    return t->filters->let_by;
}

bool mc_try_filter_trailers(mc_try *t) {
    t->filters->let_by = false;
    t->filters->response_trailers = t->trailers;
    mc_chain_trailers(t->filters, MC_ENCODE);
    return t->filters->let_by;
}

/* --- the codec ---------------------------------------------------------------------------------------------------- */

static mc_filter_status codec_headers(mc_filter *filter, mc_headers *headers, bool end_stream) {
    mc_try_pass_head(filter->among->of_try, end_stream);
    return MC_FILTER_STOP;
}

static mc_filter_status codec_data(mc_filter *filter, mc_slice data, bool end_stream) {
    mc_try_pass_data(filter->among->of_try, data, end_stream);
    return MC_FILTER_STOP;
}

static mc_filter_status codec_trailers(mc_filter *filter, mc_headers *trailers) {
    mc_try_pass_data(filter->among->of_try, MC_SLICE_NONE, true);
    return MC_FILTER_STOP;
}

const mc_filter_type mc_upstream_codec_filter = {
    .name = "envoy.filters.http.upstream_codec",
    .terminal = true,
    .decode_headers = codec_headers,
    .decode_data = codec_data,
    .decode_trailers = codec_trailers,
};

const mc_filter_kind mc_filter_kind_upstream_codec = {
    .type = "envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec",
    .filter = &mc_upstream_codec_filter,
    .in_tries = MC_TRY_CHAIN,
};
