#include "route/rate_limit_action.h"

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

struct mc_rate_limit_actions {
    const limit_action *items;
    uint32_t count;
};

/* --- compiling --- */

static mc_status read_key(mc_arena *arena, const mc_value *value, const char *otherwise, limit_action *out,
                          mc_error *error) {
    out->key = mc_slice_cstr(otherwise);
    return mc_read_text(arena, value, "descriptor_key", &out->key, error);
}

/* descriptor_value as it stands: text, whatever it looks like (only remote_address_match formats it). It is never empty, so
 * default_value never counts. */
static mc_status read_value(mc_arena *arena, const mc_value *value, limit_action *out, mc_error *error) {
    return mc_read_name(arena, value, "descriptor_value", &out->value, error);
}

/* descriptor_value as a format, with default_value for when it comes to nothing. */
static mc_status read_formatted(mc_arena *arena, const mc_value *value, limit_action *out, mc_error *error) {
    mc_slice text = MC_SLICE_NONE;
    MC_TRY(mc_value_read_string(value, "descriptor_value", &text, error));
    if (text.n == 0) {
        return mc_error_set(error, MC_EINVAL, "descriptor_value", "must not be empty");
    }
    MC_TRY(mc_read_text(arena, value, "default_value", &out->otherwise, error));
    MC_TRY(mc_error_in(mc_format_compile_text(arena, text, true, &out->format, error), error, "descriptor_value"));
    if (mc_format_literal(out->format, &out->value)) {
        out->format = NULL;
    }
    return MC_OK;
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
    MC_TRY(read_key(arena, value, "remote_address_match", out, error));
    MC_TRY(read_formatted(arena, value, out, error));
    MC_TRY(mc_value_read_object(value, "address_matcher", &matcher, error));
    if (matcher == NULL) {
        return mc_error_set(error, MC_EINVAL, "address_matcher", "is required");
    }
    MC_TRY(mc_error_in(mc_cidrs_read(arena, matcher, "ranges", &out->ranges, error), error, "address_matcher"));
    return mc_error_in(mc_value_read_bool(matcher, "invert_match", &out->invert, error), error, "address_matcher");
}

static mc_status read_expression(mc_arena *arena, const mc_value *value, limit_action *out, mc_error *error) {
    static const mc_cel_options options = {.string_conversion = false};
    const mc_value *parsed;
    mc_slice text;
    out->kind = ACTION_EXPRESSION;
    MC_TRY(mc_read_name(arena, value, "descriptor_key", &out->key, error));
    MC_TRY(mc_value_read_bool(value, "skip_if_error", &out->skip_if_absent, error));
    MC_TRY(mc_value_read_object(value, "parsed", &parsed, error));
    if (parsed != NULL) {
        return mc_error_in(mc_cel_compile_expr(arena, parsed, &options, &out->expression, error), error, "parsed");
    }
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

mc_status mc_rate_limit_actions_compile(mc_arena *arena, const mc_value *object, const mc_rate_limit_actions **out,
                                        mc_error *error) {
    const mc_value *items;
    size_t count;
    MC_TRY(mc_value_read_list(object, "actions", &items, &count, error));
    if (count == 0) {
        return mc_error_set(error, MC_EINVAL, "actions", "must have at least one entry");
    }
    mc_rate_limit_actions *actions = mc_arena_alloc(arena, sizeof *actions);
    limit_action *made = mc_arena_zalloc(arena, count * sizeof *made);
    if (actions == NULL || made == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(compile_action(arena, &items[i], &made[i], error), error, "actions[%zu]", i));
    }
    *actions = (mc_rate_limit_actions){made, (uint32_t)count};
    *out = actions;
    return MC_OK;
}

/* --- evaluating: 1 an entry (with an empty key: none), 0 the descriptor is void, MC_ENOMEM --- */

/* What is known, in `bare` where the request comes without it. */
static const mc_stream_info *info_of(const mc_rate_limit_scene *s, mc_stream_info *bare) {
    if (s->request->info != NULL) {
        return s->request->info;
    }
    mc_stream_info_init(bare);
    bare->request = s->request->headers;
    bare->downstream_remote = s->request->remote;
    bare->downstream_local = s->request->local;
    return bare;
}

static int make_value(const mc_rate_limit_scene *s, const limit_action *action, mc_slice *out) {
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

static int remote_address(const mc_rate_limit_scene *s, const limit_action *action, mc_slice *out) {
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
static mc_status find_query(const mc_rate_limit_scene *s, mc_slice name, bool *found, mc_slice *value) {
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

static int queries_hold(const mc_rate_limit_scene *s, const limit_action *action) {
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

static int metadata_value(const mc_rate_limit_scene *s, const limit_action *action, mc_slice *out) {
    const mc_route *route = s->context->route;
    const mc_value *metadata = !action->of_route ? s->metadata : route == NULL ? NULL : route->metadata;
    const mc_value *value = mc_metadata_find(metadata, &action->place);
    *out = value != NULL && value->kind == MC_STRING ? value->string : MC_SLICE_NONE;
    if (out->n == 0) {
        *out = action->otherwise;
    }
    return out->n > 0;
}

static int expression_value(const mc_rate_limit_scene *s, const limit_action *action, mc_slice *out) {
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
static int evaluate(const mc_rate_limit_scene *s, const limit_action *action, mc_slice *out, bool *present) {
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
        if (action->input.kind == MC_INPUT_METADATA) { /* Envoy: it is no text, even where its value is */
            return 0;
        }
        MC_TRY(mc_tree_input_text(&action->input, &(mc_match_input){.request = s->request, .query = s->query}, out));
        *present = out->n > 0;
        return out->p != NULL;
    }
    return 0;
}

int mc_rate_limit_actions_describe(const mc_rate_limit_actions *actions, const mc_rate_limit_scene *s,
                                   mc_rate_limit_descriptor *out) {
    mc_rate_limit_entry *entries = mc_arena_alloc(s->arena, actions->count * sizeof *entries);
    if (entries == NULL) {
        return MC_ENOMEM;
    }
    for (uint32_t i = 0; i < actions->count; i++) {
        const limit_action *action = &actions->items[i];
        mc_slice value = MC_SLICE_NONE;
        bool present;
        int holds = evaluate(s, action, &value, &present);
        if (holds != 1) {
            return holds;
        }
        if (present && action->key.n > 0) {
            entries[out->count++] = (mc_rate_limit_entry){action->key, value};
        }
    }
    out->entries = entries;
    return 1;
}
