#include "proxy/hcm.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/defaults.h"
#include "base/read.h"
#include "http/flags.h"
#include "proxy/filters/rbac.h"
#include "proxy/router.h"
#include "proxy/upstream_chain.h"

#define TRY(call)                                                                                                      \
    do {                                                                                                               \
        mc_status status_ = (call);                                                                                    \
        if (status_ != MC_OK) {                                                                                        \
            return status_;                                                                                            \
        }                                                                                                              \
    } while (0)

mc_hcm *mc_hcm_ref(mc_hcm *hcm) {
    atomic_fetch_add_explicit(&hcm->refs, 1, memory_order_relaxed);
    return hcm;
}

void mc_hcm_unref(mc_hcm *hcm) {
    if (hcm == NULL || atomic_fetch_sub_explicit(&hcm->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    mc_hcm_routes_fini(hcm);
    mc_access_logs_unref(hcm->access.logs);
    mc_access_logs_unref(hcm->access.connections);
    mc_access_logs_unref(hcm->access.upstream);
    if (hcm->code_scopes != NULL) {
        mc_code_scopes_fini(hcm->code_scopes);
    }
    mc_stats_unref(hcm->stats_store);
    mc_arena_fini(&hcm->arena);
    mc_free(hcm);
}

mc_hcm_pin *mc_hcm_pin_new(mc_hcm *hcm) {
    mc_hcm_pin *pin = mc_calloc(1, sizeof *pin + hcm->filter_count * sizeof(void *));
    if (pin != NULL) {
        pin->hcm = mc_hcm_ref(hcm);
        pin->refs = 1;
    }
    return pin;
}

void mc_hcm_pin_unref(mc_hcm_pin *pin) {
    if (pin != NULL && --pin->refs == 0) {
        for (uint32_t i = 0; i < pin->hcm->filter_count; i++) {
            if (pin->filter_states[i] != NULL) {
                pin->hcm->filters[i].kind->worker_close(pin->filter_states[i]);
            }
        }
        mc_hcm_unref(pin->hcm);
        mc_free(pin);
    }
}

/* A string field copied into the HCM's arena; keeps `out` when absent. */
static mc_status read_text(mc_hcm *hcm, const mc_value *object, const char *name, mc_slice *out, mc_error *error) {
    mc_slice text = MC_SLICE_NONE;
    TRY(mc_value_read_string(object, name, &text, error));
    return text.p == NULL ? MC_OK : mc_arena_dup(&hcm->arena, text, out);
}

typedef struct choice {
    const char *name;
    int value;
} choice;

static mc_status read_choice(const mc_value *object, const char *name, const choice *choices, size_t count, int *out,
                             mc_error *error) {
    mc_slice text = MC_SLICE_NONE;
    TRY(mc_value_read_string(object, name, &text, error));
    if (text.p == NULL) {
        return MC_OK;
    }
    for (size_t i = 0; i < count; i++) {
        if (mc_slice_eq(text, mc_slice_cstr(choices[i].name))) {
            *out = choices[i].value;
            return MC_OK;
        }
    }
    return mc_error_set(error, MC_EINVAL, name, "unsupported value %.*s", MC_SLICE_ARG(text));
}
#define CHOICES(list) list, sizeof(list) / sizeof((list)[0])

static mc_status read_common(mc_hcm *hcm, const mc_value *config, mc_error *error) {
    static const choice underscores[] = {{"ALLOW", 0}, {"DROP_HEADER", 1}, {"REJECT_REQUEST", 2}};
    const mc_value *common;
    int action = 0;
    TRY(mc_value_read_object(config, "common_http_protocol_options", &common, error));
    if (mc_value_get(common, "max_response_headers_kb") != NULL) { /* HC-39 */
        return mc_error_set(error, MC_EINVAL, "common_http_protocol_options.max_response_headers_kb",
                            "is of clusters only");
    }
    TRY(mc_value_read_duration_ms(common, "idle_timeout", &hcm->connection_idle_ms, error));
    TRY(mc_value_read_duration_ms(common, "max_connection_duration", &hcm->max_connection_duration_ms, error));
    TRY(mc_value_read_duration_ms(common, "max_stream_duration", &hcm->max_stream_duration_ms, error));
    TRY(mc_value_read_u32(common, "max_requests_per_connection", &hcm->max_requests_per_connection, error));
    TRY(mc_value_read_u32(common, "max_headers_count", &hcm->h1.max_headers_count, error));
    TRY(read_choice(common, "headers_with_underscores_action", CHOICES(underscores), &action, error));
    hcm->h1.underscores = (uint8_t)action;
    return MC_OK;
}

static bool ignores_upgrade(const void *ctx, mc_slice upgrade) {
    const mc_hcm *hcm = ctx;
    for (uint32_t i = 0; i < hcm->ignored_upgrade_count; i++) {
        if (mc_string_match_test(&hcm->ignored_upgrades[i], upgrade) == 1) {
            return true;
        }
    }
    return false;
}

static mc_status read_ignored_upgrades(mc_hcm *hcm, const mc_value *http1, mc_error *error) {
    const mc_value *list;
    size_t count;
    TRY(mc_value_read_list(http1, "ignore_http_11_upgrade", &list, &count, error));
    if (count == 0) {
        return MC_OK;
    }
    hcm->ignored_upgrades = mc_arena_zalloc(&hcm->arena, count * sizeof *hcm->ignored_upgrades);
    if (hcm->ignored_upgrades == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        TRY(mc_error_in(mc_string_match_compile(&hcm->arena, &list[i], &hcm->ignored_upgrades[i], error), error,
                        "ignore_http_11_upgrade[%zu]", i));
    }
    hcm->ignored_upgrade_count = (uint32_t)count;
    hcm->h1.ignores_upgrade = ignores_upgrade;
    hcm->h1.ignore_ctx = hcm;
    return MC_OK;
}

static mc_status read_http1(mc_hcm *hcm, const mc_value *config, mc_error *error) {
    const mc_value *http1;
    TRY(mc_value_read_object(config, "http_protocol_options", &http1, error));
    TRY(mc_error_in(mc_h1_limits_read(http1, &hcm->h1, error), error, "http_protocol_options"));
    TRY(read_text(hcm, http1, "default_host_for_http_10", &hcm->default_host_10, error));
    TRY(mc_error_in(read_ignored_upgrades(hcm, http1, error), error, "http_protocol_options"));
    TRY(mc_value_read_bool(config, "stream_error_on_invalid_http_message", &hcm->keep_open_on_error, error));
    return mc_value_read_bool(http1, "override_stream_error_on_invalid_http_message", &hcm->keep_open_on_error, error);
}

static mc_status read_timeouts(mc_hcm *hcm, const mc_value *config, mc_error *error) {
    hcm->connection_idle_ms = MC_DEFAULT_CONNECTION_IDLE_TIMEOUT;
    hcm->stream_idle_ms = MC_DEFAULT_STREAM_IDLE_TIMEOUT;
    hcm->request_timeout_ms = MC_DEFAULT_REQUEST_TIMEOUT;
    hcm->headers_timeout_ms = MC_DEFAULT_REQUEST_HEADERS_TIMEOUT;
    hcm->delayed_close_ms = MC_DEFAULT_DELAYED_CLOSE_TIMEOUT;
    TRY(mc_value_read_duration_ms(config, "stream_idle_timeout", &hcm->stream_idle_ms, error));
    TRY(mc_value_read_duration_ms(config, "request_timeout", &hcm->request_timeout_ms, error));
    TRY(mc_value_read_duration_ms(config, "request_headers_timeout", &hcm->headers_timeout_ms, error));
    TRY(mc_value_read_duration_ms(config, "delayed_close_timeout", &hcm->delayed_close_ms, error));
    hcm->drain_ms = MC_DEFAULT_DRAIN_TIMEOUT;
    TRY(mc_value_read_duration_ms(config, "drain_timeout", &hcm->drain_ms, error));
    hcm->stream_flush_ms = hcm->stream_idle_ms;
    TRY(mc_value_read_duration_ms(config, "stream_flush_timeout", &hcm->stream_flush_ms, error));
    return mc_value_read_bool(config, "http1_safe_max_connection_duration", &hcm->http1_safe_max_duration, error);
}

static mc_status read_identity(mc_hcm *hcm, const mc_value *config, mc_error *error) {
    static const choice servers[] = {{"OVERWRITE", MC_SERVER_OVERWRITE},
                                     {"APPEND_IF_ABSENT", MC_SERVER_APPEND_IF_ABSENT},
                                     {"PASS_THROUGH", MC_SERVER_PASS_THROUGH}};
    int server = MC_SERVER_OVERWRITE;
    hcm->server_name = MC_SLICE("envoy");
    hcm->generate_request_id = true;
    TRY(read_text(hcm, config, "server_name", &hcm->server_name, error));
    TRY(read_text(hcm, config, "via", &hcm->via, error));
    TRY(read_choice(config, "server_header_transformation", CHOICES(servers), &server, error));
    hcm->server_header = (mc_server_header)server;
    TRY(mc_value_read_bool(config, "generate_request_id", &hcm->generate_request_id, error));
    TRY(mc_value_read_bool(config, "preserve_external_request_id", &hcm->preserve_external_request_id, error));
    TRY(mc_value_read_bool(config, "always_set_request_id_in_response", &hcm->always_set_request_id_in_response,
                           error));
    TRY(mc_value_read_bool(config, "add_user_agent", &hcm->add_user_agent, error));
    return mc_value_read_bool(config, "proxy_100_continue", &hcm->proxy_100_continue, error);
}

static mc_status read_request_id(mc_hcm *hcm, const mc_value *config, mc_error *error) {
    const mc_value *extension, *uuid;
    hcm->pack_trace_reason = hcm->use_request_id_for_trace_sampling = true;
    TRY(mc_value_read_object(config, "request_id_extension", &extension, error));
    TRY(mc_value_read_object(extension, "typed_config", &uuid, error));
    TRY(mc_value_read_bool(uuid, "pack_trace_reason", &hcm->pack_trace_reason, error));
    return mc_value_read_bool(uuid, "use_request_id_for_trace_sampling", &hcm->use_request_id_for_trace_sampling,
                              error);
}

/* Of each extension its list. */
static mc_status read_early_mutations(mc_hcm *hcm, const mc_value *config, mc_error *error) {
    static const char field[] = "early_header_mutation_extensions";
    const mc_value *list, *mutations;
    size_t count;
    TRY(mc_value_read_list(config, field, &list, &count, error));
    hcm->early_mutations = mc_arena_zalloc(&hcm->arena, (count + 1) * sizeof *hcm->early_mutations);
    if (hcm->early_mutations == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        TRY(mc_value_read_object(&list[i], "typed_config", &mutations, error));
        if (!mc_slice_eq(mc_any_type(mutations),
                         MC_SLICE("envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"))) {
            mc_error_set(error, MC_EINVAL, "typed_config", "is no early header mutation known here");
            return mc_error_in(MC_EINVAL, error, "%s[%zu]", field, i);
        }
        TRY(mc_error_in(mc_mutation_list_compile(&hcm->arena, mutations, "mutations", &hcm->early_mutations[i], error),
                        error, "%s[%zu].typed_config", field, i));
    }
    hcm->early_mutation_count = (uint32_t)count;
    return MC_OK;
}

static mc_status read_scheme(mc_hcm *hcm, const mc_value *config, mc_error *error) {
    const mc_value *scheme;
    TRY(mc_value_read_object(config, "scheme_header_transformation", &scheme, error));
    TRY(read_text(hcm, scheme, "scheme_to_overwrite", &hcm->scheme, error));
    TRY(mc_value_read_bool(scheme, "match_upstream", &hcm->scheme_match_upstream, error));
    hcm->scheme_match_upstream = hcm->scheme_match_upstream && hcm->scheme.n == 0; /* a given one is the last word */
    return MC_OK;
}

/* A percentage that is decided once, when the configuration is compiled: only all of it counts as on. */
static bool runtime_percent(const mc_runtime *runtime, const char *key, uint64_t otherwise) {
    mc_slice name = mc_slice_cstr(key);
    const bool on = mc_runtime_bool(runtime, name, false), off = !mc_runtime_bool(runtime, name, true);
    return on || (!off && mc_runtime_u64(runtime, name, otherwise) >= 100);
}

static mc_status read_paths(mc_hcm *hcm, const mc_value *config, const mc_runtime *runtime, mc_error *error) {
    static const choice actions[] = {{"KEEP_UNCHANGED", MC_SLASH_KEEP},
                                     {"REJECT_REQUEST", MC_SLASH_REJECT},
                                     {"UNESCAPE_AND_REDIRECT", MC_SLASH_UNESCAPE_REDIRECT},
                                     {"UNESCAPE_AND_FORWARD", MC_SLASH_UNESCAPE_FORWARD}};
    static const mc_slash_action by_number[] = {MC_SLASH_KEEP, MC_SLASH_KEEP, MC_SLASH_REJECT,
                                                MC_SLASH_UNESCAPE_REDIRECT, MC_SLASH_UNESCAPE_FORWARD};
    const uint64_t number =
        mc_runtime_u64(runtime, MC_SLICE("http_connection_manager.path_with_escaped_slashes_action"), 0);
    int action = number < sizeof by_number / sizeof by_number[0] ? by_number[number] : MC_SLASH_KEEP;
    hcm->normalize_path = runtime_percent(runtime, "http_connection_manager.normalize_path", 0);
    TRY(mc_value_read_bool(config, "normalize_path", &hcm->normalize_path, error));
    TRY(mc_value_read_bool(config, "merge_slashes", &hcm->merge_slashes, error));
    mc_slice given = MC_SLICE_NONE;
    TRY(mc_value_read_string(config, "path_with_escaped_slashes_action", &given, error));
    if (!mc_slice_eq(given, MC_SLICE("IMPLEMENTATION_SPECIFIC_DEFAULT"))) {
        TRY(read_choice(config, "path_with_escaped_slashes_action", CHOICES(actions), &action, error));
    }
    hcm->slashes = runtime_percent(runtime, "http_connection_manager.path_with_escaped_slashes_action_enabled", 100)
                       ? (mc_slash_action)action
                       : MC_SLASH_KEEP;
    TRY(mc_value_read_bool(config, "strip_any_host_port", &hcm->strip_any_port, error));
    TRY(mc_value_read_bool(config, "strip_matching_host_port", &hcm->strip_matching_port, error));
    TRY(mc_value_read_bool(config, "strip_trailing_host_dot", &hcm->strip_trailing_dot, error));
    if (hcm->strip_any_port && hcm->strip_matching_port) { /* HC-33 */
        return mc_error_set(error, MC_EINVAL, "strip_any_host_port", "excludes strip_matching_host_port");
    }
    return MC_OK;
}

static mc_status read_upgrades(mc_hcm *hcm, const mc_value *config, mc_error *error) {
    const mc_value *list;
    size_t count;
    TRY(mc_value_read_list(config, "upgrade_configs", &list, &count, error));
    hcm->upgrades = mc_arena_zalloc(&hcm->arena, count * sizeof *hcm->upgrades);
    if (hcm->upgrades == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        mc_upgrade_config *upgrade = &hcm->upgrades[i];
        upgrade->enabled = true;
        TRY(read_text(hcm, &list[i], "upgrade_type", &upgrade->type, error));
        TRY(mc_value_read_bool(&list[i], "enabled", &upgrade->enabled, error));
        for (size_t j = 0; j < i; j++) {
            if (mc_slice_ieq(hcm->upgrades[j].type, upgrade->type)) { /* HC-45 */
                mc_error_set(error, MC_EINVAL, "upgrade_type", "is given twice: %.*s", MC_SLICE_ARG(upgrade->type));
                mc_error_under(error, "upgrade_configs[%zu]", i);
                return MC_EINVAL;
            }
        }
    }
    hcm->upgrade_count = (uint32_t)count;
    return MC_OK;
}

static const mc_filter_factory *find_factory(const mc_hcm_context *context, mc_slice name) {
    for (size_t i = 0; i < context->factory_count; i++) {
        if (mc_slice_eq(context->factories[i].name, name)) {
            return &context->factories[i];
        }
    }
    return NULL;
}

/* A filter from outside the core: by the name in its configuration, else by the entry's. */
static mc_status read_factory(const mc_value *typed, const mc_hcm_context *context, mc_filter_config *out,
                              mc_error *error) {
    mc_slice name = out->name;
    TRY(mc_value_read_string(typed, "name", &name, error));
    const mc_filter_factory *factory = find_factory(context, name);
    if (factory == NULL) {
        return mc_error_set(error, MC_EINVAL, "name", "is no filter known here: %.*s", MC_SLICE_ARG(name));
    }
    out->type = factory->type;
    out->config = factory->config;
    return MC_OK;
}

static mc_status read_kind(const mc_value *typed, mc_filter_compile *compile, mc_filter_config *out,
                           mc_router_options *router) {
    mc_slice type = mc_any_type(typed);
    if (mc_slice_eq(type, MC_SLICE("envoy.extensions.filters.http.router.v3.Router")) ||
        (typed == NULL && mc_slice_eq(out->name, MC_SLICE("envoy.filters.http.router")))) {
        out->type = &mc_router_filter;
        return mc_router_options_read(typed, router, compile->error);
    }
    if (mc_slice_eq(type, MC_SLICE("envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec"))) {
        out->type = &mc_upstream_codec_filter;
        return MC_OK;
    }
    out->kind = mc_filter_kind_find(type);
    if (out->kind == NULL) {
        return MC_OK;
    }
    out->type = out->kind->filter;
    mc_status status = out->kind->compile(compile, typed, &out->config);
    if (status == MC_EINVAL) {
        mc_error_under(compile->error, "typed_config");
    }
    return status;
}

/* out->type stays NULL for an unknown filter that is optional. */
static mc_status read_filter(mc_hcm *hcm, const mc_value *entry, const mc_hcm_context *context,
                             mc_filter_compile *compile, mc_filter_config *out, mc_router_options *router) {
    const mc_value *typed;
    mc_error *error = compile->error;
    bool is_optional = false;
    TRY(read_text(hcm, entry, "name", &out->name, error));
    TRY(mc_value_read_bool(entry, "is_optional", &is_optional, error));
    TRY(mc_value_read_bool(entry, "disabled", &out->disabled, error));
    TRY(mc_value_read_object(entry, "typed_config", &typed, error));
    TRY(read_kind(typed, compile, out, router));
    if (out->type == NULL && !(is_optional && find_factory(context, out->name) == NULL)) {
        TRY(read_factory(typed, context, out, error));
    }
    if (out->type != NULL && out->type->terminal && out->disabled) {
        return mc_error_set(error, MC_EINVAL, "disabled", "must not be set for the last filter");
    }
    return MC_OK;
}

/* Section 5: the last filter must be terminal, and only it; `last` is that one of this kind of chain. */
static mc_status check_order(const mc_hcm *hcm, const mc_filter_chain *chain, const mc_filter_type *last,
                             const char *field, size_t count, mc_error *error) {
    const char *name = last == &mc_router_filter ? "the router" : "the upstream codec";
    for (uint32_t i = chain->begin; i < chain->end; i++) {
        const bool is_last = i + 1 == chain->end;
        const mc_filter_type *type = hcm->filters[i].type;
        if (is_last ? type != last : type->terminal) {
            mc_error_set(error, MC_EINVAL, "", is_last ? "the last filter must be %s" : "%s must be the last filter",
                         name);
            mc_error_under(error, "%s[%zu]", field,
                           chain->end - chain->begin == count ? (size_t)(i - chain->begin) : count - 1);
            return MC_EINVAL;
        }
    }
    return MC_OK;
}

/* Reads the chain in a field of `object`. */
static mc_status read_chain(mc_hcm *hcm, const mc_value *object, const char *field, const mc_filter_type *last,
                            const mc_hcm_context *context, mc_filter_compile *compile, mc_filter_chain *out) {
    const mc_value *list;
    size_t count;
    TRY(mc_value_read_list(object, field, &list, &count, compile->error));
    out->begin = hcm->filter_count;
    for (size_t i = 0; i < count; i++) {
        mc_filter_config *filter = &hcm->filters[hcm->filter_count];
        mc_status status = read_filter(hcm, &list[i], context, compile, filter, &out->router);
        if (status != MC_OK) {
            mc_error_under(compile->error, "%s[%zu]", field, i);
            return status;
        }
        if (filter->type != NULL) {
            hcm->filter_count++;
        } else {
            *filter = (mc_filter_config){0};
        }
    }
    out->end = hcm->filter_count;
    if (out->begin == out->end) {
        return mc_error_set(compile->error, MC_EINVAL, field, "must end with the %s",
                            last == &mc_router_filter ? "router" : "upstream codec");
    }
    return check_order(hcm, out, last, field, count, compile->error);
}

static size_t list_length(const mc_value *object, const char *field) {
    const mc_value *list = mc_value_get(object, field);
    return list != NULL && list->kind == MC_LIST ? list->count : 0;
}

/* The last filter of the connection manager's chain, which check_order knows to be the router. */
static const mc_value *router_of(const mc_value *config) {
    const mc_value *filters = mc_value_get(config, "http_filters");
    return filters == NULL || filters->kind != MC_LIST || filters->count == 0
               ? NULL
               : mc_value_get(&filters->items[filters->count - 1], "typed_config");
}

/* FL-1: the filters of tries. */
static mc_status read_upstream_chain(mc_hcm *hcm, const mc_value *config, const mc_hcm_context *context,
                                     mc_filter_compile *compile) {
    static const char field[] = "upstream_http_filters";
    const mc_value *router = router_of(config);
    if (list_length(router, field) == 0) {
        return MC_OK;
    }
    const mc_slice scope = compile->scope;
    compile->scope = MC_SLICE(""); /* they count for no connection manager */
    mc_status status = read_chain(hcm, router, field, &mc_upstream_codec_filter, context, compile, &hcm->upstream);
    compile->scope = scope;
    for (uint32_t i = hcm->upstream.begin; status == MC_OK && i + 1 < hcm->upstream.end; i++) {
        if (hcm->filters[i].kind == NULL || !hcm->filters[i].kind->upstream) {
            status = mc_error_set(compile->error, MC_EINVAL, field, "holds a filter that cannot stand there: %.*s",
                                  MC_SLICE_ARG(hcm->filters[i].name));
        }
    }
    return mc_error_in(status, compile->error, "http_filters[%zu].typed_config",
                       list_length(config, "http_filters") - 1);
}

/* All chains: the connection manager's, those that upgrades bring (HC-45), and that of tries. */
static mc_status read_filters(mc_hcm *hcm, const mc_value *config, const mc_hcm_context *context,
                              mc_filter_compile *compile) {
    const mc_value *upgrades;
    size_t upgrade_count, total = list_length(config, "http_filters");
    total += list_length(router_of(config), "upstream_http_filters");
    TRY(mc_value_read_list(config, "upgrade_configs", &upgrades, &upgrade_count, compile->error));
    for (size_t i = 0; i < upgrade_count; i++) {
        total += list_length(&upgrades[i], "filters");
    }
    if (total > UINT8_MAX) {
        return mc_error_set(compile->error, MC_EINVAL, "http_filters", "must be at most %d", UINT8_MAX);
    }
    hcm->filters = mc_arena_zalloc(&hcm->arena, (total + 1) * sizeof *hcm->filters);
    if (hcm->filters == NULL) {
        return MC_ENOMEM;
    }
    TRY(read_chain(hcm, config, "http_filters", &mc_router_filter, context, compile, &hcm->chain));
    for (size_t i = 0; i < upgrade_count; i++) {
        hcm->upgrades[i].chain = hcm->chain;
        if (list_length(&upgrades[i], "filters") > 0) {
            TRY(mc_error_in(
                read_chain(hcm, &upgrades[i], "filters", &mc_router_filter, context, compile, &hcm->upgrades[i].chain),
                compile->error, "upgrade_configs[%zu]", i));
        }
    }
    return read_upstream_chain(hcm, config, context, compile);
}

static void register_user_agents(mc_hcm *hcm, mc_slice stat_prefix) {
    static const char *const names[MC_AGENT_COUNT] = {NULL, "ios", "android"};
    char buffer[512];
    mc_stats *store = hcm->stats_store;
    for (int i = MC_AGENT_IOS; i < MC_AGENT_COUNT; i++) {
        int n = snprintf(buffer, sizeof buffer, "http.%.*s.user_agent.%s.", MC_SLICE_ARG(stat_prefix), names[i]);
        mc_slice scope = mc_slice_of(buffer, (size_t)n < sizeof buffer ? (size_t)n : sizeof buffer - 1);
#define COUNTER(name)   hcm->stats.user_agents[i].name = mc_stats_scoped(store, MC_COUNTER, scope, MC_SLICE(#name));
#define HISTOGRAM(name) hcm->stats.user_agents[i].name = mc_stats_scoped(store, MC_HISTOGRAM, scope, MC_SLICE(#name));
        MC_USER_AGENT_STATS(COUNTER, HISTOGRAM)
#undef COUNTER
#undef HISTOGRAM
    }
}

static void register_stats(mc_hcm *hcm, mc_slice stat_prefix, mc_slice listener_scope) {
    char buffer[512];
    mc_stats *store = hcm->stats_store;
    int n = snprintf(buffer, sizeof buffer, "http.%.*s.", MC_SLICE_ARG(stat_prefix));
    mc_slice scope = mc_slice_of(buffer, (size_t)n < sizeof buffer ? (size_t)n : sizeof buffer - 1);
#define COUNTER(name)   hcm->stats.name = mc_stats_scoped(store, MC_COUNTER, scope, MC_SLICE(#name));
#define GAUGE(name)     hcm->stats.name = mc_stats_scoped(store, MC_GAUGE, scope, MC_SLICE(#name));
#define HISTOGRAM(name) hcm->stats.name = mc_stats_scoped(store, MC_HISTOGRAM, scope, MC_SLICE(#name));
    MC_HCM_STATS(COUNTER, GAUGE, HISTOGRAM)
#undef COUNTER
#undef GAUGE
#undef HISTOGRAM
    hcm->stats.shadow_rq_total =
        mc_stats_scoped(store, MC_COUNTER, MC_SLICE("http.async-client."), MC_SLICE("rq_total"));
    for (unsigned i = 0; i < MC_FLAG_COUNT; i++) {
        char name[64];
        snprintf(name, sizeof name, "response_flags.%.*s", MC_SLICE_ARG(mc_flag_name(i)));
        hcm->stats.flags[i] = mc_stats_scoped(store, MC_COUNTER, scope, mc_slice_cstr(name));
    }
    n = snprintf(buffer, sizeof buffer, "listener.%.*s.http.%.*s.", MC_SLICE_ARG(listener_scope),
                 MC_SLICE_ARG(stat_prefix));
    scope.n = (size_t)n < sizeof buffer ? (size_t)n : sizeof buffer - 1;
#define COUNTER(name) hcm->stats.listener.name = mc_stats_scoped(store, MC_COUNTER, scope, MC_SLICE(#name));
    MC_LISTENER_HTTP_STATS(COUNTER)
#undef COUNTER
    n = snprintf(buffer, sizeof buffer, "http.%.*s.tracing.", MC_SLICE_ARG(stat_prefix));
    scope.n = (size_t)n < sizeof buffer ? (size_t)n : sizeof buffer - 1;
#define COUNTER(name) hcm->stats.tracing.name = mc_stats_scoped(store, MC_COUNTER, scope, MC_SLICE(#name));
    MC_TRACING_STATS(COUNTER)
#undef COUNTER
#define COUNTER(name) hcm->stats.http1.name = mc_stats_scoped(store, MC_COUNTER, MC_SLICE("http1."), MC_SLICE(#name));
    MC_HTTP1_STATS(COUNTER)
#undef COUNTER
    register_user_agents(hcm, stat_prefix);
}

/* AL-6: the options' own message, or the older fields beside it. */
static mc_status read_access_logs(mc_hcm *hcm, const mc_value *config, const mc_hcm_context *context, mc_error *error) {
    static const char *const older[] = {"access_log_flush_interval", "flush_access_log_on_new_request"};
    const mc_value *options;
    TRY(mc_value_read_object(config, "access_log_options", &options, error));
    for (size_t i = 0; i < 2 && options != NULL; i++) {
        if (mc_value_get(config, older[i]) != NULL) {
            return mc_error_set(error, MC_EINVAL, older[i], "must not be set together with access_log_options");
        }
    }
    const mc_value *from = options == NULL ? config : options;
    TRY(mc_value_read_duration_ms(from, older[0], &hcm->access.interval_ms, error));
    if (mc_value_get(from, older[0]) != NULL && hcm->access.interval_ms == 0) {
        return mc_error_set(error, MC_EINVAL, older[0], "must be at least 1 ms");
    }
    TRY(mc_value_read_bool(from, older[1], &hcm->access.on_new_request, error));
    TRY(mc_value_read_bool(options, "flush_log_on_tunnel_successfully_established", &hcm->access.on_tunnel, error));
    return mc_access_logs_compile(config, "access_log", context->log_writer, &hcm->access.logs, error);
}

/* upstream_log of the router, the last filter: a record for each try. */
static mc_status read_upstream_logs(mc_hcm *hcm, const mc_value *config, const mc_hcm_context *context,
                                    mc_error *error) {
    const mc_value *filters, *options;
    size_t count;
    TRY(mc_value_read_list(config, "http_filters", &filters, &count, error));
    const mc_value *router = count == 0 ? NULL : mc_value_get(&filters[count - 1], "typed_config");
    mc_status status =
        mc_access_logs_compile(router, "upstream_log", context->log_writer, &hcm->access.upstream, error);
    if (status == MC_OK && (status = mc_value_read_object(router, "upstream_log_options", &options, error)) == MC_OK) {
        status = mc_value_read_bool(options, "flush_upstream_log_on_upstream_stream", &hcm->access.on_upstream, error);
    }
    if (status == MC_OK && mc_value_get(options, "upstream_log_flush_interval") != NULL) {
        status = mc_value_read_duration_ms(options, "upstream_log_flush_interval", &hcm->access.upstream_ms, error);
        if (status == MC_OK && hcm->access.upstream_ms == 0) {
            status = mc_error_set(error, MC_EINVAL, "upstream_log_options.upstream_log_flush_interval",
                                  "must be at least 1 ms");
        }
    }
    if (status != MC_OK) {
        mc_error_under(error, "http_filters[%zu].typed_config", count - 1);
    }
    return status;
}

static mc_status copy_metadata(mc_hcm *hcm, const mc_value *from, const mc_value **out) {
    return from == NULL ? MC_OK : mc_value_copy(&hcm->arena, from, out);
}

static mc_status compile(mc_hcm *hcm, const mc_value *config, const mc_hcm_context *context, mc_error *error) {
    static const choice codecs[] = {{"AUTO", 0}, {"HTTP1", 1}};
    int codec = 0;
    uint32_t headers_kib = (uint32_t)MC_DEFAULT_MAX_REQUEST_HEADERS;
    mc_slice stat_prefix = MC_SLICE_NONE;
    mc_h1_limits_init(&hcm->h1, MC_H1_REQUEST);
    hcm->buffer_limit = context->buffer_limit;
    hcm->node_address = context->node_address;
    TRY(read_choice(config, "codec_type", CHOICES(codecs), &codec, error));
    TRY(mc_value_read_string(config, "stat_prefix", &stat_prefix, error));
    TRY(mc_value_read_u32(config, "max_request_headers_kb", &headers_kib, error));
    hcm->h1.max_headers_bytes = headers_kib * 1024;
    TRY(mc_arena_dup(&hcm->arena, context->node_id, &hcm->node_id));
    TRY(mc_arena_dup(&hcm->arena, context->node_cluster, &hcm->node_cluster));
    TRY(mc_arena_dup(&hcm->arena, context->node_zone, &hcm->node_zone));
    TRY(mc_arena_dup(&hcm->arena, context->filter_chain_name, &hcm->filter_chain_name));
    TRY(copy_metadata(hcm, context->listener_metadata, &hcm->listener_metadata));
    TRY(copy_metadata(hcm, context->filter_chain_metadata, &hcm->filter_chain_metadata));
    TRY(copy_metadata(hcm, context->node, &hcm->node));
    hcm->direction = context->direction;
    TRY(read_timeouts(hcm, config, error));
    TRY(read_common(hcm, config, error));
    TRY(read_http1(hcm, config, error));
    TRY(read_identity(hcm, config, error));
    TRY(mc_client_rules_read(&hcm->arena, config, &hcm->client, error));
    TRY(mc_client_cert_rules_read(&hcm->arena, config, &hcm->client_cert, error));
    TRY(mc_proxy_status_rules_read(&hcm->arena, config, hcm->node_id, hcm->server_name, &hcm->proxy_status, error));
    TRY(mc_error_in(
        mc_local_replies_compile(&hcm->arena, mc_value_get(config, "local_reply_config"), &hcm->local_replies, error),
        error, "local_reply_config"));
    TRY(read_early_mutations(hcm, config, error));
    TRY(read_request_id(hcm, config, error));
    TRY(read_scheme(hcm, config, error));
    TRY(read_paths(hcm, config, context->runtime, error));
    TRY(read_upgrades(hcm, config, error));
    TRY(read_access_logs(hcm, config, context, error));
    TRY(read_upstream_logs(hcm, config, context, error));
    hcm->access.connections = context->connection_logs == NULL ? NULL : mc_access_logs_ref(context->connection_logs);
    TRY(mc_tracing_compile(&hcm->arena, config, context, &hcm->tracing, error));
    mc_filter_compile filters = {.arena = &hcm->arena,
                                 .error = error,
                                 .stats = context->stats,
                                 .node_cluster = hcm->node_cluster,
                                 .local_cluster = context->local_cluster,
                                 .cluster_slot = context->cluster_slot,
                                 .ctx = context->ctx};
    const mc_slice scope[] = {MC_SLICE("http."), stat_prefix, MC_SLICE(".")};
    TRY(mc_arena_concat(&hcm->arena, scope, 3, &filters.scope));
    TRY(read_filters(hcm, config, context, &filters));
    TRY(mc_hcm_routes_read(hcm, config, context, &filters, error));
    const bool formats = hcm->formats;
    hcm->keeps_facts = hcm->access.logs != NULL || hcm->access.upstream != NULL || formats || hcm->filter_count > 1;
    hcm->keeps_local = formats || hcm->access.upstream != NULL ||
                       (hcm->access.logs != NULL && (hcm->access.logs->parts & MC_READS_LOCAL));
    hcm->keeps_place = formats || hcm->access.upstream != NULL ||
                       (hcm->access.logs != NULL && (hcm->access.logs->parts & MC_READS_PLACE));
    register_stats(hcm, stat_prefix, context->listener_scope);
    return MC_OK;
}

mc_status mc_hcm_add_guards(mc_hcm *hcm, const mc_value *filters, size_t count, const mc_hcm_context *context,
                            mc_error *error) {
    static const char type[] = "envoy.extensions.filters.network.rbac.v3.RBAC";
    if (count == 0) {
        return MC_OK;
    }
    mc_filter_compile c = {.arena = &hcm->arena,
                           .error = error,
                           .stats = context->stats,
                           .node_cluster = hcm->node_cluster,
                           .cluster_slot = context->cluster_slot,
                           .ctx = context->ctx};
    hcm->guards = mc_arena_zalloc(&hcm->arena, count * sizeof *hcm->guards);
    if (hcm->guards == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        const mc_value *typed = mc_value_get(&filters[i], "typed_config");
        mc_status status = !mc_slice_eq(mc_any_type(typed), mc_slice_cstr(type))
                               ? mc_error_set(error, MC_EINVAL, "", "must be the last filter, or an %s", type)
                               : mc_connection_rbac_compile(&c, typed, &hcm->guards[i]);
        TRY(mc_error_in(status, error, "filters[%zu].typed_config", i));
    }
    hcm->guard_count = (uint32_t)count;
    return MC_OK;
}

mc_status mc_hcm_compile(const mc_value *config, const mc_hcm_context *context, mc_hcm **out, mc_error *error) {
    mc_hcm *hcm = mc_calloc(1, sizeof *hcm);
    if (hcm == NULL) {
        return mc_error_set(error, MC_ENOMEM, "", "out of memory");
    }
    atomic_init(&hcm->refs, 1);
    mc_arena_init(&hcm->arena, NULL);
    hcm->stats_store = mc_stats_ref(context->stats);
    hcm->code_scopes = mc_arena_zalloc(&hcm->arena, sizeof *hcm->code_scopes);
    if (hcm->code_scopes != NULL) {
        hcm->code_scopes->store = hcm->stats_store;
    }
    mc_status status = hcm->code_scopes == NULL ? MC_ENOMEM : compile(hcm, config, context, error);
    if (status == MC_OK) {
        *out = hcm;
        return MC_OK;
    }
    mc_hcm_unref(hcm);
    return status == MC_ENOMEM ? mc_error_set(error, status, "", "out of memory") : status;
}
