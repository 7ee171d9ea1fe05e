/* JSON formats (AL-3): a tree whose strings are formats. A string that is one operator keeps the operator's type; any other
 * becomes a string. What is absent is null, or in a string "-" unless empty values are omitted; as in Envoy, no key is. */
#include <math.h>

#include "base/utf8.h"
#include "route/compile.h"
#include "route/format_evals.h"

typedef enum node_kind { CONSTANT, TEMPLATE, OBJECT, LIST } node_kind;

struct mc_json_node {
    node_kind kind;
    mc_slice key;      /* in an object: as JSON, with quotes and colon */
    mc_slice constant; /* as JSON */
    mc_format_ops ops;
    const mc_json_node *items;
    size_t count;
};

/* --- writing values --------------------------------------------------------------------------------------------------- */

void mc_text_json_number(mc_text *out, double value) {
    if (isnan(value) || isinf(value)) {
        mc_text_lit(out, "null");
    } else {
        mc_text_double(out, value, MC_DOUBLE_SHORTER);
    }
}

/* The entry with the least name above `last` (NULL: of all). */
static const mc_slice *next_name(const mc_value *object, const mc_slice *last) {
    const mc_slice *best = NULL;
    for (size_t i = 0; i < object->count; i++) {
        const mc_slice *name = &object->names[i];
        if ((last == NULL || mc_slice_cmp(*name, *last) > 0) && (best == NULL || mc_slice_cmp(*name, *best) < 0)) {
            best = name;
        }
    }
    return best;
}

/* What was appended since `start` becomes the inside of a JSON string. Text that is no UTF-8 is taken as bytes, each of which
 * is a character. */
static void escape_from(mc_text *out, size_t start) {
    static const char hex[] = "0123456789abcdef";
    bool plain = true;
    for (size_t i = start; i < out->n && plain; i++) {
        unsigned char c = (unsigned char)out->p[i];
        plain = c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
    }
    if (plain) {
        return;
    }
    mc_text raw;
    mc_text_init(&raw);
    mc_text_add(&raw, mc_slice_of(out->p + start, out->n - start));
    out->failed = out->failed || raw.failed;
    out->n = start;
    if (mc_utf8_valid(mc_text_slice(&raw))) {
        mc_text_json(out, mc_text_slice(&raw));
        if (!out->failed) { /* the quotes are the caller's */
            memmove(out->p + start, out->p + start + 1, out->n - start - 2);
            out->n -= 2;
        }
    } else {
        for (size_t i = 0; i < raw.n; i++) {
            unsigned char c = (unsigned char)raw.p[i];
            char code[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
            bool special = c < 0x20 || c >= 0x7f || c == '"' || c == '\\';
            mc_text_add(out, special ? mc_slice_of(code, sizeof code) : mc_slice_of(raw.p + i, 1));
        }
    }
    mc_text_fini(&raw);
}

static void add_string(mc_text *out, mc_slice text) {
    mc_text_lit(out, "\"");
    const size_t start = out->n;
    mc_text_add(out, text);
    escape_from(out, start);
    mc_text_lit(out, "\"");
}

void mc_text_value(mc_text *out, const mc_value *value) {
    switch (value->kind) {
    case MC_NULL: mc_text_lit(out, "null"); return;
    case MC_BOOL: mc_text_add(out, value->boolean ? MC_SLICE("true") : MC_SLICE("false")); return;
    case MC_NUMBER: mc_text_json_number(out, value->number); return;
    case MC_STRING: add_string(out, value->string); return;
    case MC_LIST:
        mc_text_lit(out, "[");
        for (size_t i = 0; i < value->count; i++) {
            mc_text_add(out, i > 0 ? MC_SLICE(",") : MC_SLICE_NONE);
            mc_text_value(out, &value->items[i]);
        }
        mc_text_lit(out, "]");
        return;
    case MC_OBJECT: break;
    }
    mc_text_lit(out, "{");
    for (const mc_slice *name = next_name(value, NULL), *first = name; name != NULL; name = next_name(value, name)) {
        mc_text_add(out, name != first ? MC_SLICE(",") : MC_SLICE_NONE);
        add_string(out, *name);
        mc_text_lit(out, ":");
        mc_text_value(out, &value->items[name - value->names]);
    }
    mc_text_lit(out, "}");
}

/* --- compiling ----------------------------------------------------------------------------------------------------------- */

typedef struct compiler {
    mc_arena *arena;
    bool extended; /* operators of extensions are known */
} compiler;

static mc_status compile_node(const compiler *c, const mc_value *value, mc_json_node *out, mc_error *error);

static mc_status constant_json(mc_arena *arena, const mc_value *value, mc_slice tail, mc_slice *out) {
    mc_text text;
    mc_text_init(&text);
    mc_text_value(&text, value);
    mc_text_add(&text, tail);
    mc_status status = text.failed ? MC_ENOMEM : mc_arena_dup(arena, mc_text_slice(&text), out);
    mc_text_fini(&text);
    return status;
}

/* Fields in the order of their names. */
static mc_status compile_object(const compiler *c, const mc_value *value, mc_json_node *items, mc_json_node *out,
                                mc_error *error) {
    for (const mc_slice *name = next_name(value, NULL); name != NULL; name = next_name(value, name)) {
        mc_json_node *node = &items[out->count++];
        mc_value key = {.kind = MC_STRING, .string = *name};
        MC_TRY(constant_json(c->arena, &key, MC_SLICE(":"), &node->key));
        MC_TRY(mc_error_in(compile_node(c, &value->items[name - value->names], node, error), error, "%.*s",
                           MC_SLICE_ARG(*name)));
    }
    return MC_OK;
}

static mc_status compile_list(const compiler *c, const mc_value *value, mc_json_node *items, mc_json_node *out,
                              mc_error *error) {
    for (; out->count < value->count; out->count++) {
        const size_t i = out->count;
        MC_TRY(mc_error_in(compile_node(c, &value->items[i], &items[i], error), error, "[%zu]", i));
    }
    return MC_OK;
}

static mc_status compile_node(const compiler *c, const mc_value *value, mc_json_node *out, mc_error *error) {
    if (value->kind == MC_STRING && mc_slice_find(value->string, '%') < value->string.n) {
        out->kind = TEMPLATE;
        return mc_format_parse(c->arena, value->string, c->extended, &out->ops, error);
    }
    if (value->kind != MC_OBJECT && value->kind != MC_LIST) {
        out->kind = CONSTANT;
        return constant_json(c->arena, value, MC_SLICE_NONE, &out->constant);
    }
    mc_json_node *items = mc_arena_zalloc(c->arena, value->count * sizeof *items);
    if (items == NULL) {
        return MC_ENOMEM;
    }
    out->items = items;
    out->kind = value->kind == MC_OBJECT ? OBJECT : LIST;
    return value->kind == MC_OBJECT ? compile_object(c, value, items, out, error)
                                    : compile_list(c, value, items, out, error);
}

mc_status mc_format_json(mc_arena *arena, const mc_value *tree, bool omit_empty, bool extended, const mc_format **out,
                         mc_error *error) {
    const compiler c = {arena, extended};
    mc_format *format = mc_arena_zalloc(arena, sizeof *format);
    mc_json_node *root = mc_arena_zalloc(arena, sizeof *root);
    if (format == NULL || root == NULL) {
        return MC_ENOMEM;
    }
    if (tree->kind != MC_OBJECT) {
        return mc_error_set(error, MC_EINVAL, "", "must be an object");
    }
    format->omit_empty = omit_empty;
    format->json = root;
    MC_TRY(compile_node(&c, tree, root, error));
    *out = format;
    return MC_OK;
}

mc_status mc_format_compile_json(mc_arena *arena, const mc_value *tree, bool omit_empty, const mc_format **out,
                                 mc_error *error) {
    return mc_format_json(arena, tree, omit_empty, false, out, error);
}

/* --- running --------------------------------------------------------------------------------------------------------------- */

/* Whether a value is longer than its operator wants; then it is a string, cut. Lists and objects never are, and of what
 * COALESCE chose only text. */
static bool cut_value(const mc_format_op *op, const mc_value *value, mc_text *out) {
    const size_t start = out->n;
    const bool scalar = value->kind != MC_LIST && value->kind != MC_OBJECT;
    if (!op->has_length || !scalar || (op->choice_count > 0 && value->kind != MC_STRING)) {
        return false;
    }
    if (value->kind == MC_STRING) {
        mc_text_add(out, value->string);
    } else {
        mc_text_value(out, value);
    }
    const bool longer = out->n - start > op->length;
    out->n = longer ? start + op->length : start;
    return longer;
}

/* One operator, in its own type; false: absent. */
static bool run_single(const mc_format_op *op, const mc_stream_info *info, mc_text *out) {
    const size_t start = out->n;
    if (mc_format_is_typed_cel(op)) {
        return mc_format_eval_typed_cel(op, info, out);
    }
    mc_text_lit(out, "\"");
    mc_format_result result = mc_format_eval(op, info, out);
    switch (result.kind) {
    case MC_FORMAT_ABSENT: out->n = start; return false;
    case MC_FORMAT_NUMBER:
        out->n = start;
        mc_text_json_number(out, (double)result.number);
        return true;
    case MC_FORMAT_VALUE:
        if (result.limited != NULL && !result.typed && cut_value(result.limited, result.value, out)) {
            mc_format_cut(op, start + 1, out);
            break;
        }
        if (!result.typed && cut_value(op, result.value, out)) {
            break;
        }
        if (result.value->kind != MC_STRING) {
            out->n = start;
            mc_text_value(out, result.value);
            return true;
        }
        mc_text_add(out, result.value->string);
        break;
    case MC_FORMAT_TEXT: break;
    }
    escape_from(out, start + 1);
    mc_text_lit(out, "\"");
    return true;
}

static void run_string(mc_format_ops ops, bool omit_empty, const mc_stream_info *info, mc_text *out) {
    mc_text_lit(out, "\"");
    for (uint32_t i = 0; i < ops.count; i++) {
        const size_t start = out->n;
        if (ops.items[i].command == NULL) {
            mc_text_add(out, ops.items[i].text);
        } else if (!mc_format_eval_text(&ops.items[i], info, out) && !omit_empty) {
            mc_text_lit(out, "-");
        }
        escape_from(out, start);
    }
    mc_text_lit(out, "\"");
}

static void run_node(const mc_json_node *node, bool omit_empty, const mc_stream_info *info, mc_text *out) {
    switch (node->kind) {
    case CONSTANT: mc_text_add(out, node->constant); return;
    case TEMPLATE:
        if (node->ops.count > 1 || node->ops.items[0].command == NULL) {
            run_string(node->ops, omit_empty, info, out);
        } else if (!run_single(&node->ops.items[0], info, out)) {
            mc_text_lit(out, "null");
        }
        return;
    case OBJECT:
    case LIST: break;
    }
    mc_text_add(out, node->kind == OBJECT ? MC_SLICE("{") : MC_SLICE("["));
    for (size_t i = 0; i < node->count; i++) {
        if (i > 0) {
            mc_text_lit(out, ",");
        }
        mc_text_add(out, node->items[i].key);
        run_node(&node->items[i], omit_empty, info, out);
    }
    mc_text_add(out, node->kind == OBJECT ? MC_SLICE("}") : MC_SLICE("]"));
}

void mc_format_run_json(const mc_format *format, const mc_stream_info *info, mc_text *out) {
    run_node(format->json, format->omit_empty, info, out);
    mc_text_lit(out, "\n");
}

void mc_format_tell_json(const mc_json_node *node, mc_format_reads *reads) {
    for (uint32_t i = 0; i < node->ops.count; i++) {
        mc_format_tell_op(&node->ops.items[i], reads);
    }
    for (size_t i = 0; i < node->count; i++) {
        mc_format_tell_json(&node->items[i], reads);
    }
}
