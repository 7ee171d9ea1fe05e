#include "proxy/filters/compressor_config.h"

enum { MIN_LENGTH = 30 };

static const char *const default_types[] = {"text/html",
                                            "text/plain",
                                            "text/css",
                                            "application/javascript",
                                            "application/x-javascript",
                                            "text/javascript",
                                            "text/x-javascript",
                                            "text/ecmascript",
                                            "text/js",
                                            "text/jscript",
                                            "text/x-js",
                                            "application/ecmascript",
                                            "application/x-json",
                                            "application/xml",
                                            "application/json",
                                            "image/svg+xml",
                                            "text/xml",
                                            "application/xhtml+xml",
                                            "application/grpc-web",
                                            "application/grpc-web+proto"};

static mc_status read_types(mc_filter_compile *c, const mc_value *value, mc_compressor_side *out) {
    const mc_value *list;
    size_t count;
    const size_t defaults = sizeof default_types / sizeof default_types[0];
    MC_TRY(mc_value_read_list(value, "content_type", &list, &count, c->error));
    out->type_count = (uint32_t)(count == 0 ? defaults : count);
    out->types = mc_arena_alloc(c->arena, out->type_count * sizeof *out->types);
    if (out->types == NULL) {
        return MC_ENOMEM;
    }
    for (uint32_t i = 0; i < out->type_count; i++) {
        mc_slice type = count == 0                  ? mc_slice_cstr(default_types[i])
                        : list[i].kind == MC_STRING ? list[i].string
                                                    : MC_SLICE_NONE;
        MC_TRY(mc_arena_dup(c->arena, type, &out->types[i]));
    }
    return MC_OK;
}

static mc_status read_common(mc_filter_compile *c, const mc_value *value, const char *length, const char *enabled,
                             mc_compressor_side *out) {
    out->set = true;
    out->enabled = (mc_feature_flag){true, MC_SLICE_NONE};
    out->min_length = MIN_LENGTH;
    MC_TRY(mc_value_read_u32(value, length, &out->min_length, c->error));
    MC_TRY(mc_feature_flag_read(c->arena, value, enabled, &out->enabled, c->error));
    return read_types(c, value, out);
}

static mc_status read_codes(mc_filter_compile *c, const mc_value *value, mc_compressor *out) {
    const mc_value *list;
    size_t count;
    MC_TRY(mc_value_read_list(value, "uncompressible_response_codes", &list, &count, c->error));
    out->refused_codes = mc_arena_alloc(c->arena, count * sizeof *out->refused_codes);
    if (out->refused_codes == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        out->refused_codes[out->refused_count++] = list[i].kind == MC_NUMBER ? (uint32_t)list[i].number : 0;
    }
    return MC_OK;
}

static mc_status read_response(mc_filter_compile *c, const mc_value *value, mc_compressor *out) {
    const mc_value *common;
    MC_TRY(mc_value_read_object(value, "common_config", &common, c->error));
    MC_TRY(mc_error_in(read_common(c, common, "min_content_length", "enabled", &out->response), c->error,
                       "common_config"));
    MC_TRY(mc_value_read_bool(value, "disable_on_etag_header", &out->refuse_etag, c->error));
    MC_TRY(mc_value_read_bool(value, "weaken_etag_on_compress", &out->weaken_etag, c->error));
    out->refuse_etag = out->refuse_etag && !out->weaken_etag; /* Envoy: to weaken goes before to refuse */
    MC_TRY(mc_value_read_bool(value, "remove_accept_encoding_header", &out->hide_accept, c->error));
    MC_TRY(mc_value_read_bool(value, "status_header_enabled", &out->tell_status, c->error));
    return read_codes(c, value, out);
}

static mc_status read_library(mc_filter_compile *c, const mc_value *value, mc_compressor_library *out, mc_slice *name) {
    const mc_value *library, *typed;
    MC_TRY(mc_value_read_object(value, "compressor_library", &library, c->error));
    MC_TRY(mc_value_read_string(library, "name", name, c->error));
    MC_TRY(mc_value_read_object(library, "typed_config", &typed, c->error));
    out->codec = mc_codec_find(mc_any_type(typed), true);
    if (out->codec == NULL) {
        return mc_error_set(c->error, MC_EINVAL, "compressor_library.typed_config",
                            "is no compression that this build has: %.*s", MC_SLICE_ARG(mc_any_type(typed)));
    }
    return mc_error_in(out->codec->compile(c->arena, typed, true, &out->config, c->error), c->error,
                       "compressor_library.typed_config");
}

static mc_status register_side(mc_filter_compile *c, mc_slice prefix, const char *direction, mc_compressor_side *out) {
    mc_slice parts[] = {prefix, mc_slice_cstr(direction)}, scope;
    MC_TRY(mc_arena_concat(c->arena, parts, 2, &scope));
#define COUNTER(name) out->stats.name = mc_filter_stat(c, MC_COUNTER, scope, #name);
    MC_COMPRESSOR_SIDE_STATS(COUNTER)
#undef COUNTER
    return MC_OK;
}

static mc_status register_stats(mc_filter_compile *c, mc_slice library, bool split, mc_compressor *out) {
    mc_slice parts[] = {MC_SLICE("compressor."), library, MC_SLICE("."), mc_slice_cstr(out->library.codec->prefix)},
             prefix;
    MC_TRY(mc_arena_concat(c->arena, parts, 4, &prefix));
    MC_TRY(register_side(c, prefix, "request.", &out->request));
    MC_TRY(register_side(c, prefix, split ? "response." : "", &out->response));
#define COUNTER(name) out->stats.name = mc_filter_stat(c, MC_COUNTER, prefix, #name);
    MC_COMPRESSOR_STATS(COUNTER)
#undef COUNTER
    return MC_OK;
}

mc_status mc_compressor_compile(mc_filter_compile *c, const mc_value *value, void **out) {
    const mc_value *request, *response, *common;
    mc_slice library = MC_SLICE_NONE;
    mc_compressor *config = mc_arena_zalloc(c->arena, sizeof *config);
    *out = config;
    if (config == NULL) {
        return MC_ENOMEM;
    }
    MC_TRY(read_library(c, value, &config->library, &library));
    MC_TRY(mc_value_read_bool(value, "choose_first", &config->choose_first, c->error));
    MC_TRY(mc_value_read_object(value, "request_direction_config", &request, c->error));
    MC_TRY(mc_value_read_object(value, "response_direction_config", &response, c->error));
    MC_TRY(register_stats(c, library, response != NULL, config));
    if (request != NULL) {
        MC_TRY(mc_value_read_object(request, "common_config", &common, c->error));
        MC_TRY(mc_error_in(read_common(c, common, "min_content_length", "enabled", &config->request), c->error,
                           "request_direction_config.common_config"));
    }
    if (response != NULL) {
        return mc_error_in(read_response(c, response, config), c->error, "response_direction_config");
    }
    /* The older fields, of responses. */
    MC_TRY(read_common(c, value, "content_length", "runtime_enabled", &config->response));
    MC_TRY(mc_value_read_bool(value, "disable_on_etag_header", &config->refuse_etag, c->error));
    return mc_value_read_bool(value, "remove_accept_encoding_header", &config->hide_accept, c->error);
}

mc_status mc_compressor_compile_route(mc_filter_compile *c, const mc_value *value, void **out) {
    const mc_value *overrides, *response;
    bool hide = false;
    mc_compressor_route *route = mc_arena_zalloc(c->arena, sizeof *route);
    *out = route;
    if (route == NULL) {
        return MC_ENOMEM;
    }
    route->hide_accept = -1;
    MC_TRY(mc_value_read_bool(value, "disabled", &route->disabled, c->error));
    MC_TRY(mc_value_read_object(value, "overrides", &overrides, c->error));
    if (overrides == NULL && !route->disabled) {
        return mc_error_set(c->error, MC_EINVAL, "", "must have one of disabled, overrides");
    }
    MC_TRY(mc_value_read_object(overrides, "response_direction_config", &response, c->error));
    route->response = response != NULL;
    if (mc_value_get(overrides, "compressor_library") != NULL) {
        mc_slice name;
        MC_TRY(mc_error_in(read_library(c, overrides, &route->library, &name), c->error, "overrides"));
    }
    if (mc_value_get(response, "remove_accept_encoding_header") != NULL) {
        MC_TRY(mc_value_read_bool(response, "remove_accept_encoding_header", &hide, c->error));
        route->hide_accept = hide;
    }
    return MC_OK;
}
