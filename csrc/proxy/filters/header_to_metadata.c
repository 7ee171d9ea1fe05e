/* header_to_metadata (FL-55): values of headers and cookies become dynamic metadata. */
#include <stdlib.h>

#include "base/base64.h"
#include "base/value_edit.h"
#include "http/uri.h"
#include "proxy/filters/kind.h"
#include "proxy/filters/value_message.h"
#include "route/matcher.h"

enum { VALUE_LIMIT = 8 * 1024 };

typedef enum value_type { TYPE_STRING, TYPE_NUMBER, TYPE_MESSAGE } value_type;

/* Where a value goes, and what becomes of it. */
typedef struct target {
    bool set;
    mc_slice space, key;
    mc_slice value; /* empty: the header's */
    const mc_regex *regex;
    mc_slice substitution;
    value_type type;
    bool base64;
} target;

typedef struct rule {
    mc_slice header, cookie; /* one of them; lower-case header */
    target present, missing;
    bool remove;
} rule;

typedef struct rules {
    rule *items;
    uint32_t count;
} rules;

/* One direction's; what both have in common counts in the other three. */
#define STATS(X)  X(rules_processed) X(metadata_added) X(header_not_found)
#define ERRORS(X) X(base64_decode_failed) X(header_value_too_long) X(regex_substitution_failed)

typedef struct stats {
    STATS(MC_STAT_FIELD)
    ERRORS(MC_STAT_FIELD)
} stats;

typedef struct config {
    rules request, response;
    bool counts; /* it has a stat_prefix */
    stats on_request, on_response;
} config;

/* One direction of a message. */
typedef struct pass {
    mc_filter *filter;
    const rules *rules;
    const stats *stats; /* NULL: nothing is counted */
} pass;

#define COUNT(pass, name)                                                                                              \
    do {                                                                                                               \
        if ((pass)->stats != NULL) {                                                                                   \
            mc_counter_inc(mc_filter_slab((pass)->filter), (pass)->stats->name);                                       \
        }                                                                                                              \
    } while (0)

/* False: there is nothing to set. */
static mc_status make_value(const pass *pass, const target *target, mc_slice text, mc_value *out, bool *made) {
    mc_arena *arena = mc_filter_arena(pass->filter);
    *made = false;
    if (text.n >= VALUE_LIMIT) {
        COUNT(pass, header_value_too_long);
    }
    if (text.n == 0 || text.n >= VALUE_LIMIT) {
        return MC_OK;
    }
    if (target->base64) {
        char *bytes = mc_arena_bytes(arena, text.n);
        long n = bytes == NULL || !mc_base64_canonical(text) ? 0 : mc_base64_decode(text, bytes);
        if (n <= 0) {
            COUNT(pass, base64_decode_failed);
            return bytes == NULL ? MC_ENOMEM : MC_OK;
        }
        text = mc_slice_of(bytes, (size_t)n);
    }
    switch (target->type) {
    case TYPE_STRING: *out = mc_value_text(text); break;
    case TYPE_NUMBER: {
        char digits[64], *end;
        mc_slice trimmed = mc_slice_trim(text);
        if (trimmed.n == 0 || trimmed.n >= sizeof digits) {
            return MC_OK;
        }
        memcpy(digits, trimmed.p, trimmed.n);
        digits[trimmed.n] = 0;
        *out = mc_value_number(strtod(digits, &end));
        if (*end != 0) {
            return MC_OK;
        }
        break;
    }
    case TYPE_MESSAGE: {
        mc_status status = mc_value_message_parse(arena, text, out);
        if (status != MC_OK) {
            return status == MC_ENOMEM ? status : MC_OK;
        }
        break;
    }
    }
    *made = true;
    return MC_OK;
}

static mc_status put(const pass *pass, const target *target, mc_slice text) {
    mc_value value;
    bool made;
    if (target->value.n > 0) {
        text = target->value;
    } else if (target->regex != NULL) {
        const bool empty = text.n == 0;
        MC_TRY(mc_regex_replace(target->regex, text, target->substitution, mc_filter_arena(pass->filter), &text));
        if (text.n == 0 && !empty) {
            COUNT(pass, regex_substitution_failed);
        }
    }
    MC_TRY(make_value(pass, target, text, &value, &made));
    if (!made) {
        return MC_OK;
    }
    COUNT(pass, metadata_added);
    return mc_filter_set_metadata(pass->filter, target->space, target->key, &value);
}

static mc_status apply_rule(const pass *pass, const rule *rule, mc_headers *headers) {
    mc_filter *filter = pass->filter;
    mc_slice value = MC_SLICE_NONE;
    COUNT(pass, rules_processed);
    if (rule->header.n > 0) {
        MC_TRY(mc_headers_joined(headers, rule->header, mc_filter_arena(filter), &value));
    } else if (!mc_cookie_get(headers, rule->cookie, &value) || value.n == 0) {
        value = MC_SLICE_NONE;
    }
    if (value.p == NULL) {
        if (!rule->missing.set) {
            return MC_OK;
        }
        COUNT(pass, header_not_found);
        return put(pass, &rule->missing, value);
    }
    if (rule->present.set) {
        MC_TRY(put(pass, &rule->present, value));
    }
    if (rule->remove) {
        mc_headers_remove(headers, rule->header);
    }
    return MC_OK;
}

static mc_filter_status apply(const pass *pass, mc_headers *headers) {
    for (uint32_t i = 0; i < pass->rules->count; i++) {
        if (apply_rule(pass, &pass->rules->items[i], headers) != MC_OK) {
            return mc_filter_out_of_memory(pass->filter);
        }
    }
    return MC_FILTER_CONTINUE;
}

static mc_filter_status decode_headers(mc_filter *filter, mc_headers *headers, bool end_stream) {
    const config *config = mc_filter_route_config(filter);
    return apply(&(pass){filter, &config->request, config->counts ? &config->on_request : NULL}, headers);
}

static mc_filter_status encode_headers(mc_filter *filter, mc_headers *headers, bool end_stream) {
    const config *config = mc_filter_route_config(filter);
    return apply(&(pass){filter, &config->response, config->counts ? &config->on_response : NULL}, headers);
}

/* --- compiling ------------------------------------------------------------------------------------------------------------ */

static mc_status read_rewrite(mc_filter_compile *c, const mc_value *value, target *out) {
    const mc_value *pattern;
    mc_slice regex = MC_SLICE_NONE;
    MC_TRY(mc_value_read_object(value, "pattern", &pattern, c->error));
    MC_TRY(mc_value_read_string(pattern, "regex", &regex, c->error));
    MC_TRY(mc_read_text(c->arena, value, "substitution", &out->substitution, c->error));
    if (out->value.n > 0) {
        return mc_error_set(c->error, MC_EINVAL, "", "must not stand beside value");
    }
    return mc_error_in(mc_regex_compile(c->arena, regex, MC_REGEX_PROGRAM_SIZE, &out->regex, c->error), c->error,
                       "pattern.regex");
}

static mc_status read_target(mc_filter_compile *c, const mc_value *value, target *out) {
    static const mc_name_value types[] = {
        {"STRING", TYPE_STRING}, {"NUMBER", TYPE_NUMBER}, {"PROTOBUF_VALUE", TYPE_MESSAGE}, {NULL, 0}};
    static const mc_name_value encodings[] = {{"NONE", 0}, {"BASE64", 1}, {NULL, 0}};
    uint64_t type = TYPE_STRING, base64 = 0;
    out->set = true;
    out->space = MC_SLICE("envoy.filters.http.header_to_metadata");
    MC_TRY(mc_read_text(c->arena, value, "metadata_namespace", &out->space, c->error));
    MC_TRY(mc_read_name(c->arena, value, "key", &out->key, c->error));
    MC_TRY(mc_read_text(c->arena, value, "value", &out->value, c->error));
    MC_TRY(mc_read_enum(value, "type", types, &type, c->error));
    MC_TRY(mc_read_enum(value, "encode", encodings, &base64, c->error));
    out->type = (value_type)type;
    out->base64 = base64 == 1;
    return MC_OK;
}

static mc_status read_present(mc_filter_compile *c, const mc_value *value, target *out) {
    const mc_value *rewrite;
    MC_TRY(read_target(c, value, out));
    MC_TRY(mc_value_read_object(value, "regex_value_rewrite", &rewrite, c->error));
    return rewrite == NULL ? MC_OK : mc_error_in(read_rewrite(c, rewrite, out), c->error, "regex_value_rewrite");
}

/* Has a value of its own; there is nothing that a rewrite beside it could be of. */
static mc_status read_missing(mc_filter_compile *c, const mc_value *value, target *out) {
    MC_TRY(read_target(c, value, out));
    return out->value.n > 0 ? MC_OK : mc_error_set(c->error, MC_EINVAL, "value", "must not be empty");
}

static mc_status read_rule(mc_filter_compile *c, const mc_value *value, rule *out) {
    const mc_value *present, *missing;
    mc_slice header = MC_SLICE_NONE;
    MC_TRY(mc_value_read_string(value, "header", &header, c->error));
    MC_TRY(mc_dup_lower(c->arena, header, &out->header));
    MC_TRY(mc_read_text(c->arena, value, "cookie", &out->cookie, c->error));
    MC_TRY(mc_value_read_bool(value, "remove", &out->remove, c->error));
    if ((out->header.n > 0) == (out->cookie.n > 0)) {
        return mc_error_set(c->error, MC_EINVAL, "", "must have either header or cookie");
    }
    if (out->cookie.n > 0 && out->remove) {
        return mc_error_set(c->error, MC_EINVAL, "remove", "must not be set for a cookie");
    }
    MC_TRY(mc_value_read_object(value, "on_header_present", &present, c->error));
    MC_TRY(mc_value_read_object(value, "on_header_missing", &missing, c->error));
    if (present == NULL && missing == NULL) {
        return mc_error_set(c->error, MC_EINVAL, "", "must have on_header_present or on_header_missing");
    }
    if (present != NULL) {
        MC_TRY(mc_error_in(read_present(c, present, &out->present), c->error, "on_header_present"));
    }
    if (missing != NULL) {
        MC_TRY(mc_error_in(read_missing(c, missing, &out->missing), c->error, "on_header_missing"));
    }
    return MC_OK;
}

static mc_status read_rules(mc_filter_compile *c, const mc_value *value, const char *field, rules *out) {
    const mc_value *list;
    size_t count;
    MC_TRY(mc_value_read_list(value, field, &list, &count, c->error));
    out->items = mc_arena_zalloc(c->arena, count * sizeof *out->items);
    if (out->items == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(read_rule(c, &list[i], &out->items[out->count++]), c->error, "%s[%zu]", field, i));
    }
    return MC_OK;
}

/* Below no connection manager. */
static mc_status read_stats(mc_filter_compile *c, const mc_value *value, config *out) {
    mc_slice prefix = MC_SLICE_NONE, scope;
    MC_TRY(mc_value_read_string(value, "stat_prefix", &prefix, c->error));
    if (prefix.n == 0) {
        return MC_OK;
    }
    const bool dot = prefix.p[prefix.n - 1] != '.';
    const mc_slice parts[] = {MC_SLICE("http_filter_name."), prefix, dot ? MC_SLICE(".") : MC_SLICE_NONE};
    MC_TRY(mc_arena_concat(c->arena, parts, 3, &scope));
    out->counts = true;
#define COUNTER(name) out->on_request.name = mc_stats_scoped(c->stats, MC_COUNTER, scope, MC_SLICE("request_" #name));
    STATS(COUNTER)
#undef COUNTER
#define COUNTER(name) out->on_request.name = mc_stats_scoped(c->stats, MC_COUNTER, scope, MC_SLICE(#name));
    ERRORS(COUNTER)
#undef COUNTER
    out->on_response = out->on_request;
#define COUNTER(name) out->on_response.name = mc_stats_scoped(c->stats, MC_COUNTER, scope, MC_SLICE("response_" #name));
    STATS(COUNTER)
#undef COUNTER
    return MC_OK;
}

static mc_status compile(mc_filter_compile *c, const mc_value *value, void **out) {
    config *config = mc_arena_zalloc(c->arena, sizeof *config);
    *out = config;
    if (config == NULL) {
        return MC_ENOMEM;
    }
    MC_TRY(read_rules(c, value, "request_rules", &config->request));
    MC_TRY(read_rules(c, value, "response_rules", &config->response));
    MC_TRY(read_stats(c, value, config));
    if (c->is_route && config->request.count + config->response.count == 0) {
        return mc_error_set(c->error, MC_EINVAL, "", "must have request_rules or response_rules");
    }
    return MC_OK;
}

static const mc_filter_type filter_type = {.name = "envoy.filters.http.header_to_metadata",
                                           .decode_headers = decode_headers,
                                           .encode_headers = encode_headers};

const mc_filter_kind mc_filter_kind_header_to_metadata = {
    .type = "envoy.extensions.filters.http.header_to_metadata.v3.Config",
    .route_type = "envoy.extensions.filters.http.header_to_metadata.v3.Config",
    .filter = &filter_type,
    .compile = compile,
    .compile_route = compile,
};
