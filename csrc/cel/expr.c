/* A parsed expression, as the JSON of google.api.expr.v1alpha1.Expr or cel.expr.Expr, to a tree. The JSON's own depth is bounded. */
#include <math.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/read.h"
#include "cel/node.h"

static mc_status read_expr(mc_cel_builder *b, const mc_value *expr, const mc_cel_node **out);

static mc_status read_double(const mc_value *constant, double *out, mc_error *error) {
    const mc_value *given = mc_value_get(constant, "double_value");
    if (given != NULL && given->kind == MC_STRING) {
        const bool negative = mc_slice_has_prefix(given->string, MC_SLICE("-"));
        *out = mc_slice_eq(given->string, MC_SLICE("NaN")) ? NAN : negative ? -INFINITY : INFINITY;
        return MC_OK;
    }
    return mc_value_read_double(constant, "double_value", out, error);
}

static mc_status read_constant(mc_cel_builder *b, const mc_value *constant, mc_cel *out) {
    mc_slice text = MC_SLICE_NONE;
    mc_error *error = b->error;
    *out = (mc_cel){.kind = MC_CEL_NULL};
    if (mc_value_get(constant, "bool_value") != NULL) {
        out->kind = MC_CEL_BOOL;
        return mc_value_read_bool(constant, "bool_value", &out->boolean, error);
    }
    if (mc_value_get(constant, "int64_value") != NULL) {
        out->kind = MC_CEL_INT;
        return mc_value_read_i64(constant, "int64_value", &out->i, error);
    }
    if (mc_value_get(constant, "uint64_value") != NULL) {
        out->kind = MC_CEL_UINT;
        return mc_value_read_u64(constant, "uint64_value", &out->u, error);
    }
    if (mc_value_get(constant, "double_value") != NULL) {
        out->kind = MC_CEL_DOUBLE;
        return read_double(constant, &out->d, error);
    }
    if (mc_value_get(constant, "string_value") != NULL) {
        MC_TRY(mc_read_text(b->arena, constant, "string_value", &text, error));
        *out = mc_cel_string(text);
    } else if (mc_value_get(constant, "bytes_value") != NULL) {
        MC_TRY(mc_value_read_bytes(constant, "bytes_value", b->arena, &text, error));
        *out = mc_cel_bytes(text);
    } else if (mc_value_get(constant, "duration_value") != NULL) {
        MC_TRY(mc_value_read_string(constant, "duration_value", &text, error));
        *out = mc_cel_parse_duration(text);
    } else if (mc_value_get(constant, "timestamp_value") != NULL) {
        MC_TRY(mc_value_read_string(constant, "timestamp_value", &text, error));
        *out = mc_cel_parse_timestamp(text);
    }
    return MC_OK;
}

static mc_status read_select(mc_cel_builder *b, const mc_value *select, const mc_cel_node **out) {
    const mc_value *operand;
    mc_slice name = MC_SLICE_NONE;
    bool test = false;
    MC_TRY(mc_value_read_object(select, "operand", &operand, b->error));
    MC_TRY(mc_value_read_string(select, "field", &name, b->error));
    MC_TRY(mc_value_read_bool(select, "test_only", &test, b->error));
    const mc_cel_node *from;
    MC_TRY(mc_error_in(read_expr(b, operand, &from), b->error, "operand"));
    return mc_cel_build_select(b, from, name, test, out);
}

static mc_status read_args(mc_cel_builder *b, const mc_value *list, size_t count, const char *field,
                           const mc_cel_node **out) {
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(read_expr(b, &list[i], &out[i]), b->error, "%s[%zu]", field, i));
    }
    return MC_OK;
}

static mc_status read_call(mc_cel_builder *b, const mc_value *call, const mc_cel_node **out) {
    const mc_value *target, *list;
    mc_slice name = MC_SLICE_NONE;
    size_t count;
    MC_TRY(mc_value_read_object(call, "target", &target, b->error));
    MC_TRY(mc_value_read_string(call, "function", &name, b->error));
    MC_TRY(mc_value_read_list(call, "args", &list, &count, b->error));
    const bool method = target != NULL;
    const mc_cel_node **args = mc_malloc((count + 1) * sizeof *args);
    if (args == NULL) {
        return MC_ENOMEM;
    }
    mc_status status = method ? mc_error_in(read_expr(b, target, &args[0]), b->error, "target") : MC_OK;
    if (status == MC_OK) {
        status = read_args(b, list, count, "args", args + method);
    }
    if (status == MC_OK) {
        status = mc_cel_build_call(b, name, method, args, (uint32_t)count + method, out);
    }
    mc_free(args);
    return status;
}

static mc_status read_list(mc_cel_builder *b, const mc_value *value, const mc_cel_node **out) {
    const mc_value *list;
    size_t count;
    MC_TRY(mc_value_read_list(value, "elements", &list, &count, b->error));
    const mc_cel_node **items = mc_malloc((count + 1) * sizeof *items);
    if (items == NULL) {
        return MC_ENOMEM;
    }
    mc_status status = read_args(b, list, count, "elements", items);
    if (status == MC_OK) {
        status = mc_cel_build_items(b, MC_CEL_NODE_LIST, items, (uint32_t)count, out);
    }
    mc_free(items);
    return status;
}

static mc_status read_entries(mc_cel_builder *b, const mc_value *list, size_t count, const mc_cel_node **items) {
    for (size_t i = 0; i < count; i++) {
        const mc_value *key = mc_value_get(&list[i], "map_key"), *value = mc_value_get(&list[i], "value");
        MC_TRY(mc_error_in(read_expr(b, key, &items[2 * i]), b->error, "entries[%zu].map_key", i));
        MC_TRY(mc_error_in(read_expr(b, value, &items[2 * i + 1]), b->error, "entries[%zu].value", i));
    }
    return MC_OK;
}

static mc_status read_map(mc_cel_builder *b, const mc_value *value, const mc_cel_node **out) {
    const mc_value *list;
    mc_slice name = MC_SLICE_NONE;
    size_t count;
    MC_TRY(mc_value_read_string(value, "message_name", &name, b->error));
    if (name.n > 0) {
        return mc_error_set(b->error, MC_EINVAL, "message_name", "is not supported: messages cannot be made here");
    }
    MC_TRY(mc_value_read_list(value, "entries", &list, &count, b->error));
    const mc_cel_node **items = mc_malloc((2 * count + 1) * sizeof *items);
    if (items == NULL) {
        return MC_ENOMEM;
    }
    mc_status status = read_entries(b, list, count, items);
    if (status == MC_OK) {
        status = mc_cel_build_items(b, MC_CEL_NODE_MAP, items, 2 * (uint32_t)count, out);
    }
    mc_free(items);
    return status;
}

static mc_status read_ident(mc_cel_builder *b, const mc_value *ident, const mc_cel_node **out) {
    mc_slice name = MC_SLICE_NONE;
    MC_TRY(mc_value_read_string(ident, "name", &name, b->error));
    return mc_cel_build_ident(b, name, out);
}

static mc_status read_const(mc_cel_builder *b, const mc_value *constant, const mc_cel_node **out) {
    mc_cel value;
    MC_TRY(read_constant(b, constant, &value));
    return mc_cel_build_const(b, value, out);
}

static mc_status read_expr(mc_cel_builder *b, const mc_value *expr, const mc_cel_node **out) {
    static const struct {
        const char *field;
        mc_status (*read)(mc_cel_builder *b, const mc_value *value, const mc_cel_node **out);
    } kinds[] = {{"const_expr", read_const}, {"ident_expr", read_ident}, {"select_expr", read_select},
                 {"call_expr", read_call},   {"list_expr", read_list},   {"struct_expr", read_map}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const mc_value *value;
        MC_TRY(mc_value_read_object(expr, kinds[i].field, &value, b->error));
        if (value != NULL) {
            return mc_error_in(kinds[i].read(b, value, out), b->error, "%s", kinds[i].field);
        }
    }
    return mc_value_get(expr, "comprehension_expr") != NULL
               ? mc_error_set(b->error, MC_EINVAL, "comprehension_expr", "is not supported")
               : mc_error_set(b->error, MC_EINVAL, "", "must be an expression");
}

mc_status mc_cel_compile_expr(mc_arena *arena, const mc_value *expr, const mc_cel_options *options,
                              const mc_cel_program **out, mc_error *error) {
    mc_cel_builder b = {.arena = arena, .options = options, .error = error};
    mc_cel_program *program = mc_arena_zalloc(arena, sizeof *program);
    if (program == NULL) {
        return MC_ENOMEM;
    }
    MC_TRY(read_expr(&b, expr, &program->root));
    program->reads = b.reads;
    *out = program;
    return MC_OK;
}

mc_status mc_cel_compile_expression(mc_arena *arena, const mc_value *message, const mc_cel_options *options,
                                    const mc_cel_program **out, mc_error *error) {
    static const char *const fields[] = {"cel_expr_parsed", "cel_expr_checked", "parsed_expr", "checked_expr"};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        const mc_value *given;
        MC_TRY(mc_value_read_object(message, fields[i], &given, error));
        if (given != NULL) {
            mc_status status = mc_cel_compile_expr(arena, mc_value_get(given, "expr"), options, out, error);
            return mc_error_in(mc_error_in(status, error, "expr"), error, "%s", fields[i]);
        }
    }
    return mc_error_set(error, MC_EINVAL, "", "must have a parsed expression");
}
