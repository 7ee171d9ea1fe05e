/* local_ratelimit (FL-30 to FL-32): token buckets of this process, for all requests or for those that descriptors pick. */
#include "event/loop.h"
#include "http/codes.h"
#include "proxy/filters/rate_buckets.h"
#include "proxy/stream.h"
#include "route/format.h"
#include "route/mutate.h"

#define STATS(X) X(enabled) X(enforced) X(rate_limited) X(ok) X(shadow_mode)

enum { DYNAMIC_DESCRIPTORS = 20 };

typedef struct config {
    uint16_t status;
    mc_fraction enabled, enforced;
    bool has_bucket, per_connection, always_default, resource_exhausted, headers;
    uint32_t sharers; /* slot of the cluster whose hosts share the tokens; UINT32_MAX: this process has them alone */
    mc_rate_limit_fill fill;
    mc_rate_bucket bucket;
    mc_rate_descriptors descriptors;
    uint32_t stage;
    mc_vh_rate_limits host_limits;
    const mc_rate_limits *own_limits; /* the filter's; NULL: the route's count */
    const mc_header_mutations *response_headers, *request_headers;
    mc_slice node_cluster;
    struct {
        STATS(MC_STAT_FIELD)
    } stats;
} config;

/* filter state: what the response tells of the bucket that decided */
typedef struct state {
    uint64_t limit, remaining, reset_s;
} state;

static uint64_t now_ns(mc_filter *filter) { return mc_loop_now_us(mc_filter_loop(filter)) * 1000; }

/* --- deciding -------------------------------------------------------------------------------------------------------------- */

typedef struct hit {
    mc_rate_descriptor *descriptor;
    const mc_rate_limit_descriptor *request;
} hit;

static mc_status describe(mc_filter *filter, const config *config, mc_rate_limit_descriptors *out) {
    mc_stream *stream = mc_filter_stream(filter);
    const mc_route_match *match = mc_filter_match(filter);
    const mc_stream_info *info = mc_filter_info(filter);
    if (config->descriptors.count == 0 || match == NULL || match->route == NULL) {
        return match == NULL ? MC_ENOMEM : MC_OK;
    }
    if (info == NULL) {
        return MC_ENOMEM;
    }
    mc_route_request request = {.headers = &stream->request,
                                .random = stream->random,
                                .remote = &stream->remote,
                                .local = info->downstream_local,
                                .arena = &stream->arena,
                                .info = info,
                                .runtime = stream->proxy->runtime};
    if (config->own_limits == NULL) {
        MC_TRY(mc_route_rate_limits(match, &request, config->node_cluster, config->stage, false, config->host_limits,
                                    out));
        for (uint32_t i = 0; i < out->count; i++) { /* Envoy: the hits of routes' limits count for a service alone */
            out->items[i].has_hits = out->items[i].gives_back = out->items[i].bad_hits = false;
        }
        return MC_OK;
    }
    mc_rate_limit_context context = {
        .request = &request, .route = match->route, .cluster = match->cluster, .local_cluster = config->node_cluster};
    return mc_rate_limits_descriptors(config->own_limits, config->stage, false, &context, out);
}

/* What the request's descriptors hit, the slowest bucket first. */
static mc_status find_hits(const config *config, const mc_rate_limit_descriptors *given, mc_arena *arena, hit **out,
                           uint32_t *count) {
    hit *hits = mc_arena_alloc(arena, given->count * sizeof *hits);
    uint32_t n = 0;
    if (hits == NULL) {
        return MC_ENOMEM;
    }
    for (uint32_t i = 0; i < given->count; i++) {
        const hit found = {mc_rate_descriptors_find(&config->descriptors, &given->items[i]), &given->items[i]};
        if (found.descriptor == NULL || found.request->bad_hits || found.request->disable_key.n > 0) { /* FL-32 */
            continue;
        }
        uint32_t at = n++;
        for (; at > 0 && hits[at - 1].descriptor->bucket.rate > found.descriptor->bucket.rate; at--) {
            hits[at] = hits[at - 1];
        }
        hits[at] = found;
    }
    *out = hits;
    *count = n;
    return MC_OK;
}

static mc_rate_bucket *default_bucket(mc_filter *filter, config *config) {
    if (!config->per_connection) {
        return &config->bucket;
    }
    mc_rate_bucket *own = mc_downstream_object(mc_filter_stream(filter)->downstream, config, sizeof *own);
    if (own != NULL && own->max_tokens == 0 && mc_rate_bucket_init(own, &config->fill, now_ns(filter)) != MC_OK) {
        return &config->bucket;
    }
    return own == NULL ? &config->bucket : own;
}

/* FL-32: each of n that share the tokens pays n times the price. */
static double share(mc_filter *filter, const config *config) {
    const mc_upstream *upstream =
        config->sharers == UINT32_MAX ? NULL : mc_proxy_upstream(mc_filter_stream(filter)->proxy, config->sharers);
    const size_t hosts = upstream == NULL ? 0 : mc_hosts_count(upstream->hosts);
    return hosts == 0 ? 1 : (double)hosts;
}

static bool take(mc_filter *filter, const config *config, const hit *hit, mc_rate_bucket *seen) {
    const double hits = hit->request->has_hits ? (double)hit->request->hits_addend : 1;
    const double cost = share(filter, config) * (hit->request->gives_back ? -hits : hits);
    const uint64_t now = now_ns(filter);
    const bool takes = hits > 0 || hit->request->gives_back; /* Envoy: what takes nothing is refused */
    return mc_rate_descriptor_take(&config->descriptors, hit->descriptor, hit->request, now, cost, seen) && takes;
}

static mc_status tell(mc_filter *filter, const config *config, const mc_rate_bucket *bucket,
                      mc_rate_limit_headers option) {
    const uint64_t now = now_ns(filter);
    if (option == MC_RATE_HEADERS_UNSPECIFIED ? !config->headers : option == MC_RATE_HEADERS_OFF) {
        return MC_OK;
    }
    state *state = mc_arena_alloc(mc_filter_arena(filter), sizeof *state);
    if (state == NULL) {
        return MC_ENOMEM;
    }
    uint64_t wait = mc_token_bucket_wait(&bucket->tokens, now, 1);
    if (wait == UINT64_MAX) { /* a bucket without room for a token tells when the next one would be made */
        wait = (uint64_t)bucket->tokens.per_token;
    }
    *state = (struct state){bucket->max_tokens, (uint64_t)mc_token_bucket_tokens(&bucket->tokens, now),
                            (wait + 999999999) / 1000000000};
    mc_filter_set_state(filter, state);
    return MC_OK;
}

/* Whether there were tokens; *shadow: the descriptor that had none lets it pass. */
static mc_status decide(mc_filter *filter, config *config, bool *allowed, bool *shadow) {
    mc_rate_limit_descriptors given = {0};
    hit *hits;
    uint32_t count;
    mc_rate_bucket first, seen;
    MC_TRY(describe(filter, config, &given));
    MC_TRY(find_hits(config, &given, mc_filter_arena(filter), &hits, &count));
    *allowed = true;
    for (uint32_t i = 0; i < count && *allowed; i++) {
        *allowed = take(filter, config, &hits[i], &seen);
        first = i == 0 ? seen : first;
        if (!*allowed) {
            *shadow = hits[i].descriptor->shadow;
            return tell(filter, config, &seen, hits[i].request->headers);
        }
    }
    mc_rate_bucket *otherwise = config->has_bucket ? default_bucket(filter, config) : NULL;
    if (otherwise != NULL && (count == 0 || config->always_default)) {
        *allowed = mc_token_bucket_consume(&otherwise->tokens, now_ns(filter), share(filter, config));
        if (!*allowed) {
            return otherwise->max_tokens == 0 /* one that never has tokens has nothing to tell */
                       ? MC_OK
                       : tell(filter, config, otherwise, MC_RATE_HEADERS_UNSPECIFIED);
        }
    }
    if (count > 0) {
        return tell(filter, config, &first, hits[0].request->headers);
    }
    return otherwise == NULL ? MC_OK : tell(filter, config, otherwise, MC_RATE_HEADERS_UNSPECIFIED);
}

/* --- the filter ------------------------------------------------------------------------------------------------------------ */

#define COUNT(filter, config, name) mc_counter_inc(mc_filter_slab(filter), (config)->stats.name)

static mc_status reply(mc_filter *filter, const config *config) {
    mc_headers headers;
    mc_headers_init(&headers, mc_filter_arena(filter));
    const mc_stream_info *info = mc_filter_info(filter);
    if (info == NULL) {
        return MC_ENOMEM;
    }
    MC_TRY(mc_header_mutations_apply(config->response_headers, &headers, info));
    uint32_t live = 0;
    for (uint32_t i = 0; i < headers.count; i++) {
        if (!headers.items[i].removed) {
            headers.items[live++] = headers.items[i];
        }
    }
    mc_filter_reply(filter, &(mc_reply){.status = config->status,
                                        .body = MC_SLICE_INIT("local_rate_limited"),
                                        .details = "local_rate_limited",
                                        .flags = MC_FLAG(RL),
                                        .has_grpc_status = config->resource_exhausted,
                                        .grpc_status = 8,
                                        .headers = headers.items,
                                        .header_count = live});
    return MC_OK;
}

static mc_status run(mc_filter *filter, config *config, bool *limited) {
    const mc_runtime *runtime = mc_filter_runtime(filter);
    bool allowed, shadow = false;
    if (!mc_fraction_holds(&config->enabled, runtime, mc_filter_random(filter))) {
        return MC_OK;
    }
    COUNT(filter, config, enabled);
    MC_TRY(decide(filter, config, &allowed, &shadow));
    if (allowed) {
        COUNT(filter, config, ok);
        return MC_OK;
    }
    COUNT(filter, config, rate_limited);
    if (shadow) { /* FL-32 */
        COUNT(filter, config, shadow_mode);
        return MC_OK;
    }
    if (!mc_fraction_holds(&config->enforced, runtime, mc_filter_random(filter))) {
        const mc_stream_info *info = mc_filter_info(filter);
        return info == NULL
                   ? MC_ENOMEM
                   : mc_header_mutations_apply(config->request_headers, mc_filter_request_headers(filter), info);
    }
    COUNT(filter, config, enforced);
    *limited = true;
    return reply(filter, config);
}

static mc_filter_status decode_headers(mc_filter *filter, mc_headers *headers, bool end_stream) {
    config *config = (struct config *)mc_filter_route_config(filter);
    bool limited = false;
    if (run(filter, config, &limited) != MC_OK) {
        return mc_filter_out_of_memory(filter);
    }
    return limited ? MC_FILTER_STOP : MC_FILTER_CONTINUE;
}

static mc_status add_number(mc_headers *headers, mc_slice name, uint64_t value) {
    char digits[20];
    return mc_headers_add(headers, name, mc_slice_of(digits, mc_format_u64(digits, value)));
}

static mc_filter_status encode_headers(mc_filter *filter, mc_headers *headers, bool end_stream) {
    const state *state = mc_filter_get_state(filter);
    if (state == NULL) {
        return MC_FILTER_CONTINUE;
    }
    if (add_number(headers, MC_SLICE("x-ratelimit-limit"), state->limit) != MC_OK ||
        add_number(headers, MC_SLICE("x-ratelimit-remaining"), state->remaining) != MC_OK ||
        add_number(headers, MC_SLICE("x-ratelimit-reset"), state->reset_s) != MC_OK) {
        return mc_filter_out_of_memory(filter);
    }
    return MC_FILTER_CONTINUE;
}

/* --- compiling ------------------------------------------------------------------------------------------------------------- */

static mc_status read_status(mc_filter_compile *c, const mc_value *value, config *out) {
    const mc_value *status;
    mc_slice name = MC_SLICE_NONE;
    MC_TRY(mc_value_read_object(value, "status", &status, c->error));
    MC_TRY(mc_error_in(mc_value_read_string(status, "code", &name, c->error), c->error, "status"));
    uint16_t code = mc_http_status_named(name);
    out->status = code < 400 ? 429 : code;
    return MC_OK;
}

/* The filter's own limits have nothing to be told apart by. */
/* A limit of the filter's own says how much a request counts in one way alone, unlike those of routes. */
static mc_status check_hits(mc_filter_compile *c, const mc_value *limit) {
    const mc_value *hits;
    const mc_format *format;
    mc_slice text = MC_SLICE_NONE;
    MC_TRY(mc_value_read_object(limit, "hits_addend", &hits, c->error));
    if (hits == NULL) {
        return MC_OK;
    }
    MC_TRY(mc_value_read_string(hits, "format", &text, c->error));
    if ((text.n > 0) == (mc_value_get(hits, "number") != NULL)) {
        return mc_error_set(c->error, MC_EINVAL, "hits_addend", "must have either a number or a format");
    }
    if (text.n == 0) {
        return MC_OK;
    }
    MC_TRY(
        mc_error_in(mc_format_compile_text(c->arena, text, true, &format, c->error), c->error, "hits_addend.format"));
    return mc_format_parts(format) == 1
               ? MC_OK
               : mc_error_set(c->error, MC_EINVAL, "hits_addend.format", "must be exactly one operator");
}

static mc_status check_limits(mc_filter_compile *c, const mc_value *value) {
    static const char *const fields[] = {"stage", "disable_key", "limit"};
    const mc_value *list;
    size_t count;
    MC_TRY(mc_value_read_list(value, "rate_limits", &list, &count, c->error));
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < sizeof fields / sizeof fields[0]; j++) {
            const mc_value *given = mc_value_get(&list[i], fields[j]);
            if (given != NULL && !(given->kind == MC_STRING && given->string.n == 0)) {
                mc_error_set(c->error, MC_EINVAL, fields[j], "is for the limits of routes");
                mc_error_under(c->error, "rate_limits[%zu]", i);
                return MC_EINVAL;
            }
        }
        MC_TRY(mc_error_in(check_hits(c, &list[i]), c->error, "rate_limits[%zu]", i));
    }
    return MC_OK;
}

static mc_status read_options(mc_filter_compile *c, const mc_value *value, config *out) {
    static const mc_name_value versions[] = {{"OFF", 0}, {"DRAFT_VERSION_03", 1}, {NULL, 0}};
    static const mc_name_value hosts[] = {{"OVERRIDE", MC_VH_RATE_LIMITS_OVERRIDE},
                                          {"INCLUDE", MC_VH_RATE_LIMITS_INCLUDE},
                                          {"IGNORE", MC_VH_RATE_LIMITS_IGNORE},
                                          {NULL, 0}};
    uint64_t headers = 0, host_limits = MC_VH_RATE_LIMITS_OVERRIDE;
    MC_TRY(mc_value_read_bool(value, "local_rate_limit_per_downstream_connection", &out->per_connection, c->error));
    MC_TRY(mc_value_read_bool(value, "always_consume_default_token_bucket", &out->always_default, c->error));
    MC_TRY(mc_value_read_bool(value, "rate_limited_as_resource_exhausted", &out->resource_exhausted, c->error));
    MC_TRY(mc_value_read_u32(value, "stage", &out->stage, c->error));
    MC_TRY(mc_value_read_u32(value, "max_dynamic_descriptors", &out->descriptors.max_made, c->error));
    MC_TRY(mc_read_enum(value, "enable_x_ratelimit_headers", versions, &headers, c->error));
    MC_TRY(mc_read_enum(value, "vh_rate_limits", hosts, &host_limits, c->error));
    out->headers = headers == 1;
    out->host_limits = (mc_vh_rate_limits)host_limits;
    MC_TRY(check_limits(c, value));
    return mc_rate_limits_compile(c->arena, value, "rate_limits", &out->own_limits, c->error);
}

static mc_status read_sharers(mc_filter_compile *c, const mc_value *value, config *out) {
    static const char field[] = "local_cluster_rate_limit";
    out->sharers = UINT32_MAX;
    if (mc_value_get(value, field) == NULL) {
        return MC_OK;
    }
    if (out->per_connection) {
        return mc_error_set(c->error, MC_EINVAL, field,
                            "must not be set with local_rate_limit_per_downstream_connection");
    }
    if (c->local_cluster.n == 0) {
        return mc_error_set(c->error, MC_EINVAL, field, "needs cluster_manager.local_cluster_name");
    }
    out->sharers = c->cluster_slot(c->ctx, c->local_cluster);
    return out->sharers == UINT32_MAX ? MC_ENOMEM : MC_OK;
}

static mc_status compile(mc_filter_compile *c, const mc_value *value, void **out) {
    const mc_value *bucket;
    mc_slice prefix = MC_SLICE_NONE, scope;
    config *config = mc_arena_zalloc(c->arena, sizeof *config);
    *out = config;
    if (config == NULL) {
        return MC_ENOMEM;
    }
    config->node_cluster = c->node_cluster;
    config->enabled = config->enforced = (mc_fraction){0, 100, MC_SLICE_NONE};
    config->always_default = true;
    config->descriptors.max_made = DYNAMIC_DESCRIPTORS;
    MC_TRY(mc_value_read_string(value, "stat_prefix", &prefix, c->error));
    if (prefix.n == 0) {
        return mc_error_set(c->error, MC_EINVAL, "stat_prefix", "must not be empty");
    }
    mc_slice parts[] = {prefix, MC_SLICE(".http_local_rate_limit.")};
    MC_TRY(mc_arena_concat(c->arena, parts, 2, &scope));
#define COUNTER(name) config->stats.name = mc_stats_scoped(c->stats, MC_COUNTER, scope, MC_SLICE(#name));
    STATS(COUNTER)
#undef COUNTER
    MC_TRY(mc_value_read_object(value, "token_bucket", &bucket, c->error));
    config->has_bucket = bucket != NULL;
    if (bucket != NULL) {
        MC_TRY(mc_error_in(mc_rate_bucket_read(c, bucket, &config->fill, &config->bucket), c->error, "token_bucket"));
    } else if (c->is_route) {
        return mc_error_set(c->error, MC_EINVAL, "token_bucket", "is required for a route");
    }
    MC_TRY(read_status(c, value, config));
    MC_TRY(mc_fraction_read(c->arena, value, "filter_enabled", &config->enabled, c->error));
    MC_TRY(mc_fraction_read(c->arena, value, "filter_enforced", &config->enforced, c->error));
    MC_TRY(mc_header_options_compile(c->arena, value, "response_headers_to_add", MC_HEADERS_OF_RESPONSE,
                                     &config->response_headers, c->error));
    MC_TRY(mc_header_options_compile(c->arena, value, "request_headers_to_add_when_not_enforced", MC_HEADERS_OF_REQUEST,
                                     &config->request_headers, c->error));
    MC_TRY(read_options(c, value, config));
    MC_TRY(read_sharers(c, value, config));
    return mc_rate_descriptors_read(c, value, &config->descriptors);
}

static const mc_filter_type filter_type = {
    .name = "envoy.filters.http.local_ratelimit", .decode_headers = decode_headers, .encode_headers = encode_headers};

const mc_filter_kind mc_filter_kind_local_ratelimit = {
    .type = "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
    .route_type = "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
    .filter = &filter_type,
    .compile = compile,
    .compile_route = compile,
};
