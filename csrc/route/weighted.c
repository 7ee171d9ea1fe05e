/* Which cluster a matched route goes to (RT-20 to RT-23). */
#include "route/compile.h"

static mc_status compile_entry(mc_compile *c, const mc_value *value, mc_slice runtime_prefix, const mc_route *route,
                               mc_weighted_cluster *out) {
    mc_slice name = MC_SLICE_NONE, header = MC_SLICE_NONE;
    MC_TRY(mc_value_read_string(value, "name", &name, c->error));
    MC_TRY(mc_value_read_string(value, "cluster_header", &header, c->error));
    MC_TRY(mc_dup_lower(c->arena, header, &out->cluster_header));
    if ((name.n > 0) == (header.n > 0)) {
        return mc_error_set(c->error, MC_EINVAL, "", "must have either name or cluster_header");
    }
    out->id = MC_NO_CLUSTER;
    if (name.n > 0) {
        MC_TRY(mc_compile_cluster(c, value, "name", &out->name, &out->id));
    }
    MC_TRY(mc_value_read_u32(value, "weight", &out->weight, c->error));
    if (runtime_prefix.n > 0) {
        const mc_slice key[] = {runtime_prefix, MC_SLICE("."), name};
        MC_TRY(mc_arena_concat(c->arena, key, 3, &out->runtime_key));
    }
    MC_TRY(mc_compile_metadata_match(c, value, route->metadata_match, &out->metadata_match));
    MC_TRY(mc_read_text(c->arena, value, "host_rewrite_literal", &out->host_rewrite_literal, c->error));
    MC_TRY(mc_compile_filter_configs(c, value, route->filters, &out->filter_configs, &out->filters));
    MC_TRY(mc_compile_mutations(c, value, MC_HEADERS_OF_REQUEST, &out->request_mutations));
    return mc_compile_mutations(c, value, MC_HEADERS_OF_RESPONSE, &out->response_mutations);
}

/* The sum with the weight that the runtime has for the entry; false: more than fits. */
static bool add_weight(const mc_runtime *runtime, const mc_weighted_cluster *entry, uint64_t *total) {
    const uint64_t weight = mc_runtime_u64(runtime, entry->runtime_key, entry->weight);
    const bool fits = weight <= UINT32_MAX - *total;
    *total += fits ? weight : 0;
    return fits;
}

mc_status mc_compile_weighted(mc_compile *c, const mc_value *value, mc_route *out) {
    static const char *const known[] = {"clusters",        "total_weight",       "header_name",
                                        "use_hash_policy", "runtime_key_prefix", NULL};
    MC_TRY(mc_refuse_unknown(value, known, c->error));
    const mc_value *items;
    size_t count;
    MC_TRY(mc_value_read_list(value, "clusters", &items, &count, c->error));
    if (count == 0) {
        return mc_error_set(c->error, MC_EINVAL, "clusters", "must have at least one entry");
    }
    mc_slice prefix = MC_SLICE_NONE;
    bool fits = true;
    MC_TRY(mc_value_read_string(value, "runtime_key_prefix", &prefix, c->error));
    out->weighted_by_runtime = prefix.n > 0;
    mc_weighted_cluster *clusters = mc_arena_zalloc(c->arena, count * sizeof *clusters);
    if (clusters == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(compile_entry(c, &items[i], prefix, out, &clusters[i]), c->error, "clusters[%zu]", i));
        fits = fits && add_weight(c->runtime, &clusters[i], &out->total_weight);
    }
    if (out->total_weight == 0 || !fits) {
        return mc_error_set(c->error, MC_EINVAL, "clusters", "weights must sum to between 1 and %u", UINT32_MAX);
    }
    mc_slice header = MC_SLICE_NONE;
    MC_TRY(mc_value_read_string(value, "header_name", &header, c->error));
    MC_TRY(mc_dup_lower(c->arena, header, &out->weighted_header));
    MC_TRY(mc_value_read_bool(value, "use_hash_policy", &out->weighted_by_hash, c->error));
    out->weighted = clusters;
    out->weighted_count = (uint32_t)count;
    return MC_OK;
}

/* The number that picks: the request's hash, a header, or the stream's stable random. */
static mc_status weighted_random(const mc_route *route, const mc_route_request *request, uint64_t *out) {
    *out = request->random;
    if (route->weighted_by_hash) {
        mc_request_hash hash;
        MC_TRY(mc_route_hash(route, request, &hash));
        *out = hash.has_hash ? hash.hash : *out;
    } else if (route->weighted_header.n > 0) {
        uint32_t at = 0;
        uint64_t number;
        const mc_header *header = mc_headers_next(request->headers, route->weighted_header, &at);
        bool once = header != NULL && mc_headers_next(request->headers, route->weighted_header, &at) == NULL;
        if (once && mc_slice_number(header->value, UINT64_MAX, &number) == MC_OK) {
            *out = number;
        }
    }
    return MC_OK;
}

/* The entry that `pick` falls on; NULL when the runtime leaves no weight at all, or more than fits. */
static const mc_weighted_cluster *pick_by_runtime(const mc_route *route, const mc_runtime *runtime, uint64_t pick) {
    uint64_t total = 0, sum = 0;
    for (uint32_t i = 0; i < route->weighted_count; i++) {
        if (!add_weight(runtime, &route->weighted[i], &total)) {
            return NULL;
        }
    }
    for (uint32_t i = 0; total > 0 && i < route->weighted_count; i++) {
        sum += mc_runtime_u64(runtime, route->weighted[i].runtime_key, route->weighted[i].weight);
        if (pick % total < sum) {
            return &route->weighted[i];
        }
    }
    return NULL;
}

static const mc_weighted_cluster *pick_by_weight(const mc_route *route, uint64_t pick) {
    uint64_t sum = 0;
    const mc_weighted_cluster *chosen = route->weighted;
    pick %= route->total_weight;
    while ((sum += chosen->weight) <= pick) {
        chosen++;
    }
    return chosen;
}

mc_status mc_route_choose_cluster(const mc_match_input *in, mc_route_match *match) {
    const mc_route_request *request = in->request;
    const mc_route *route = match->route;
    mc_slice header = route->cluster_header;
    if (route->no_plugin) { /* RT-23 */
        match->route = NULL;
        return MC_OK;
    }
    if (route->cluster_matcher != NULL) {
        const void *name;
        MC_TRY(mc_matcher_tree_find(route->cluster_matcher, in, &name));
        match->cluster = name == NULL ? MC_SLICE_NONE : *(const mc_slice *)name;
        return MC_OK;
    }
    if (route->weighted_count > 0) {
        uint64_t pick;
        MC_TRY(weighted_random(route, request, &pick));
        const mc_weighted_cluster *chosen =
            route->weighted_by_runtime ? pick_by_runtime(route, request->runtime, pick) : pick_by_weight(route, pick);
        if (chosen == NULL) {
            match->route = NULL;
            return MC_OK;
        }
        match->weighted = chosen;
        match->cluster = chosen->name;
        match->cluster_id = chosen->id;
        header = chosen->cluster_header;
    }
    if (header.n > 0) {
        match->cluster = mc_headers_get(request->headers, header);
    }
    return MC_OK;
}
