/* Walking a tree: as deep as the expression is nested, each node once. */
#include "base/read.h"
#include "cel/node.h"

/* false decides &&, true decides ||, whatever the others are, errors too; without it an error stays one. */
static mc_cel eval_logic(const mc_cel_node *node, mc_cel_context *ctx) {
    const bool decides = node->op == MC_CEL_OR;
    bool failed = false;
    for (uint32_t i = 0; i < node->count; i++) {
        mc_cel value = mc_cel_eval_node(node->args[i], ctx);
        if (value.kind == MC_CEL_BOOL && value.boolean == decides) {
            return value;
        }
        failed = failed || value.kind != MC_CEL_BOOL;
    }
    return failed ? MC_CEL_FAILED : mc_cel_bool(!decides);
}

static mc_cel eval_call(const mc_cel_node *node, mc_cel_context *ctx) {
    mc_cel args[4];
    if (node->op <= MC_CEL_OR) {
        return eval_logic(node, ctx);
    }
    if (node->op == MC_CEL_IF) {
        args[0] = mc_cel_eval_node(node->args[0], ctx);
        return args[0].kind == MC_CEL_BOOL ? mc_cel_eval_node(node->args[args[0].boolean ? 1 : 2], ctx) : MC_CEL_FAILED;
    }
    for (uint32_t i = 0; i < node->count; i++) {
        args[i] = mc_cel_eval_node(node->args[i], ctx);
        if (args[i].kind == MC_CEL_ERROR) {
            return MC_CEL_FAILED;
        }
    }
    return mc_cel_apply(node, args, ctx);
}

/* A key twice is an error, so is one that is no key. */
static bool keys_are_good(const mc_cel *items, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        const mc_cel *key = &items[2 * i];
        if (key->kind < MC_CEL_BOOL || key->kind > MC_CEL_STRING || key->kind == MC_CEL_DOUBLE) {
            return false;
        }
        for (uint32_t j = 0; j < i; j++) {
            if (items[2 * j].kind == key->kind && mc_cel_equal(&items[2 * j], key, NULL)) {
                return false;
            }
        }
    }
    return true;
}

static mc_cel eval_items(const mc_cel_node *node, mc_cel_context *ctx) {
    const bool map = node->kind == MC_CEL_NODE_MAP;
    mc_cel *items = mc_arena_alloc(ctx->arena, node->count * sizeof *items);
    if (items == NULL) {
        ctx->failed = true;
        return MC_CEL_FAILED;
    }
    for (uint32_t i = 0; i < node->count; i++) {
        items[i] = mc_cel_eval_node(node->args[i], ctx);
        if (items[i].kind == MC_CEL_ERROR) {
            return MC_CEL_FAILED;
        }
    }
    if (map && !keys_are_good(items, node->count / 2)) {
        return MC_CEL_FAILED;
    }
    return (mc_cel){.kind = map ? MC_CEL_MAP : MC_CEL_LIST,
                    .form = MC_CEL_ITEMS,
                    .count = map ? node->count / 2 : node->count,
                    .items = items};
}

static mc_cel select_from(const mc_cel *from, mc_slice name, mc_cel_context *ctx) {
    const mc_cel key = mc_cel_string(name);
    return from->kind == MC_CEL_MAP       ? mc_cel_map_get(from, &key, ctx)
           : from->kind == MC_CEL_MESSAGE ? mc_cel_message_get(from, name)
                                          : MC_CEL_FAILED;
}

static mc_cel eval_has(const mc_cel_node *node, mc_cel_context *ctx) {
    mc_cel from = mc_cel_eval_node(node->args[0], ctx);
    if (from.kind == MC_CEL_MESSAGE) {
        int has = mc_cel_message_has(&from, node->name);
        return has < 0 ? MC_CEL_FAILED : mc_cel_bool(has == 1);
    }
    return from.kind == MC_CEL_MAP ? mc_cel_bool(select_from(&from, node->name, ctx).kind != MC_CEL_ERROR)
                                   : MC_CEL_FAILED;
}

mc_cel mc_cel_eval_node(const mc_cel_node *node, mc_cel_context *ctx) {
    mc_cel from;
    switch ((mc_cel_node_kind)node->kind) {
    case MC_CEL_NODE_CONST: return node->value;
    case MC_CEL_NODE_UNKNOWN: return MC_CEL_FAILED;
    case MC_CEL_NODE_ROOT: return mc_cel_root_value((mc_cel_root)node->root, ctx->info);
    case MC_CEL_NODE_ATTRIBUTE:
        return mc_cel_attribute_value((mc_cel_attribute)node->attribute, ctx->info, ctx->arena, &ctx->failed);
    case MC_CEL_NODE_SELECT: from = mc_cel_eval_node(node->args[0], ctx); return select_from(&from, node->name, ctx);
    case MC_CEL_NODE_HAS: return eval_has(node, ctx);
    case MC_CEL_NODE_LIST:
    case MC_CEL_NODE_MAP: return eval_items(node, ctx);
    case MC_CEL_NODE_CALL: return eval_call(node, ctx);
    }
    return MC_CEL_FAILED;
}

mc_status mc_cel_eval(const mc_cel_program *program, const mc_stream_info *info, mc_arena *arena, mc_cel *out) {
    mc_cel_context ctx = {.info = info, .arena = arena};
    *out = mc_cel_eval_node(program->root, &ctx);
    return ctx.failed ? MC_ENOMEM : MC_OK;
}

int mc_cel_holds(const mc_cel_program *program, const mc_stream_info *info, mc_arena *arena) {
    mc_cel value;
    MC_TRY(mc_cel_eval(program, info, arena, &value));
    return value.kind == MC_CEL_BOOL && value.boolean;
}

/* --- functions ------------------------------------------------------------------------------------------------------------- */

/* A key of another kind of number finds its equal. */
static bool is_key(const mc_cel *value) { return value->kind >= MC_CEL_BOOL && value->kind <= MC_CEL_STRING; }

static mc_cel apply_in(const mc_cel *value, const mc_cel *container, mc_cel_context *ctx) {
    if (container->kind == MC_CEL_MAP) {
        return is_key(value) ? mc_cel_bool(mc_cel_map_get(container, value, ctx).kind != MC_CEL_ERROR) : MC_CEL_FAILED;
    }
    if (container->kind != MC_CEL_LIST) {
        return MC_CEL_FAILED;
    }
    for (uint32_t i = 0, count = mc_cel_size(container); i < count; i++) {
        mc_cel item = mc_cel_list_item(container, i);
        if (mc_cel_equal(value, &item, ctx)) {
            return mc_cel_bool(true);
        }
    }
    return mc_cel_bool(false);
}

static mc_cel apply_index(const mc_cel *container, const mc_cel *key, mc_cel_context *ctx) {
    if (container->kind == MC_CEL_MAP) {
        return is_key(key) ? mc_cel_map_get(container, key, ctx) : MC_CEL_FAILED;
    }
    const uint32_t count = container->kind == MC_CEL_LIST ? mc_cel_size(container) : 0;
    uint64_t index = UINT64_MAX;
    if (key->kind == MC_CEL_INT || key->kind == MC_CEL_UINT) {
        index = key->u; /* a negative one is large */
    } else if (key->kind == MC_CEL_DOUBLE && key->d >= 0 && key->d < count && key->d == (double)(uint32_t)key->d) {
        index = (uint32_t)key->d;
    }
    return index < count ? mc_cel_list_item(container, (uint32_t)index) : MC_CEL_FAILED;
}

static mc_cel apply_size(const mc_cel *value) {
    uint32_t count = 0;
    switch (value->kind) {
    case MC_CEL_STRING:
        for (size_t i = 0; i < value->text.n; i++) { /* code points */
            count += (value->text.p[i] & 0xc0) != 0x80;
        }
        return mc_cel_int(count);
    case MC_CEL_BYTES: return mc_cel_int((int64_t)value->text.n);
    case MC_CEL_LIST:
    case MC_CEL_MAP: return mc_cel_int(mc_cel_size(value));
    default: return MC_CEL_FAILED;
    }
}

mc_cel mc_cel_apply(const mc_cel_node *node, const mc_cel *args, mc_cel_context *ctx) {
    const mc_cel_op op = (mc_cel_op)node->op;
    const bool texts = args[0].kind == MC_CEL_STRING || args[0].kind == MC_CEL_BYTES;
    switch (op) {
    case MC_CEL_NOT: return args[0].kind == MC_CEL_BOOL ? mc_cel_bool(!args[0].boolean) : MC_CEL_FAILED;
    case MC_CEL_NEGATE: return mc_cel_negate(&args[0]);
    case MC_CEL_EQ: return mc_cel_bool(mc_cel_equal(&args[0], &args[1], ctx));
    case MC_CEL_NE: return mc_cel_bool(!mc_cel_equal(&args[0], &args[1], ctx));
    case MC_CEL_LT:
    case MC_CEL_LE:
    case MC_CEL_GT:
    case MC_CEL_GE: return mc_cel_order(op, &args[0], &args[1]);
    case MC_CEL_ADD: return texts ? mc_cel_text_function(node, args, ctx) : mc_cel_arith(op, &args[0], &args[1]);
    case MC_CEL_SUBTRACT:
    case MC_CEL_MULTIPLY:
    case MC_CEL_DIVIDE:
    case MC_CEL_MODULO: return mc_cel_arith(op, &args[0], &args[1]);
    case MC_CEL_IN: return apply_in(&args[0], &args[1], ctx);
    case MC_CEL_INDEX: return apply_index(&args[0], &args[1], ctx);
    case MC_CEL_SIZE: return apply_size(&args[0]);
    default: break;
    }
    if (op >= MC_CEL_TO_BOOL && op <= MC_CEL_TO_TYPE) {
        return mc_cel_convert(op, &args[0], ctx);
    }
    if (op >= MC_CEL_GET_YEAR && op <= MC_CEL_GET_MILLISECONDS) {
        return mc_cel_time_part(op, &args[0], node->count > 1 ? &args[1] : NULL);
    }
    return mc_cel_text_function(node, args, ctx);
}
