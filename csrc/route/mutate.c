#include "route/mutate.h"

#include "route/compile.h"

enum { MC_MAX_ADDITIONS = 1000 };

const mc_name_value mc_append_actions[] = {{"APPEND_IF_EXISTS_OR_ADD", MC_APPEND_OR_ADD},
                                           {"ADD_IF_ABSENT", MC_ADD_IF_ABSENT},
                                           {"OVERWRITE_IF_EXISTS_OR_ADD", MC_OVERWRITE_OR_ADD},
                                           {"OVERWRITE_IF_EXISTS", MC_OVERWRITE_IF_EXISTS},
                                           {NULL, 0}};

/* RT-42: pseudo-headers and host are the router's to set. */
static mc_status check_name(mc_slice name, const char *field, mc_error *error) {
    if (mc_slice_has_prefix(name, MC_SLICE(":")) || mc_slice_ieq(name, MC_SLICE("host"))) {
        return mc_error_set(error, MC_EINVAL, field, "must not be host or begin with ':': %.*s", MC_SLICE_ARG(name));
    }
    return MC_OK;
}

/* RT-42: %PER_REQUEST_STATE(key)% of old is %FILTER_STATE(key:PLAIN)%. */
static mc_status modernise(mc_compile *c, mc_slice *text) {
    const mc_slice old = MC_SLICE("%PER_REQUEST_STATE(");
    for (size_t at; (at = mc_slice_search(*text, old)) != SIZE_MAX;) {
        mc_slice rest = mc_slice_from(*text, at + old.n);
        size_t end = mc_slice_find(rest, ')');
        const mc_slice parts[] = {mc_slice_until(*text, at), MC_SLICE("%FILTER_STATE("), mc_slice_until(rest, end),
                                  MC_SLICE(":PLAIN"), mc_slice_from(rest, end)};
        MC_TRY(mc_arena_concat(c->arena, parts, sizeof parts / sizeof *parts, text));
    }
    return MC_OK;
}

static mc_status compile_value(mc_compile *c, const mc_value *header, mc_header_addition *out) {
    const mc_format *format;
    mc_slice text = MC_SLICE_NONE;
    MC_TRY(mc_value_read_string(header, "value", &text, c->error));
    MC_TRY(modernise(c, &text));
    MC_TRY(mc_error_in(mc_format_compile_text(c->arena, text, true, &format, c->error), c->error, "value"));
    if (!mc_format_literal(format, &out->value)) {
        out->format = format;
        if (c->table != NULL) {
            c->table->formats = true;
        }
    }
    return MC_OK;
}

static mc_status compile_header(mc_compile *c, const mc_value *header, mc_header_addition *out) {
    mc_slice name = MC_SLICE_NONE;
    MC_TRY(mc_value_read_string(header, "key", &name, c->error));
    if (name.n == 0) {
        return mc_error_set(c->error, MC_EINVAL, "key", "must not be empty");
    }
    MC_TRY(check_name(name, "key", c->error));
    MC_TRY(mc_dup_lower(c->arena, name, &out->name));
    MC_TRY(compile_value(c, header, out)); /* raw_value is for what is no format: Envoy does not look at it here */
    out->doubtful = !mc_header_name_sendable(out->name) || !mc_header_value_sendable(out->value);
    return MC_OK;
}

static mc_status compile_addition(mc_compile *c, const mc_value *value, mc_header_addition *out) {
    const mc_value *header;
    MC_TRY(mc_value_read_object(value, "header", &header, c->error));
    if (header == NULL) {
        return mc_error_set(c->error, MC_EINVAL, "header", "is required");
    }
    MC_TRY(mc_error_in(compile_header(c, header, out), c->error, "header"));
    uint64_t action = MC_APPEND_OR_ADD;
    MC_TRY(mc_read_enum(value, "append_action", mc_append_actions, &action, c->error));
    if (mc_value_get(value, "append") != NULL) { /* deprecated spelling */
        bool append = true;
        MC_TRY(mc_value_read_bool(value, "append", &append, c->error));
        if (action != MC_APPEND_OR_ADD) {
            return mc_error_set(c->error, MC_EINVAL, "append", "must not be set together with append_action");
        }
        action = append ? MC_APPEND_OR_ADD : MC_OVERWRITE_OR_ADD;
    }
    out->action = (mc_append_action)action;
    return mc_value_read_bool(value, "keep_empty_value", &out->keep_empty, c->error);
}

static mc_status compile_additions(mc_compile *c, const mc_value *items, size_t count, const char *field,
                                   mc_header_mutations *out) {
    if (count > MC_MAX_ADDITIONS) {
        return mc_error_set(c->error, MC_EINVAL, field, "must have at most %d entries", MC_MAX_ADDITIONS);
    }
    mc_header_addition *additions = mc_arena_zalloc(c->arena, count * sizeof *additions);
    if (additions == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(compile_addition(c, &items[i], &additions[i]), c->error, "%s[%zu]", field, i));
    }
    for (size_t i = 0; i < count; i++) {
        out->formats = out->formats || additions[i].format != NULL;
    }
    out->additions = additions;
    out->addition_count = (uint32_t)count;
    return MC_OK;
}

static mc_status compile_removals(mc_compile *c, const mc_value *items, size_t count, const char *field,
                                  mc_header_mutations *out) {
    mc_slice *removals = mc_arena_zalloc(c->arena, count * sizeof *removals);
    if (removals == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        char path[96];
        snprintf(path, sizeof path, "%s[%zu]", field, i);
        if (items[i].kind != MC_STRING) {
            return mc_error_set(c->error, MC_EINVAL, path, "must be a string");
        }
        MC_TRY(check_name(items[i].string, path, c->error));
        MC_TRY(mc_dup_lower(c->arena, items[i].string, &removals[i]));
    }
    out->removals = removals;
    out->removal_count = (uint32_t)count;
    return MC_OK;
}

mc_status mc_compile_mutations(mc_compile *c, const mc_value *level, mc_headers_kind kind,
                               const mc_header_mutations **out) {
    static const char *const add[] = {"request_headers_to_add", "response_headers_to_add"};
    static const char *const remove[] = {"request_headers_to_remove", "response_headers_to_remove"};
    const mc_value *additions, *removals;
    size_t addition_count, removal_count;
    MC_TRY(mc_value_read_list(level, add[kind], &additions, &addition_count, c->error));
    MC_TRY(mc_value_read_list(level, remove[kind], &removals, &removal_count, c->error));
    *out = NULL;
    if (addition_count + removal_count == 0) {
        return MC_OK;
    }
    mc_header_mutations *mutations = mc_arena_zalloc(c->arena, sizeof *mutations);
    if (mutations == NULL) {
        return MC_ENOMEM;
    }
    mutations->kind = kind;
    MC_TRY(compile_additions(c, additions, addition_count, add[kind], mutations));
    MC_TRY(compile_removals(c, removals, removal_count, remove[kind], mutations));
    *out = mutations;
    return MC_OK;
}

mc_status mc_header_option_compile(mc_arena *arena, const mc_value *option, mc_header_addition *out, mc_error *error) {
    mc_compile c = {.arena = arena, .error = error};
    return compile_addition(&c, option, out);
}

mc_status mc_header_options_compile(mc_arena *arena, const mc_value *object, const char *field, mc_headers_kind kind,
                                    const mc_header_mutations **out, mc_error *error) {
    mc_compile c = {.arena = arena, .error = error};
    const mc_value *items;
    size_t count;
    MC_TRY(mc_value_read_list(object, field, &items, &count, error));
    *out = NULL;
    if (count == 0) {
        return MC_OK;
    }
    mc_header_mutations *mutations = mc_arena_zalloc(arena, sizeof *mutations);
    *out = mutations;
    if (mutations == NULL) {
        return MC_ENOMEM;
    }
    mutations->kind = kind;
    return compile_additions(&c, items, count, field, mutations);
}

/* What an addition does is decided against the headers as the removals left them, before any addition is
 * made. */
typedef enum decision { SKIP, OVERWRITE, ADD } decision;

static decision decide(const mc_header_addition *addition, mc_slice value, const mc_headers *headers) {
    if (value.n == 0 && !addition->keep_empty) {
        return SKIP;
    }
    switch (addition->action) {
    case MC_APPEND_OR_ADD: return ADD;
    case MC_OVERWRITE_OR_ADD: return OVERWRITE;
    case MC_ADD_IF_ABSENT: return mc_headers_get(headers, addition->name).p == NULL ? ADD : SKIP;
    case MC_OVERWRITE_IF_EXISTS: return mc_headers_get(headers, addition->name).p != NULL ? OVERWRITE : SKIP;
    }
    return SKIP;
}

/* The values of all additions, in the headers' arena; NULL where none is made with a format. */
static mc_status make_values(const mc_header_mutations *mutations, mc_headers *headers, const mc_stream_info *info,
                             const mc_slice **out) {
    *out = NULL;
    if (MC_LIKELY(!mutations->formats) || info == NULL) {
        return MC_OK;
    }
    mc_slice *values = mc_arena_alloc(headers->arena, mutations->addition_count * sizeof *values);
    if (values == NULL) {
        return MC_ENOMEM;
    }
    for (uint32_t i = 0; i < mutations->addition_count; i++) {
        const mc_header_addition *addition = &mutations->additions[i];
        values[i] = addition->value;
        if (addition->format != NULL) {
            MC_TRY(mc_format_run_arena(addition->format, info, headers->arena, &values[i]));
            mc_headers_doubt(headers, values[i]);
        }
    }
    *out = values;
    return MC_OK;
}

mc_status mc_header_mutations_apply(const mc_header_mutations *mutations, mc_headers *headers,
                                    const mc_stream_info *info) {
    unsigned char decisions[MC_MAX_ADDITIONS];
    const mc_slice *values;
    if (mutations == NULL) {
        return MC_OK;
    }
    for (uint32_t i = 0; i < mutations->removal_count; i++) {
        mc_headers_remove(headers, mutations->removals[i]);
    }
    MC_TRY(make_values(mutations, headers, info, &values));
    for (uint32_t i = 0; i < mutations->addition_count; i++) {
        const mc_header_addition *addition = &mutations->additions[i];
        decisions[i] = (unsigned char)decide(addition, values == NULL ? addition->value : values[i], headers);
    }
    for (int pass = OVERWRITE; pass <= ADD; pass++) {
        for (uint32_t i = 0; i < mutations->addition_count; i++) {
            const mc_header_addition *addition = &mutations->additions[i];
            if (decisions[i] != pass) {
                continue;
            }
            if (pass == OVERWRITE) {
                mc_headers_remove(headers, addition->name);
            }
            headers->unchecked = headers->unchecked || addition->doubtful;
            MC_TRY(mc_headers_append(headers, mutations->kind, addition->name,
                                     values == NULL ? addition->value : values[i]));
        }
    }
    return MC_OK;
}
