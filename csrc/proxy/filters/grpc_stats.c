/* grpc_stats (FL-68): calls and messages counted by method, under "cluster.<name>.grpc.". */
#include "base/value_edit.h"
#include "event/loop.h"
#include "http/grpc.h"
#include "proxy/filters/kind.h"
#include "proxy/stream.h"

#define STATE_KEY "envoy.filters.http.grpc_stats"

typedef struct service {
    mc_slice name;
    mc_slice *methods;
    uint32_t count;
} service;

typedef struct config {
    mc_stats *store;
    bool emit_filter_state, all_methods, upstream_stats, replace_dots;
    service *services; /* that are counted by name */
    uint32_t service_count;
} config;

/* Where the message that is passing stands: 0..4 bytes of its prefix are in, or `left` bytes of it are to come. */
typedef struct frames {
    uint32_t prefix, left;
    uint64_t count;
} frames;

/* What the filter state tells. */
typedef struct told {
    mc_value items[2];
    char digits[2][20];
    size_t count; /* of those that are not zero */
} told;

typedef struct state {
    const mc_cluster *cluster;
    mc_slice scope; /* "cluster.<name>.grpc." or "cluster.<name>.grpc.<service>.<method>."; p == NULL: no stats */
    frames request, response;
    bool request_is_grpc, response_is_grpc;
    told *told; /* NULL: nothing yet */
} state;

/* Messages that begin in these bytes. */
static uint64_t count_frames(frames *frames, mc_slice data) {
    uint64_t begun = 0;
    for (size_t i = 0; i < data.n;) {
        if (frames->prefix == 5) {
            size_t n = data.n - i < frames->left ? data.n - i : frames->left;
            frames->left -= (uint32_t)n;
            frames->prefix = frames->left == 0 ? 0 : 5;
            i += n;
            continue;
        }
        if (frames->prefix == 0) {
            begun++;
            frames->left = 0;
        } else {
            frames->left = frames->left << 8 | (unsigned char)data.p[i];
        }
        frames->prefix++;
        frames->prefix = frames->prefix == 5 && frames->left == 0 ? 0 : frames->prefix;
        i++;
    }
    frames->count += begun;
    return begun;
}

static void add(mc_filter *filter, const state *state, mc_slice name, uint64_t n) {
    const config *config = mc_filter_get_config(filter);
    if (n > 0 && state->scope.p != NULL) {
        mc_counter_add(mc_filter_slab(filter), mc_stats_scoped(config->store, MC_COUNTER, state->scope, name), n);
    }
}

/* The texts in the state change; it is set anew when a count appears in it, as counts of none are left out. */
static mc_status tell_counts(mc_filter *filter, state *state) {
    static const mc_slice snake[] = {MC_SLICE_INIT("request_message_count"), MC_SLICE_INIT("response_message_count")};
    static const mc_slice camel[] = {MC_SLICE_INIT("requestMessageCount"), MC_SLICE_INIT("responseMessageCount")};
    const config *config = mc_filter_get_config(filter);
    if (!config->emit_filter_state) {
        return MC_OK;
    }
    if (state->told == NULL && (state->told = mc_arena_zalloc(mc_filter_arena(filter), sizeof *state->told)) == NULL) {
        return MC_ENOMEM;
    }
    told *told = state->told;
    const uint64_t counts[] = {state->request.count, state->response.count};
    for (int i = 0; i < 2; i++) {
        told->items[i] = mc_value_text(mc_slice_of(told->digits[i], mc_format_u64(told->digits[i], counts[i])));
    }
    const size_t first = counts[0] == 0, count = (counts[0] > 0) + (counts[1] > 0);
    if (told->count == count) {
        return MC_OK;
    }
    told->count = count;
    mc_value object = {.kind = MC_OBJECT, .items = told->items + first, .names = snake + first, .count = count};
    mc_value text = {.kind = MC_OBJECT, .items = told->items + first, .names = camel + first, .count = count};
    mc_value plain = {.kind = MC_LIST, .items = told->items, .count = 2};
    MC_TRY(mc_filter_set_filter_state(filter, MC_SLICE(STATE_KEY), &object));
    MC_TRY(mc_filter_set_filter_state(filter, MC_SLICE(STATE_KEY ":TEXT"), &text));
    return mc_filter_set_filter_state(filter, MC_SLICE(STATE_KEY ":PLAIN"), &plain);
}

/* --- what is counted ------------------------------------------------------------------------------------------------------ */

/* "/service/method", nothing more. */
static bool split_path(mc_slice path, mc_slice *service, mc_slice *method) {
    if (!mc_slice_has_prefix(path, MC_SLICE("/"))) {
        return false;
    }
    path = mc_slice_from(path, 1);
    size_t slash = mc_slice_find(path, '/');
    *service = mc_slice_until(path, slash);
    *method = mc_slice_from(path, slash + 1);
    return service->n > 0 && method->n > 0 && mc_slice_find(*method, '/') == method->n;
}

static bool is_named(const config *config, mc_slice service, mc_slice method) {
    for (uint32_t i = 0; i < config->service_count; i++) {
        const struct service *entry = &config->services[i];
        for (uint32_t j = 0; j < entry->count && mc_slice_eq(entry->name, service); j++) {
            if (mc_slice_eq(entry->methods[j], method)) {
                return true;
            }
        }
    }
    return config->all_methods;
}

static mc_status without_dots(mc_arena *arena, mc_slice *name) {
    char *text = mc_arena_bytes(arena, name->n);
    if (text == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < name->n; i++) {
        text[i] = name->p[i] == '.' ? '_' : name->p[i];
    }
    *name = mc_slice_of(text, name->n);
    return MC_OK;
}

static mc_status make_scope(mc_filter *filter, const mc_cluster *cluster, mc_slice service, mc_slice method,
                            mc_slice *out) {
    const config *config = mc_filter_get_config(filter);
    mc_arena *arena = mc_filter_arena(filter);
    const bool named = is_named(config, service, method);
    if (named && config->replace_dots) {
        MC_TRY(without_dots(arena, &service));
    }
    mc_slice parts[] = {MC_SLICE("cluster."), cluster->stat_name, MC_SLICE(".grpc."), service, MC_SLICE("."), method,
                        MC_SLICE(".")};
    return mc_arena_concat(arena, parts, named ? 7 : 3, out);
}

static mc_filter_status decode_headers(mc_filter *filter, mc_headers *headers, bool end_stream) {
    const config *config = mc_filter_get_config(filter);
    mc_slice service, method;
    const bool grpc = mc_grpc_request(headers);
    if (!grpc && !config->emit_filter_state) {
        return MC_FILTER_CONTINUE;
    }
    const bool named = grpc && split_path(mc_headers_get_known(headers, MC_H_PATH), &service, &method);
    const mc_upstream *upstream = named ? mc_filter_upstream(filter) : NULL;
    state *state = mc_arena_zalloc(mc_filter_arena(filter), sizeof *state);
    if (state == NULL ||
        (upstream != NULL && make_scope(filter, upstream->cluster, service, method, &state->scope) != MC_OK)) {
        return mc_filter_out_of_memory(filter);
    }
    state->request_is_grpc = grpc;
    mc_filter_set_state(filter, state);
    return MC_FILTER_CONTINUE;
}

static mc_filter_status count_data(mc_filter *filter, frames *frames, const char *name, mc_slice data) {
    state *state = mc_filter_get_state(filter);
    uint64_t begun = count_frames(frames, data);
    add(filter, state, mc_slice_cstr(name), begun);
    return begun == 0 || tell_counts(filter, state) == MC_OK ? MC_FILTER_CONTINUE : mc_filter_out_of_memory(filter);
}

static mc_filter_status decode_data(mc_filter *filter, mc_slice data, bool end_stream) {
    state *state = mc_filter_get_state(filter);
    return state == NULL || !state->request_is_grpc
               ? MC_FILTER_CONTINUE
               : count_data(filter, &state->request, "request_message_count", data);
}

static mc_filter_status encode_data(mc_filter *filter, mc_slice data, bool end_stream) {
    state *state = mc_filter_get_state(filter);
    return state == NULL || !state->response_is_grpc
               ? MC_FILTER_CONTINUE
               : count_data(filter, &state->response, "response_message_count", data);
}

static void count_status(mc_filter *filter, const state *state, mc_slice status) {
    if (status.p == NULL) {
        return;
    }
    add(filter, state, status, 1);
    add(filter, state, mc_slice_eq(status, MC_SLICE("0")) ? MC_SLICE("success") : MC_SLICE("failure"), 1);
    add(filter, state, MC_SLICE("total"), 1);
}

static mc_filter_status encode_headers(mc_filter *filter, mc_headers *headers, bool end_stream) {
    state *state = mc_filter_get_state(filter);
    if (state != NULL) {
        state->response_is_grpc = mc_slice_eq(mc_headers_get_known(headers, MC_H_STATUS), MC_SLICE("200")) &&
                                  mc_grpc_content_type(mc_headers_get_known(headers, MC_H_CONTENT_TYPE));
        count_status(filter, state, mc_headers_get_known(headers, MC_H_GRPC_STATUS));
    }
    return MC_FILTER_CONTINUE;
}

static mc_filter_status encode_trailers(mc_filter *filter, mc_headers *trailers) {
    const state *state = mc_filter_get_state(filter);
    if (state != NULL) {
        count_status(filter, state, mc_headers_get_known(trailers, MC_H_GRPC_STATUS));
    }
    return MC_FILTER_CONTINUE;
}

static void encode_complete(mc_filter *filter) {
    const config *config = mc_filter_get_config(filter);
    const state *state = mc_filter_get_state(filter);
    const mc_stream *stream = mc_filter_stream(filter);
    if (state == NULL || state->scope.p == NULL || !config->upstream_stats || stream->first_upstream_us == 0) {
        return;
    }
    uint64_t ms = (mc_loop_now_us(mc_filter_loop(filter)) - stream->request_complete_us) / 1000;
    mc_histogram_record(mc_filter_slab(filter),
                        mc_stats_scoped(config->store, MC_HISTOGRAM, state->scope, MC_SLICE("upstream_rq_time")), ms);
}

/* --- compiling ------------------------------------------------------------------------------------------------------------ */

static mc_status read_service(mc_filter_compile *c, const mc_value *value, service *out) {
    const mc_value *list;
    size_t count;
    MC_TRY(mc_read_text(c->arena, value, "name", &out->name, c->error));
    MC_TRY(mc_value_read_list(value, "method_names", &list, &count, c->error));
    out->methods = mc_arena_alloc(c->arena, count * sizeof *out->methods);
    if (out->methods == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_arena_dup(c->arena, list[i].kind == MC_STRING ? list[i].string : MC_SLICE_NONE,
                            &out->methods[out->count++]));
    }
    return MC_OK;
}

static mc_status compile(mc_filter_compile *c, const mc_value *value, void **out) {
    const mc_value *allowed, *list;
    size_t count;
    config *config = mc_arena_zalloc(c->arena, sizeof *config);
    *out = config;
    if (config == NULL) {
        return MC_ENOMEM;
    }
    config->store = c->stats;
    MC_TRY(mc_value_read_bool(value, "emit_filter_state", &config->emit_filter_state, c->error));
    MC_TRY(mc_value_read_bool(value, "stats_for_all_methods", &config->all_methods, c->error));
    MC_TRY(mc_value_read_bool(value, "enable_upstream_stats", &config->upstream_stats, c->error));
    MC_TRY(mc_value_read_bool(value, "replace_dots_in_grpc_service_name", &config->replace_dots, c->error));
    MC_TRY(mc_value_read_object(value, "individual_method_stats_allowlist", &allowed, c->error));
    MC_TRY(mc_value_read_list(allowed, "services", &list, &count, c->error));
    config->services = mc_arena_zalloc(c->arena, count * sizeof *config->services);
    if (config->services == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(read_service(c, &list[i], &config->services[config->service_count++]), c->error,
                           "individual_method_stats_allowlist.services[%zu]", i));
    }
    return MC_OK;
}

static const mc_filter_type filter_type = {
    .name = "envoy.filters.http.grpc_stats",
    .decode_headers = decode_headers,
    .decode_data = decode_data,
    .encode_headers = encode_headers,
    .encode_data = encode_data,
    .encode_trailers = encode_trailers,
    .encode_complete = encode_complete,
};

const mc_filter_kind mc_filter_kind_grpc_stats = {
    .type = "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig", .filter = &filter_type, .compile = compile};
