/* Http1ProtocolOptions, as far as the codec knows them. */
#include "base/read.h"
#include "h1/h1.h"

static const char preserve_case[] =
    "type.googleapis.com/envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig";

static mc_status read_formatter(const mc_value *config, mc_h1_limits *limits, mc_error *error) {
    static const mc_name_value types[] = {{"DEFAULT", 0}, {"PROPER_CASE", 1}, {NULL, 0}};
    mc_slice type = MC_SLICE_NONE;
    uint64_t others = 0;
    MC_TRY(mc_value_read_string(config, "@type", &type, error));
    if (!mc_slice_eq(type, mc_slice_cstr(preserve_case))) {
        return mc_error_set(error, MC_EINVAL, "", "is no header formatter known here: %.*s", MC_SLICE_ARG(type));
    }
    limits->keep_case = true;
    MC_TRY(mc_value_read_bool(config, "forward_reason_phrase", &limits->keep_reason, error));
    MC_TRY(mc_read_enum(config, "formatter_type_on_envoy_headers", types, &others, error));
    limits->keep_proper = others == 1;
    return MC_OK;
}

static mc_status read_key_format(const mc_value *format, mc_h1_limits *limits, mc_error *error) {
    const mc_value *stateful, *config;
    limits->proper_case = mc_value_get(format, "proper_case_words") != NULL;
    MC_TRY(mc_value_read_object(format, "stateful_formatter", &stateful, error));
    if (stateful == NULL) {
        return MC_OK;
    }
    MC_TRY(mc_value_read_object(stateful, "typed_config", &config, error));
    return mc_error_in(read_formatter(config, limits, error), error, "stateful_formatter.typed_config");
}

mc_status mc_h1_limits_read(const mc_value *options, mc_h1_limits *limits, mc_error *error) {
    const mc_value *format;
    MC_TRY(mc_value_read_bool(options, "accept_http_10", &limits->accept_http_10, error));
    MC_TRY(mc_value_read_bool(options, "allow_absolute_url", &limits->allow_absolute_url, error));
    MC_TRY(mc_value_read_bool(options, "enable_trailers", &limits->enable_trailers, error));
    MC_TRY(mc_value_read_bool(options, "allow_chunked_length", &limits->allow_chunked_length, error));
    MC_TRY(mc_value_read_bool(options, "allow_custom_methods", &limits->allow_custom_methods, error));
    MC_TRY(mc_value_read_bool(options, "send_fully_qualified_url", &limits->send_absolute_target, error));
    MC_TRY(mc_value_read_object(options, "header_key_format", &format, error));
    return mc_error_in(read_key_format(format, limits, error), error, "header_key_format");
}
