#include "base/defaults.h"
#include "base/read.h"
#include "proxy/hcm_internal.h"

static mc_status read_common(mc_hcm *hcm, const mc_value *config, mc_error *error) {
    static const mc_name_value underscores[] = {{"ALLOW", 0}, {"DROP_HEADER", 1}, {"REJECT_REQUEST", 2}, {NULL, 0}};
    const mc_value *common;
    uint64_t action = 0;
    MC_TRY(mc_value_read_object(config, "common_http_protocol_options", &common, error));
    if (mc_value_get(common, "max_response_headers_kb") != NULL) { /* HC-39 */
        return mc_error_set(error, MC_EINVAL, "common_http_protocol_options.max_response_headers_kb",
                            "is of clusters only");
    }
    MC_TRY(mc_value_read_duration_ms(common, "idle_timeout", &hcm->connection_idle_ms, error));
    MC_TRY(mc_value_read_duration_ms(common, "max_connection_duration", &hcm->max_connection_duration_ms, error));
    MC_TRY(mc_error_in(mc_read_percent(common, "max_connection_duration_jitter", &hcm->max_connection_jitter, error),
                       error, "common_http_protocol_options"));
    MC_TRY(mc_value_read_duration_ms(common, "max_stream_duration", &hcm->max_stream_duration_ms, error));
    MC_TRY(mc_value_read_u32(common, "max_requests_per_connection", &hcm->max_requests_per_connection, error));
    MC_TRY(mc_value_read_u32(common, "max_headers_count", &hcm->h1.max_headers_count, error));
    MC_TRY(mc_read_enum(common, "headers_with_underscores_action", underscores, &action, error));
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
    MC_TRY(mc_value_read_list(http1, "ignore_http_11_upgrade", &list, &count, error));
    if (count == 0) {
        return MC_OK;
    }
    hcm->ignored_upgrades = mc_arena_zalloc(&hcm->arena, count * sizeof *hcm->ignored_upgrades);
    if (hcm->ignored_upgrades == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(mc_string_match_compile(&hcm->arena, &list[i], &hcm->ignored_upgrades[i], error), error,
                           "ignore_http_11_upgrade[%zu]", i));
    }
    hcm->ignored_upgrade_count = (uint32_t)count;
    hcm->h1.ignores_upgrade = ignores_upgrade;
    hcm->h1.ignore_ctx = hcm;
    return MC_OK;
}

static mc_status read_http1(mc_hcm *hcm, const mc_value *config, mc_error *error) {
    const mc_value *http1;
    MC_TRY(mc_value_read_object(config, "http_protocol_options", &http1, error));
    MC_TRY(mc_error_in(mc_h1_limits_read(http1, &hcm->h1, error), error, "http_protocol_options"));
    MC_TRY(mc_read_text(&hcm->arena, http1, "default_host_for_http_10", &hcm->default_host_10, error));
    MC_TRY(mc_error_in(read_ignored_upgrades(hcm, http1, error), error, "http_protocol_options"));
    MC_TRY(mc_value_read_bool(config, "stream_error_on_invalid_http_message", &hcm->keep_open_on_error, error));
    return mc_value_read_bool(http1, "override_stream_error_on_invalid_http_message", &hcm->keep_open_on_error, error);
}

static mc_status read_timeouts(mc_hcm *hcm, const mc_value *config, mc_error *error) {
    hcm->connection_idle_ms = MC_DEFAULT_CONNECTION_IDLE_TIMEOUT;
    hcm->stream_idle_ms = MC_DEFAULT_STREAM_IDLE_TIMEOUT;
    hcm->request_timeout_ms = MC_DEFAULT_REQUEST_TIMEOUT;
    hcm->headers_timeout_ms = MC_DEFAULT_REQUEST_HEADERS_TIMEOUT;
    hcm->delayed_close_ms = MC_DEFAULT_DELAYED_CLOSE_TIMEOUT;
    MC_TRY(mc_value_read_duration_ms(config, "stream_idle_timeout", &hcm->stream_idle_ms, error));
    MC_TRY(mc_value_read_duration_ms(config, "request_timeout", &hcm->request_timeout_ms, error));
    MC_TRY(mc_value_read_duration_ms(config, "request_headers_timeout", &hcm->headers_timeout_ms, error));
    MC_TRY(mc_value_read_duration_ms(config, "delayed_close_timeout", &hcm->delayed_close_ms, error));
    hcm->drain_ms = MC_DEFAULT_DRAIN_TIMEOUT;
    MC_TRY(mc_value_read_duration_ms(config, "drain_timeout", &hcm->drain_ms, error));
    MC_TRY(mc_read_percent(config, "drain_timeout_jitter", &hcm->drain_jitter, error));
    hcm->stream_flush_ms = hcm->stream_idle_ms;
    MC_TRY(mc_value_read_duration_ms(config, "stream_flush_timeout", &hcm->stream_flush_ms, error));
    return mc_value_read_bool(config, "http1_safe_max_connection_duration", &hcm->http1_safe_max_duration, error);
}

static mc_status read_identity(mc_hcm *hcm, const mc_value *config, mc_error *error) {
    static const mc_name_value servers[] = {{"OVERWRITE", MC_SERVER_OVERWRITE},
                                            {"APPEND_IF_ABSENT", MC_SERVER_APPEND_IF_ABSENT},
                                            {"PASS_THROUGH", MC_SERVER_PASS_THROUGH},
                                            {NULL, 0}};
    uint64_t server = MC_SERVER_OVERWRITE;
    hcm->server_name = MC_SLICE("envoy");
    hcm->generate_request_id = true;
    MC_TRY(mc_read_text(&hcm->arena, config, "server_name", &hcm->server_name, error));
    MC_TRY(mc_read_text(&hcm->arena, config, "via", &hcm->via, error));
    MC_TRY(mc_read_enum(config, "server_header_transformation", servers, &server, error));
    hcm->server_header = (mc_server_header)server;
    MC_TRY(mc_value_read_bool(config, "generate_request_id", &hcm->generate_request_id, error));
    MC_TRY(mc_value_read_bool(config, "preserve_external_request_id", &hcm->preserve_external_request_id, error));
    MC_TRY(mc_value_read_bool(config, "always_set_request_id_in_response", &hcm->always_set_request_id_in_response,
                              error));
    MC_TRY(mc_value_read_bool(config, "append_local_overload", &hcm->append_local_overload, error));
    MC_TRY(mc_value_read_bool(config, "add_user_agent", &hcm->add_user_agent, error));
    return mc_value_read_bool(config, "proxy_100_continue", &hcm->proxy_100_continue, error);
}

static mc_status read_request_id(mc_hcm *hcm, const mc_value *config, mc_error *error) {
    const mc_value *extension, *uuid;
    hcm->pack_trace_reason = hcm->use_request_id_for_trace_sampling = true;
    MC_TRY(mc_value_read_object(config, "request_id_extension", &extension, error));
    MC_TRY(mc_value_read_object(extension, "typed_config", &uuid, error));
    MC_TRY(mc_value_read_bool(uuid, "pack_trace_reason", &hcm->pack_trace_reason, error));
    return mc_value_read_bool(uuid, "use_request_id_for_trace_sampling", &hcm->use_request_id_for_trace_sampling,
                              error);
}

/* Of each extension its list. */
static mc_status read_early_mutations(mc_hcm *hcm, const mc_value *config, mc_error *error) {
    static const char field[] = "early_header_mutation_extensions";
    const mc_value *list, *mutations;
    size_t count;
    MC_TRY(mc_value_read_list(config, field, &list, &count, error));
    hcm->early_mutations = mc_arena_zalloc(&hcm->arena, (count + 1) * sizeof *hcm->early_mutations);
    if (hcm->early_mutations == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_value_read_object(&list[i], "typed_config", &mutations, error));
        if (!mc_slice_eq(mc_any_type(mutations),
                         MC_SLICE("envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"))) {
            mc_error_set(error, MC_EINVAL, "typed_config", "is no early header mutation known here");
            return mc_error_in(MC_EINVAL, error, "%s[%zu]", field, i);
        }
        MC_TRY(mc_error_in(mc_mutation_list_compile(&hcm->arena, mutations, "mutations", MC_HEADERS_OF_REQUEST,
                                                    &hcm->early_mutations[i], error),
                           error, "%s[%zu].typed_config", field, i));
    }
    hcm->early_mutation_count = (uint32_t)count;
    return MC_OK;
}

static mc_status read_scheme(mc_hcm *hcm, const mc_value *config, mc_error *error) {
    const mc_value *scheme;
    MC_TRY(mc_value_read_object(config, "scheme_header_transformation", &scheme, error));
    MC_TRY(mc_read_text(&hcm->arena, scheme, "scheme_to_overwrite", &hcm->scheme, error));
    MC_TRY(mc_value_read_bool(scheme, "match_upstream", &hcm->scheme_match_upstream, error));
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
    static const mc_name_value actions[] = {{"KEEP_UNCHANGED", MC_SLASH_KEEP},
                                            {"REJECT_REQUEST", MC_SLASH_REJECT},
                                            {"UNESCAPE_AND_REDIRECT", MC_SLASH_UNESCAPE_REDIRECT},
                                            {"UNESCAPE_AND_FORWARD", MC_SLASH_UNESCAPE_FORWARD},
                                            {NULL, 0}};
    static const mc_slash_action by_number[] = {MC_SLASH_KEEP, MC_SLASH_KEEP, MC_SLASH_REJECT,
                                                MC_SLASH_UNESCAPE_REDIRECT, MC_SLASH_UNESCAPE_FORWARD};
    const uint64_t number =
        mc_runtime_u64(runtime, MC_SLICE("http_connection_manager.path_with_escaped_slashes_action"), 0);
    uint64_t action = number < sizeof by_number / sizeof by_number[0] ? by_number[number] : MC_SLASH_KEEP;
    hcm->normalize_path = runtime_percent(runtime, "http_connection_manager.normalize_path", 0);
    MC_TRY(mc_value_read_bool(config, "normalize_path", &hcm->normalize_path, error));
    MC_TRY(mc_value_read_bool(config, "merge_slashes", &hcm->merge_slashes, error));
    mc_slice given = MC_SLICE_NONE;
    MC_TRY(mc_value_read_string(config, "path_with_escaped_slashes_action", &given, error));
    if (!mc_slice_eq(given, MC_SLICE("IMPLEMENTATION_SPECIFIC_DEFAULT"))) {
        MC_TRY(mc_read_enum(config, "path_with_escaped_slashes_action", actions, &action, error));
    }
    hcm->slashes = runtime_percent(runtime, "http_connection_manager.path_with_escaped_slashes_action_enabled", 100)
                       ? (mc_slash_action)action
                       : MC_SLASH_KEEP;
    MC_TRY(mc_value_read_bool(config, "strip_any_host_port", &hcm->strip_any_port, error));
    MC_TRY(mc_value_read_bool(config, "strip_matching_host_port", &hcm->strip_matching_port, error));
    MC_TRY(mc_value_read_bool(config, "strip_trailing_host_dot", &hcm->strip_trailing_dot, error));
    if (hcm->strip_any_port && hcm->strip_matching_port) { /* HC-33 */
        return mc_error_set(error, MC_EINVAL, "strip_any_host_port", "excludes strip_matching_host_port");
    }
    return MC_OK;
}

static mc_status read_upgrades(mc_hcm *hcm, const mc_value *config, mc_error *error) {
    const mc_value *list;
    size_t count;
    MC_TRY(mc_value_read_list(config, "upgrade_configs", &list, &count, error));
    hcm->upgrades = mc_arena_zalloc(&hcm->arena, count * sizeof *hcm->upgrades);
    if (hcm->upgrades == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        mc_upgrade_config *upgrade = &hcm->upgrades[i];
        upgrade->enabled = true;
        MC_TRY(mc_read_text(&hcm->arena, &list[i], "upgrade_type", &upgrade->type, error));
        MC_TRY(mc_value_read_bool(&list[i], "enabled", &upgrade->enabled, error));
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

mc_status mc_hcm_read_options(mc_hcm *hcm, const mc_value *config, const mc_runtime *runtime, mc_error *error) {
    mc_arena *arena = &hcm->arena;
    MC_TRY(read_timeouts(hcm, config, error));
    MC_TRY(read_common(hcm, config, error));
    MC_TRY(read_http1(hcm, config, error));
    MC_TRY(read_identity(hcm, config, error));
    MC_TRY(mc_client_rules_read(arena, config, &hcm->client, error));
    MC_TRY(mc_client_cert_rules_read(arena, config, &hcm->client_cert, error));
    MC_TRY(mc_proxy_status_rules_read(arena, config, hcm->node_id, hcm->server_name, &hcm->proxy_status, error));
    MC_TRY(mc_error_in(
        mc_local_replies_compile(arena, mc_value_get(config, "local_reply_config"), &hcm->local_replies, error), error,
        "local_reply_config"));
    MC_TRY(read_early_mutations(hcm, config, error));
    MC_TRY(read_request_id(hcm, config, error));
    MC_TRY(read_scheme(hcm, config, error));
    MC_TRY(read_paths(hcm, config, runtime, error));
    return read_upgrades(hcm, config, error);
}
