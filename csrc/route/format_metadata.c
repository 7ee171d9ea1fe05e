/* Operators that read metadata and filter state. */
#include "route/compile.h"
#include "route/format_evals.h"

static mc_status split(mc_arena *arena, mc_slice text, mc_slices *out) {
    size_t count = 1, n = 0;
    for (size_t i = 0; i < text.n; i++) {
        count += text.p[i] == ':';
    }
    mc_slice *items = mc_arena_zalloc(arena, count * sizeof *items);
    if (items == NULL) {
        return MC_ENOMEM;
    }
    for (; n < count; n++) {
        size_t colon = mc_slice_find(text, ':');
        items[n] = mc_slice_until(text, colon);
        text = mc_slice_from(text, colon + 1);
    }
    *out = (mc_slices){items, (uint32_t)count};
    return MC_OK;
}

static const mc_value *field(const mc_value *object, mc_slice name) {
    for (size_t i = 0; object != NULL && object->kind == MC_OBJECT && i < object->count; i++) {
        if (mc_slice_eq(object->names[i], name)) {
            return &object->items[i];
        }
    }
    return NULL;
}

static mc_format_result walk(const mc_value *value, mc_slices path) {
    for (uint32_t i = 0; i < path.count && value != NULL; i++) {
        value = field(value, path.items[i]);
    }
    return value == NULL ? MC_FORMAT_NOTHING : (mc_format_result){.kind = MC_FORMAT_VALUE, .value = value};
}

/* RT-42: the spelling ["ns", "key"] of old header formats. */
static mc_status parse_array(mc_arena *arena, mc_format_op *op, mc_slice argument) {
    const mc_value *list = NULL;
    mc_error inner;
    bool good = mc_value_parse(arena, argument, &list, &inner) == MC_OK && list->kind == MC_LIST && list->count > 0;
    mc_slice *items = good ? mc_arena_zalloc(arena, list->count * sizeof *items) : NULL;
    for (size_t i = 0; items != NULL && i < list->count; i++) {
        good = good && list->items[i].kind == MC_STRING;
        items[i] = good ? list->items[i].string : MC_SLICE_NONE;
    }
    if (!good) { /* an odd name, then */
        return split(arena, argument, &op->path);
    }
    op->path = (mc_slices){items, (uint32_t)list->count};
    return items == NULL ? MC_ENOMEM : MC_OK;
}

MC_FORMAT_PARSER(mc_format_parse_metadata) {
    return argument.p[0] == '[' ? parse_array(arena, op, argument) : split(arena, argument, &op->path);
}

MC_FORMAT_EVAL(mc_format_eval_metadata) { return walk(MC_FORMAT_FIELD(mc_value *, op, info), op->path); }

enum { DYNAMIC, CLUSTER, ROUTE, UPSTREAM_HOST, LISTENER, LISTENER_FILTER_CHAIN, VIRTUAL_HOST };

MC_FORMAT_PARSER(mc_format_parse_any_metadata) {
    static const mc_slice types[] = {
        [DYNAMIC] = MC_SLICE_INIT("DYNAMIC"),
        [CLUSTER] = MC_SLICE_INIT("CLUSTER"),
        [ROUTE] = MC_SLICE_INIT("ROUTE"),
        [UPSTREAM_HOST] = MC_SLICE_INIT("UPSTREAM_HOST"),
        [LISTENER] = MC_SLICE_INIT("LISTENER"),
        [LISTENER_FILTER_CHAIN] = MC_SLICE_INIT("LISTENER_FILTER_CHAIN"),
        [VIRTUAL_HOST] = MC_SLICE_INIT("VIRTUAL_HOST"),
    };
    size_t colon = mc_slice_find(argument, ':');
    mc_slice type = mc_slice_until(argument, colon);
    for (uint8_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (mc_slice_eq(types[i], type)) {
            op->mode = i;
            argument = mc_slice_from(argument, colon + 1);
            return mc_slice_has_prefix(argument, MC_SLICE("[\"")) ? parse_array(arena, op, argument)
                                                                  : split(arena, argument, &op->path);
        }
    }
    return mc_error_set(error, MC_EINVAL, "", "%%METADATA%%: %.*s is no supported type of metadata",
                        MC_SLICE_ARG(type));
}

MC_FORMAT_EVAL(mc_format_eval_any_metadata) {
    const mc_value *sources[] = {
        [DYNAMIC] = info->dynamic_metadata,
        [CLUSTER] = info->cluster_metadata,
        [ROUTE] = info->route_metadata,
        [UPSTREAM_HOST] = info->upstream_metadata,
        [LISTENER] = info->listener_metadata,
        [LISTENER_FILTER_CHAIN] = info->filter_chain_metadata,
        [VIRTUAL_HOST] = info->virtual_host_metadata,
    };
    return walk(sources[op->mode], op->path);
}

/* --- filter state ------------------------------------------------------------------------------------------------------------ */

enum { TYPED, PLAIN, FIELD };

MC_FORMAT_PARSER(mc_format_parse_filter_state) {
    mc_slices parts;
    MC_TRY(split(arena, argument, &parts));
    mc_slice kind = parts.count > 1 ? parts.items[1] : MC_SLICE_NONE;
    op->path = parts.count > 2 ? (mc_slices){parts.items + 2, 1} : (mc_slices){0};
    op->text = parts.items[0];
    if (op->text.n == 0) {
        return mc_error_set(error, MC_EINVAL, "", "%%%s%% requires a key", op->command->name);
    }
    op->mode = mc_slice_eq(kind, MC_SLICE("PLAIN")) ? PLAIN : mc_slice_eq(kind, MC_SLICE("FIELD")) ? FIELD : TYPED;
    if (op->mode == TYPED && kind.n > 0 && !mc_slice_eq(kind, MC_SLICE("TYPED"))) {
        return mc_error_set(error, MC_EINVAL, "", "%%%s%% option '%.*s' is not one of PLAIN, TYPED, FIELD",
                            op->command->name, MC_SLICE_ARG(kind));
    }
    if ((op->mode == FIELD) != (op->path.count > 0 && op->path.items[0].n > 0)) {
        return mc_error_set(error, MC_EINVAL, "", "%%%s%%: FIELD, and only FIELD, goes with a field's name",
                            op->command->name);
    }
    mc_slice form[] = {op->text, op->mode == TYPED ? MC_FORM_TEXT : MC_FORM_PLAIN};
    return mc_arena_concat(arena, form, 2, &op->second);
}

static mc_format_result join(const mc_value *list, mc_text *out) {
    for (size_t i = 0; i < list->count; i++) {
        mc_text_add(out, i == 0 ? MC_SLICE_NONE : MC_SLICE(","));
        mc_text_add(out, list->items[i].string);
    }
    return MC_FORMAT_SOME;
}

MC_FORMAT_EVAL(mc_format_eval_filter_state) {
    const mc_value *states = MC_FORMAT_FIELD(mc_value *, op, info), *value = field(states, op->text);
    if (value == NULL || value->kind == MC_NULL) {
        return MC_FORMAT_NOTHING;
    }
    const mc_value *form = field(states, op->second);
    if (op->mode == FIELD) {
        return form == NULL ? walk(value, op->path) : MC_FORMAT_NOTHING;
    }
    if (op->mode == PLAIN && form != NULL) {
        return join(form, out);
    }
    return (mc_format_result){.kind = MC_FORMAT_VALUE, .value = value, .in_text = form, .typed = op->mode == TYPED};
}
