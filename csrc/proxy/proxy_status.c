#include "proxy/proxy_status.h"

#include "base/read.h"
#include "http/flags.h"

/* Response flag to proxy error type (RFC 9209 section 2.3), its recommended status; the first that is set counts. */
static const struct {
    unsigned flag;
    const char *error;
    uint16_t code; /* 0: none */
} errors[] = {
    {MC_FLAG_INDEX_LH, "destination_unavailable", 503},     {MC_FLAG_INDEX_UH, "destination_unavailable", 503},
    {MC_FLAG_INDEX_UT, "http_response_timeout", 504},       {MC_FLAG_INDEX_LR, "connection_timeout", 504},
    {MC_FLAG_INDEX_UR, "connection_terminated", 502},       {MC_FLAG_INDEX_UF, "connection_refused", 502},
    {MC_FLAG_INDEX_UC, "connection_terminated", 502},       {MC_FLAG_INDEX_UO, "connection_limit_reached", 503},
    {MC_FLAG_INDEX_NR, "destination_not_found", 500},       {MC_FLAG_INDEX_RL, "connection_limit_reached", 503},
    {MC_FLAG_INDEX_RLSE, "connection_limit_reached", 503},  {MC_FLAG_INDEX_URX, "destination_unavailable", 503},
    {MC_FLAG_INDEX_SI, "http_response_timeout", 504},       {MC_FLAG_INDEX_IH, "http_request_error", 0},
    {MC_FLAG_INDEX_DPE, "http_request_error", 0},           {MC_FLAG_INDEX_UMSDR, "http_response_timeout", 504},
    {MC_FLAG_INDEX_NFCF, "proxy_configuration_error", 500}, {MC_FLAG_INDEX_UPE, "http_protocol_error", 502},
    {MC_FLAG_INDEX_NC, "destination_unavailable", 503},     {MC_FLAG_INDEX_DF, "dns_error", 502},
};

mc_status mc_proxy_status_rules_read(mc_arena *arena, const mc_value *config, mc_slice node_id, mc_slice server_name,
                                     const mc_proxy_status_rules **out, mc_error *error) {
    const mc_value *value;
    bool use_node_id = false;
    MC_TRY(mc_value_read_object(config, "proxy_status_config", &value, error));
    if (value == NULL) {
        return MC_OK;
    }
    mc_proxy_status_rules *rules = mc_arena_zalloc(arena, sizeof *rules);
    if (rules == NULL) {
        return MC_ENOMEM;
    }
    MC_TRY(mc_value_read_bool(value, "remove_details", &rules->remove_details, error));
    MC_TRY(
        mc_value_read_bool(value, "remove_connection_termination_details", &rules->remove_termination_details, error));
    MC_TRY(mc_value_read_bool(value, "remove_response_flags", &rules->remove_response_flags, error));
    MC_TRY(mc_value_read_bool(value, "set_recommended_response_code", &rules->set_recommended_code, error));
    MC_TRY(mc_value_read_bool(value, "use_node_id", &use_node_id, error));
    rules->name = use_node_id ? node_id : server_name;
    MC_TRY(mc_read_text(arena, value, "literal_proxy_name", &rules->name, error));
    *out = rules;
    return MC_OK;
}

/* Puts `text` at *n with quotes, backslashes and line ends escaped. */
static void put_escaped(char *out, size_t *n, mc_slice text) {
    for (size_t i = 0; i < text.n; i++) {
        const char c = text.p[i];
        const char short_form = c == '\n' ? 'n' : c == '\r' ? 'r' : c == '\t' ? 't' : 0;
        if (short_form != 0 || c == '"' || c == '\\' || c == '\'') {
            out[(*n)++] = '\\';
        }
        out[(*n)++] = short_form != 0 ? short_form : c;
    }
}

static mc_status quote_details(const mc_proxy_status_rules *rules, uint64_t flags, uint64_t flag_order,
                               mc_slice details, mc_slice termination, mc_arena *arena, mc_slice *out) {
    char names[256];
    const size_t length = mc_flags_text_ordered(flags, flag_order, names, sizeof names);
    mc_slice parts[] = {details, rules->remove_termination_details ? MC_SLICE_NONE : termination,
                        rules->remove_response_flags ? MC_SLICE_NONE : mc_slice_of(names, length)};
    char *text = mc_arena_bytes(arena, 2 * (parts[0].n + parts[1].n + parts[2].n) + 4);
    size_t n = 0;
    if (text == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < 3; i++) {
        if (parts[i].n > 0) {
            put_escaped(text, &n, n > 0 ? MC_SLICE("; ") : MC_SLICE(""));
            put_escaped(text, &n, parts[i]);
        }
    }
    *out = mc_slice_of(text, n);
    return MC_OK;
}

mc_status mc_proxy_status_apply(const mc_proxy_status_rules *rules, uint64_t flags, uint64_t flag_order,
                                mc_slice details, mc_slice termination_details, mc_headers *headers) {
    size_t i = 0;
    while (i < sizeof errors / sizeof errors[0] && (flags & (uint64_t)1 << errors[i].flag) == 0) {
        i++;
    }
    if (i == sizeof errors / sizeof errors[0]) {
        return MC_OK;
    }
    mc_slice quoted = MC_SLICE_NONE, text;
    const bool detailed = !rules->remove_details && details.n > 0;
    if (detailed) {
        MC_TRY(quote_details(rules, flags, flag_order, details, termination_details, headers->arena, &quoted));
    }
    mc_slice parts[] = {rules->name,
                        MC_SLICE("; error="),
                        mc_slice_cstr(errors[i].error),
                        detailed ? MC_SLICE("; details=\"") : MC_SLICE(""),
                        quoted,
                        detailed ? MC_SLICE("\"") : MC_SLICE("")};
    MC_TRY(mc_arena_concat(headers->arena, parts, sizeof parts / sizeof parts[0], &text));
    MC_TRY(mc_headers_append_value(headers, MC_H_PROXY_STATUS, MC_SLICE(", "), text));
    if (!rules->set_recommended_code || errors[i].code == 0) {
        return MC_OK;
    }
    char digits[20];
    return mc_headers_set_known(headers, MC_H_STATUS, mc_slice_of(digits, mc_format_u64(digits, errors[i].code)));
}
