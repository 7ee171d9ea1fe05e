#include "route/rate_limit.h"

#include "base/alloc.h"
#include "base/cidr.h"
#include "cel/cel.h"
#include "route/compile.h"
#include "route/format.h"
#include "route/matcher.h"
#include "route/matcher_input.h"
#include "route/metadata.h"

typedef enum action_kind {
    ACTION_SOURCE_CLUSTER,
    ACTION_DESTINATION_CLUSTER,
    ACTION_REQUEST_HEADER,
    ACTION_QUERY_PARAMETER,
    ACTION_REMOTE_ADDRESS,
    ACTION_GENERIC_KEY,
    ACTION_HEADER_VALUE_MATCH,
    ACTION_QUERY_VALUE_MATCH,
    ACTION_METADATA,
    ACTION_REMOTE_ADDRESS_MATCH,
    ACTION_INPUT,
    ACTION_EXPRESSION,
} action_kind;

typedef struct limit_action {
    action_kind kind;
    bool skip_if_absent;
    bool expect_match;         /* the matching kinds */
    bool of_route;             /* ACTION_METADATA: the route's, not the request's */
    unsigned v4_bits, v6_bits; /* ACTION_REMOTE_ADDRESS, when masked */
    mc_slice key;
    mc_slice value;          /* where it is constant */
    const mc_format *format; /* where it is not; NULL: `value` */
    mc_slice otherwise;      /* default_value */
    mc_slice name;           /* header (lower-case) or query parameter */
    const mc_header_matchers *headers;
    mc_matchers queries;
    mc_metadata_place place;
    mc_cidrs ranges;
    bool invert; /* of ranges */
    mc_tree_input input;
    const mc_cel_program *expression; /* skip_if_absent: where it has no result */
} limit_action;

typedef struct limit_entry {
    uint32_t stage;
    bool stream_done;
    mc_slice disable_key;
    const limit_action *actions;
    uint32_t action_count;
    bool has_override;
    mc_metadata_place override;
    bool has_limit; /* limit.rate_limit */
    uint32_t requests_per_unit;
    mc_rate_limit_unit unit;
    bool has_hits;
    uint64_t hits;
    const mc_format *hits_format;
} limit_entry;

struct mc_rate_limits {
    const limit_entry *items;
    uint32_t count;
};

/* --- compiling --- */

static mc_status read_key(mc_arena *arena, const mc_value *value, const char *otherwise, limit_action *out,
                          mc_error *error) {
    out->key = mc_slice_cstr(otherwise);
    return mc_read_text(arena, value, "descriptor_key", &out->key, error);
}

/* descriptor_value, a format, with default_value for when it comes to nothing. */
static mc_status read_value(mc_arena *arena, const mc_value *value, limit_action *out, mc_error *error) {
    mc_slice text = MC_SLICE_NONE;
    MC_TRY(mc_value_read_string(value, "descriptor_value", &text, error));
    if (text.n == 0) {
        return mc_error_set(error, MC_EINVAL, "descriptor_value", "must not be empty");
    }
    MC_TRY(mc_read_text(arena, value, "default_value", &out->otherwise, error));
    mc_status status = mc_format_compile_text(arena, text, true, &out->format, error);
    if (status == MC_EINVAL) { /* what is no format is plain text */
        out->format = NULL;
        return mc_arena_dup(arena, text, &out->value);
    }
    if (status == MC_OK && mc_format_literal(out->format, &out->value)) {
        out->format = NULL;
    }
    return status;
}

static mc_status read_nothing(mc_arena *arena, const mc_value *value, limit_action *out, mc_error *error) {
    (void)arena;
    (void)value;
    (void)error;
    out->v4_bits = 32;
    out->v6_bits = 128;
    return MC_OK;
}

static mc_status read_masked(mc_arena *arena, const mc_value *value, limit_action *out, mc_error *error) {
    (void)arena;
    out->key = MC_SLICE("masked_remote_address");
    uint32_t v4 = 32, v6 = 128;
    MC_TRY(mc_value_read_u32(value, "v4_prefix_mask_len", &v4, error));
    MC_TRY(mc_value_read_u32(value, "v6_prefix_mask_len", &v6, error));
    if (v4 > 32 || v6 > 128) {
        return mc_error_set(error, MC_EINVAL, v4 > 32 ? "v4_prefix_mask_len" : "v6_prefix_mask_len", "is too large");
    }
    out->v4_bits = v4;
    out->v6_bits = v6;
    return MC_OK;
}

static mc_status read_header(mc_arena *arena, const mc_value *value, limit_action *out, mc_error *error) {
    mc_slice name;
    MC_TRY(mc_read_name(arena, value, "header_name", &name, error));
    MC_TRY(mc_dup_lower(arena, name, &out->name));
    MC_TRY(mc_read_name(arena, value, "descriptor_key", &out->key, error));
    return mc_value_read_bool(value, "skip_if_absent", &out->skip_if_absent, error);
}

static mc_status read_query(mc_arena *arena, const mc_value *value, limit_action *out, mc_error *error) {
    MC_TRY(mc_read_name(arena, value, "query_parameter_name", &out->name, error));
    MC_TRY(read_key(arena, value, "query_param", out, error));
    return mc_value_read_bool(value, "skip_if_absent", &out->skip_if_absent, error);
}

static mc_status read_generic(mc_arena *arena, const mc_value *value, limit_action *out, mc_error *error) {
    MC_TRY(read_key(arena, value, "generic_key", out, error));
    return read_value(arena, value, out, error);
}

static mc_status read_headers(mc_arena *arena, const mc_value *value, limit_action *out, mc_error *error) {
    MC_TRY(read_key(arena, value, "header_match", out, error));
    MC_TRY(read_value(arena, value, out, error));
    out->expect_match = true;
    MC_TRY(mc_value_read_bool(value, "expect_match", &out->expect_match, error));
    MC_TRY(mc_match_headers_compile(arena, value, "headers", &out->headers, error));
    return out->headers != NULL ? MC_OK : mc_error_set(error, MC_EINVAL, "headers", "must have at least one entry");
}

static mc_status read_queries(mc_arena *arena, const mc_value *value, limit_action *out, mc_error *error) {
    const mc_value *items;
    size_t count;
    MC_TRY(read_key(arena, value, "query_match", out, error));
    MC_TRY(read_value(arena, value, out, error));
    out->expect_match = true;
    MC_TRY(mc_value_read_bool(value, "expect_match", &out->expect_match, error));
    MC_TRY(mc_value_read_list(value, "query_parameters", &items, &count, error));
    if (count == 0) {
        return mc_error_set(error, MC_EINVAL, "query_parameters", "must have at least one entry");
    }
    mc_matcher *matchers = mc_arena_alloc(arena, count * sizeof *matchers);
    if (matchers == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(mc_match_query_compile(arena, &items[i], &matchers[i], error), error,
                           "query_parameters[%zu]", i));
    }
    out->queries = (mc_matchers){matchers, (uint32_t)count};
    return MC_OK;
}

static mc_status read_metadata(mc_arena *arena, const mc_value *value, limit_action *out, mc_error *error) {
    static const mc_name_value sources[] = {{"DYNAMIC", 0}, {"ROUTE_ENTRY", 1}, {NULL, 0}};
    const mc_value *place;
    uint64_t source = 0;
    MC_TRY(mc_read_name(arena, value, "descriptor_key", &out->key, error));
    MC_TRY(mc_value_read_object(value, "metadata_key", &place, error));
    if (place == NULL) {
        return mc_error_set(error, MC_EINVAL, "metadata_key", "is required");
    }
    MC_TRY(mc_error_in(mc_metadata_place_read(arena, place, "key", &out->place, error), error, "metadata_key"));
    MC_TRY(mc_read_text(arena, value, "default_value", &out->otherwise, error));
    MC_TRY(mc_read_enum(value, "source", sources, &source, error));
    out->of_route = source == 1;
    return mc_value_read_bool(value, "skip_if_absent", &out->skip_if_absent, error);
}

static mc_status read_ranges(mc_arena *arena, const mc_value *value, limit_action *out, mc_error *error) {
    const mc_value *matcher;
    mc_slice text = MC_SLICE_NONE;
    MC_TRY(read_key(arena, value, "remote_address_match", out, error));
    /* Only here text that is no format is an error. */
    MC_TRY(mc_value_read_string(value, "descriptor_value", &text, error));
    MC_TRY(mc_error_in(mc_format_compile_text(arena, text, true, &out->format, error), error, "descriptor_value"));
    MC_TRY(read_value(arena, value, out, error));
    MC_TRY(mc_value_read_object(value, "address_matcher", &matcher, error));
    if (matcher == NULL) {
        return mc_error_set(error, MC_EINVAL, "address_matcher", "is required");
    }
    MC_TRY(mc_error_in(mc_cidrs_read(arena, matcher, "ranges", &out->ranges, error), error, "address_matcher"));
    return mc_error_in(mc_value_read_bool(matcher, "invert_match", &out->invert, error), error, "address_matcher");
}

static mc_status read_expression(mc_arena *arena, const mc_value *value, limit_action *out, mc_error *error) {
    static const mc_cel_options options = {.string_conversion = false};
    mc_slice text;
    out->kind = ACTION_EXPRESSION;
    MC_TRY(mc_read_name(arena, value, "descriptor_key", &out->key, error));
    MC_TRY(mc_value_read_bool(value, "skip_if_error", &out->skip_if_absent, error));
    MC_TRY(mc_read_name(arena, value, "text", &text, error));
    return mc_error_in(mc_cel_compile_text(arena, text, &options, &out->expression, error), error, "text");
}

/* A producer of descriptors, or else an input of matchers. */
static mc_status read_extension(mc_arena *arena, const mc_value *value, limit_action *out, mc_error *error) {
    static const mc_slice expression = MC_SLICE_INIT("envoy.extensions.rate_limit_descriptors.expr.v3.Descriptor");
    bool reads_info = false; /* so do other actions */
    const mc_value *typed = mc_value_get(value, "typed_config");
    if (typed != NULL && mc_slice_eq(mc_any_type(typed), expression)) {
        return mc_error_in(read_expression(arena, typed, out, error), error, "typed_config");
    }
    MC_TRY(mc_read_name(arena, value, "name", &out->key, error));
    return mc_tree_input_compile(arena, value, &out->input, &reads_info, error);
}

static const struct {
    const char *field;
    action_kind kind;
    mc_slice key; /* where it is not configured */
    mc_status (*read)(mc_arena *arena, const mc_value *value, limit_action *out, mc_error *error);
} kinds[] = {
    {"source_cluster", ACTION_SOURCE_CLUSTER, MC_SLICE_INIT("source_cluster"), read_nothing},
    {"destination_cluster", ACTION_DESTINATION_CLUSTER, MC_SLICE_INIT("destination_cluster"), read_nothing},
    {"request_headers", ACTION_REQUEST_HEADER, {NULL, 0}, read_header},
    {"query_parameters", ACTION_QUERY_PARAMETER, {NULL, 0}, read_query},
    {"remote_address", ACTION_REMOTE_ADDRESS, MC_SLICE_INIT("remote_address"), read_nothing},
    {"masked_remote_address", ACTION_REMOTE_ADDRESS, {NULL, 0}, read_masked},
    {"generic_key", ACTION_GENERIC_KEY, {NULL, 0}, read_generic},
    {"header_value_match", ACTION_HEADER_VALUE_MATCH, {NULL, 0}, read_headers},
    {"query_parameter_value_match", ACTION_QUERY_VALUE_MATCH, {NULL, 0}, read_queries},
    {"metadata", ACTION_METADATA, {NULL, 0}, read_metadata},
    {"remote_address_match", ACTION_REMOTE_ADDRESS_MATCH, {NULL, 0}, read_ranges},
    {"extension", ACTION_INPUT, {NULL, 0}, read_extension},
};

static mc_status compile_action(mc_arena *arena, const mc_value *value, limit_action *out, mc_error *error) {
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const mc_value *sub;
        MC_TRY(mc_value_read_object(value, kinds[i].field, &sub, error));
        if (sub != NULL) {
            out->kind = kinds[i].kind;
            out->key = kinds[i].key;
            return mc_error_in(kinds[i].read(arena, sub, out, error), error, "%s", kinds[i].field);
        }
    }
    return mc_error_set(error, MC_EINVAL, "", "is no action that is supported");
}

static mc_status compile_actions(mc_arena *arena, const mc_value *value, limit_entry *out, mc_error *error) {
    const mc_value *items;
    size_t count;
    MC_TRY(mc_value_read_list(value, "actions", &items, &count, error));
    if (count == 0) {
        return mc_error_set(error, MC_EINVAL, "actions", "must have at least one entry");
    }
    limit_action *actions = mc_arena_zalloc(arena, count * sizeof *actions);
    if (actions == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(compile_action(arena, &items[i], &actions[i], error), error, "actions[%zu]", i));
    }
    out->actions = actions;
    out->action_count = (uint32_t)count;
    return MC_OK;
}

static const mc_name_value units[] = {{"UNKNOWN", MC_RATE_UNIT_UNKNOWN},
                                      {"SECOND", MC_RATE_SECOND},
                                      {"MINUTE", MC_RATE_MINUTE},
                                      {"HOUR", MC_RATE_HOUR},
                                      {"DAY", MC_RATE_DAY},
                                      {"MONTH", MC_RATE_MONTH},
                                      {"YEAR", MC_RATE_YEAR},
                                      {"WEEK", MC_RATE_WEEK},
                                      {NULL, 0}};

static mc_status compile_override(mc_arena *arena, const mc_value *value, limit_entry *out, mc_error *error) {
    const mc_value *dynamic, *place, *fixed;
    uint64_t unit = 0;
    MC_TRY(mc_value_read_object(value, "rate_limit", &fixed, error));
    if (fixed != NULL) {
        out->has_limit = true;
        MC_TRY(mc_error_in(mc_value_read_u32(fixed, "requests_per_unit", &out->requests_per_unit, error), error,
                           "rate_limit"));
        MC_TRY(mc_error_in(mc_read_enum(fixed, "unit", units, &unit, error), error, "rate_limit"));
        out->unit = (mc_rate_limit_unit)unit;
        return MC_OK;
    }
    MC_TRY(mc_value_read_object(value, "dynamic_metadata", &dynamic, error));
    if (dynamic == NULL) {
        return mc_error_set(error, MC_EINVAL, "", "must have one of dynamic_metadata, rate_limit");
    }
    MC_TRY(mc_error_in(mc_value_read_object(dynamic, "metadata_key", &place, error), error, "dynamic_metadata"));
    if (place == NULL) {
        return mc_error_set(error, MC_EINVAL, "dynamic_metadata.metadata_key", "is required");
    }
    out->has_override = true;
    return mc_error_in(mc_metadata_place_read(arena, place, "key", &out->override, error), error,
                       "dynamic_metadata.metadata_key");
}

enum { MC_MAX_HITS = 1000000000 };

static mc_status compile_hits(mc_arena *arena, const mc_value *value, limit_entry *out, mc_error *error) {
    mc_slice text = MC_SLICE_NONE, literal;
    out->has_hits = mc_value_get(value, "number") != NULL;
    MC_TRY(mc_value_read_u64(value, "number", &out->hits, error));
    if (out->hits > MC_MAX_HITS) {
        return mc_error_set(error, MC_EINVAL, "number", "must be at most %d", MC_MAX_HITS);
    }
    MC_TRY(mc_value_read_string(value, "format", &text, error));
    if (text.n == 0) {
        return MC_OK;
    }
    if (out->has_hits) {
        return MC_OK; /* the number counts */
    }
    MC_TRY(mc_error_in(mc_format_compile_text(arena, text, true, &out->hits_format, error), error, "format"));
    return mc_format_literal(out->hits_format, &literal)
               ? mc_error_set(error, MC_EINVAL, "format", "must be one format operator")
               : MC_OK;
}

static mc_status compile_entry(mc_arena *arena, const mc_value *value, limit_entry *out, mc_error *error) {
    const mc_value *sub;
    MC_TRY(mc_value_read_u32(value, "stage", &out->stage, error));
    if (out->stage > 10) {
        return mc_error_set(error, MC_EINVAL, "stage", "must be at most 10");
    }
    MC_TRY(mc_value_read_bool(value, "apply_on_stream_done", &out->stream_done, error));
    MC_TRY(mc_read_text(arena, value, "disable_key", &out->disable_key, error));
    MC_TRY(compile_actions(arena, value, out, error));
    MC_TRY(mc_value_read_object(value, "limit", &sub, error));
    if (sub != NULL) {
        MC_TRY(mc_error_in(compile_override(arena, sub, out, error), error, "limit"));
    }
    MC_TRY(mc_value_read_object(value, "hits_addend", &sub, error));
    return sub == NULL ? MC_OK : mc_error_in(compile_hits(arena, sub, out, error), error, "hits_addend");
}

mc_status mc_rate_limits_compile(mc_arena *arena, const mc_value *object, const char *field, const mc_rate_limits **out,
                                 mc_error *error) {
    const mc_value *items;
    size_t count;
    *out = NULL;
    MC_TRY(mc_value_read_list(object, field, &items, &count, error));
    if (count == 0) {
        return MC_OK;
    }
    mc_rate_limits *limits = mc_arena_alloc(arena, sizeof *limits);
    limit_entry *entries = mc_arena_zalloc(arena, count * sizeof *entries);
    if (limits == NULL || entries == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(compile_entry(arena, &items[i], &entries[i], error), error, "%s[%zu]", field, i));
    }
    *limits = (mc_rate_limits){entries, (uint32_t)count};
    *out = limits;
    return MC_OK;
}

bool mc_rate_limits_empty(const mc_rate_limits *limits) { return limits == NULL || limits->count == 0; }

/* --- evaluating: 1 an entry (with an empty key: none), 0 the descriptor is void, MC_ENOMEM --- */

typedef struct scene {
    const mc_rate_limit_context *context;
    const mc_route_request *request;
    mc_arena *arena;
    mc_slice query;
} scene;

static const mc_value *dynamic_metadata(const scene *s) {
    return s->request->info == NULL ? NULL : s->request->info->dynamic_metadata;
}

/* What is known, in `bare` where the request comes without it. */
static const mc_stream_info *info_of(const scene *s, mc_stream_info *bare) {
    if (s->request->info != NULL) {
        return s->request->info;
    }
    mc_stream_info_init(bare);
    bare->request = s->request->headers;
    bare->downstream_remote = s->request->remote;
    bare->downstream_local = s->request->local;
    return bare;
}

static int make_value(const scene *s, const limit_action *action, mc_slice *out) {
    *out = action->value;
    if (action->format != NULL) {
        mc_stream_info bare;
        MC_TRY(mc_format_run_arena(action->format, info_of(s, &bare), s->arena, out));
    }
    if (out->n == 0) {
        *out = action->otherwise;
    }
    return out->n > 0;
}

static int remote_address(const scene *s, const limit_action *action, mc_slice *out) {
    const mc_address *remote = s->request->remote;
    char text[MC_ADDRESS_TEXT + 8];
    if (remote == NULL || remote->length == 0) {
        return 0;
    }
    size_t n;
    if (mc_slice_eq(action->key, MC_SLICE("remote_address"))) {
        n = mc_address_ip(remote, text);
    } else {
        bool v4 = remote->any.sa_family == AF_INET;
        unsigned bits = v4 ? action->v4_bits : action->v6_bits;
        mc_address masked = *remote;
        unsigned char *bytes = v4 ? (unsigned char *)&masked.v4.sin_addr : (unsigned char *)&masked.v6.sin6_addr;
        for (unsigned i = 0; i < (v4 ? 4u : 16u); i++) {
            unsigned keep = bits > i * 8 ? bits - i * 8 : 0;
            bytes[i] = (unsigned char)(keep >= 8 ? bytes[i] : bytes[i] & (0xff00u >> keep));
        }
        n = mc_address_ip(&masked, text);
        text[n++] = '/';
        n += mc_format_u64(text + n, bits);
    }
    MC_TRY(mc_arena_dup(s->arena, mc_slice_of(text, n), out));
    return 1;
}

/* The first parameter of this name, both decoded. */
static mc_status find_query(const scene *s, mc_slice name, bool *found, mc_slice *value) {
    mc_slice rest = s->query;
    *found = false;
    while (rest.n > 0 && !*found) {
        size_t end = mc_slice_find(rest, '&');
        mc_slice item = mc_slice_until(rest, end), key;
        rest = mc_slice_from(rest, end + 1);
        size_t equals = mc_slice_find(item, '=');
        MC_TRY(mc_percent_decode(mc_slice_until(item, equals), s->arena, &key));
        if (item.n > 0 && mc_slice_eq(key, name)) {
            *found = true;
            MC_TRY(mc_percent_decode(mc_slice_from(item, equals + 1), s->arena, value));
        }
    }
    return MC_OK;
}

static int queries_hold(const scene *s, const limit_action *action) {
    for (uint32_t i = 0; i < action->queries.count; i++) {
        bool found;
        mc_slice value = MC_SLICE("");
        MC_TRY(find_query(s, mc_match_query_name(&action->queries.items[i]), &found, &value));
        int holds = mc_match_query_value(&action->queries.items[i], found, value);
        if (holds != 1) {
            return holds;
        }
    }
    return 1;
}

static int metadata_value(const scene *s, const limit_action *action, mc_slice *out) {
    const mc_route *route = s->context->route;
    const mc_value *metadata = !action->of_route ? dynamic_metadata(s) : route == NULL ? NULL : route->metadata;
    const mc_value *value = mc_metadata_find(metadata, &action->place);
    *out = value != NULL && value->kind == MC_STRING ? value->string : MC_SLICE_NONE;
    if (out->n == 0) {
        *out = action->otherwise;
    }
    return out->n > 0;
}

static int expression_value(const scene *s, const limit_action *action, mc_slice *out) {
    mc_stream_info bare;
    mc_cel result;
    mc_text text;
    MC_TRY(mc_cel_eval(action->expression, info_of(s, &bare), s->arena, &result));
    mc_text_init(&text);
    const bool found = mc_cel_print(&result, &text);
    mc_status status = text.failed ? MC_ENOMEM : mc_arena_dup(s->arena, mc_text_slice(&text), out);
    mc_text_fini(&text);
    return status == MC_OK ? found : status;
}

/* *present false: the entry is left out. */
static int evaluate(const scene *s, const limit_action *action, mc_slice *out, bool *present) {
    const mc_headers *headers = s->request->headers;
    bool found;
    int holds;
    *present = true;
    switch (action->kind) {
    case ACTION_SOURCE_CLUSTER: *out = s->context->local_cluster; return 1;
    case ACTION_DESTINATION_CLUSTER: *out = s->context->cluster; return s->context->route != NULL;
    case ACTION_REQUEST_HEADER:
        *out = mc_headers_get(headers, action->name);
        *present = out->p != NULL;
        return *present || action->skip_if_absent;
    case ACTION_QUERY_PARAMETER:
        *out = MC_SLICE("");
        MC_TRY(find_query(s, action->name, &found, out));
        *present = found;
        return found || action->skip_if_absent;
    case ACTION_REMOTE_ADDRESS: return remote_address(s, action, out);
    case ACTION_GENERIC_KEY: return make_value(s, action, out);
    case ACTION_HEADER_VALUE_MATCH:
        holds = mc_header_matchers_all(action->headers, headers);
        return holds < 0 ? holds : holds == action->expect_match ? make_value(s, action, out) : 0;
    case ACTION_QUERY_VALUE_MATCH:
        holds = queries_hold(s, action);
        return holds < 0 ? holds : holds == action->expect_match ? make_value(s, action, out) : 0;
    case ACTION_METADATA: *present = metadata_value(s, action, out) == 1; return *present || action->skip_if_absent;
    case ACTION_REMOTE_ADDRESS_MATCH:
        if (s->request->remote == NULL || s->request->remote->length == 0 ||
            mc_cidrs_contain(&action->ranges, s->request->remote) == action->invert) {
            return 0;
        }
        return make_value(s, action, out);
    case ACTION_EXPRESSION:
        holds = expression_value(s, action, out);
        *present = holds == 1;
        return holds < 0 ? holds : *present || action->skip_if_absent;
    case ACTION_INPUT:
        MC_TRY(mc_tree_input_text(&action->input, &(mc_match_input){.request = s->request, .query = s->query}, out));
        *present = out->n > 0;
        return out->p != NULL;
    }
    return 0;
}

static void take_override(const scene *s, const limit_entry *entry, mc_rate_limit_descriptor *out) {
    out->has_limit = entry->has_limit;
    out->requests_per_unit = entry->requests_per_unit;
    out->unit = entry->unit;
    if (!entry->has_override) {
        return;
    }
    const mc_value *override = mc_metadata_find(dynamic_metadata(s), &entry->override);
    const mc_value *requests = mc_value_get(override, "requests_per_unit"), *unit = mc_value_get(override, "unit");
    if (requests == NULL || requests->kind != MC_NUMBER || unit == NULL || unit->kind != MC_STRING) {
        return;
    }
    for (const mc_name_value *at = units; at->name != NULL; at++) {
        if (mc_slice_eq(unit->string, mc_slice_cstr(at->name))) {
            out->has_limit = true;
            out->requests_per_unit = requests->number > 0 ? (uint32_t)requests->number : 0;
            out->unit = (mc_rate_limit_unit)at->value;
        }
    }
}

static mc_status take_hits(const scene *s, const limit_entry *entry, mc_rate_limit_descriptor *out) {
    out->has_hits = entry->has_hits;
    out->hits_addend = entry->hits;
    if (entry->hits_format != NULL && s->request->info != NULL) {
        mc_slice text;
        MC_TRY(mc_format_run_arena(entry->hits_format, s->request->info, s->arena, &text));
        out->has_hits = mc_slice_u64(text, &out->hits_addend) == MC_OK && out->hits_addend <= MC_MAX_HITS;
    }
    return MC_OK;
}

static mc_status append(mc_rate_limit_descriptors *list, const mc_rate_limit_descriptor *descriptor, mc_arena *arena) {
    if (list->count == list->cap) {
        uint32_t cap = list->cap == 0 ? 4 : 2 * list->cap;
        mc_rate_limit_descriptor *grown = mc_arena_alloc(arena, cap * sizeof *grown);
        if (grown == NULL) {
            return MC_ENOMEM;
        }
        if (list->count > 0) {
            memcpy(grown, list->items, list->count * sizeof *grown);
        }
        list->items = grown;
        list->cap = cap;
    }
    list->items[list->count++] = *descriptor;
    return MC_OK;
}

static mc_status add_descriptor(const scene *s, const limit_entry *entry, mc_rate_limit_descriptors *out) {
    mc_rate_limit_descriptor made = {.disable_key = entry->disable_key};
    mc_rate_limit_entry *entries = mc_arena_alloc(s->arena, entry->action_count * sizeof *entries);
    if (entries == NULL) {
        return MC_ENOMEM;
    }
    for (uint32_t i = 0; i < entry->action_count; i++) {
        mc_slice value = MC_SLICE_NONE;
        bool present;
        int holds = evaluate(s, &entry->actions[i], &value, &present);
        if (holds != 1) {
            return holds;
        }
        if (present && entry->actions[i].key.n > 0) {
            entries[made.count++] = (mc_rate_limit_entry){entry->actions[i].key, value};
        }
    }
    made.entries = entries;
    take_override(s, entry, &made);
    MC_TRY(take_hits(s, entry, &made));
    return append(out, &made, s->arena);
}

mc_status mc_rate_limits_descriptors(const mc_rate_limits *limits, uint32_t stage, bool stream_done,
                                     const mc_rate_limit_context *context, mc_rate_limit_descriptors *out) {
    mc_slice path = mc_headers_get_known(context->request->headers, MC_H_PATH);
    path = mc_slice_until(path, mc_slice_find(path, '#'));
    const scene s = {context, context->request, context->request->arena,
                     mc_slice_from(path, mc_slice_find(path, '?') + 1)};
    for (uint32_t i = 0; limits != NULL && i < limits->count; i++) {
        const limit_entry *entry = &limits->items[i];
        if (entry->stage == stage && entry->stream_done == stream_done) {
            MC_TRY(add_descriptor(&s, entry, out));
        }
    }
    return MC_OK;
}

mc_status mc_route_rate_limits(const mc_route_match *match, const mc_route_request *request, mc_slice local_cluster,
                               uint32_t stage, bool stream_done, mc_vh_rate_limits option,
                               mc_rate_limit_descriptors *out) {
    const mc_route *route = match->route;
    if (route == NULL || route->action != MC_ROUTE_TO_CLUSTER) {
        return MC_OK;
    }
    const mc_rate_limit_context context = {request, route, match->cluster, local_cluster};
    MC_TRY(mc_rate_limits_descriptors(route->rate_limits, stage, stream_done, &context, out));
    bool include = route->include_virtual_host_rate_limits || option == MC_VH_RATE_LIMITS_INCLUDE ||
                   (option == MC_VH_RATE_LIMITS_OVERRIDE && mc_rate_limits_empty(route->rate_limits));
    return include ? mc_rate_limits_descriptors(match->virtual_host->rate_limits, stage, stream_done, &context, out)
                   : MC_OK;
}
