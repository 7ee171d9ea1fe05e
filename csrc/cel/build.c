/* Nodes: names found, functions told apart by name and number of arguments, what is constant evaluated once. */
#include <stdio.h>

#include "base/read.h"
#include "cel/node.h"

/* --- functions ------------------------------------------------------------------------------------------------------------ */

enum { FUNCTION = 1, METHOD = 2 };
/* What of mc_cel_options a function needs. */
enum { ALWAYS, STRING_CONVERSION, STRING_FUNCTIONS };

static const struct {
    const char *name;
    uint8_t op, style, fewest, most, needs;
} functions[] = {
    {"size", MC_CEL_SIZE, FUNCTION | METHOD, 1, 1, ALWAYS},
    {"contains", MC_CEL_CONTAINS, FUNCTION | METHOD, 2, 2, ALWAYS},
    {"startsWith", MC_CEL_STARTS_WITH, FUNCTION | METHOD, 2, 2, ALWAYS},
    {"endsWith", MC_CEL_ENDS_WITH, FUNCTION | METHOD, 2, 2, ALWAYS},
    {"matches", MC_CEL_MATCHES, FUNCTION | METHOD, 2, 2, ALWAYS},
    {"re.capture", MC_CEL_CAPTURE, FUNCTION, 2, 2, ALWAYS},
    {"re.extract", MC_CEL_EXTRACT, FUNCTION, 3, 3, ALWAYS},
    {"bool", MC_CEL_TO_BOOL, FUNCTION, 1, 1, ALWAYS},
    {"int", MC_CEL_TO_INT, FUNCTION, 1, 1, ALWAYS},
    {"uint", MC_CEL_TO_UINT, FUNCTION, 1, 1, ALWAYS},
    {"double", MC_CEL_TO_DOUBLE, FUNCTION, 1, 1, ALWAYS},
    {"string", MC_CEL_TO_STRING, FUNCTION, 1, 1, STRING_CONVERSION},
    {"bytes", MC_CEL_TO_BYTES, FUNCTION, 1, 1, ALWAYS},
    {"duration", MC_CEL_TO_DURATION, FUNCTION, 1, 1, ALWAYS},
    {"timestamp", MC_CEL_TO_TIMESTAMP, FUNCTION, 1, 1, ALWAYS},
    {"dyn", MC_CEL_TO_DYN, FUNCTION, 1, 1, ALWAYS},
    {"type", MC_CEL_TO_TYPE, FUNCTION, 1, 1, ALWAYS},
    {"getFullYear", MC_CEL_GET_YEAR, METHOD, 1, 2, ALWAYS},
    {"getMonth", MC_CEL_GET_MONTH, METHOD, 1, 2, ALWAYS},
    {"getDate", MC_CEL_GET_DATE, METHOD, 1, 2, ALWAYS},
    {"getDayOfMonth", MC_CEL_GET_DAY_OF_MONTH, METHOD, 1, 2, ALWAYS},
    {"getDayOfWeek", MC_CEL_GET_DAY_OF_WEEK, METHOD, 1, 2, ALWAYS},
    {"getDayOfYear", MC_CEL_GET_DAY_OF_YEAR, METHOD, 1, 2, ALWAYS},
    {"getHours", MC_CEL_GET_HOURS, METHOD, 1, 2, ALWAYS},
    {"getMinutes", MC_CEL_GET_MINUTES, METHOD, 1, 2, ALWAYS},
    {"getSeconds", MC_CEL_GET_SECONDS, METHOD, 1, 2, ALWAYS},
    {"getMilliseconds", MC_CEL_GET_MILLISECONDS, METHOD, 1, 2, ALWAYS},
    {"lowerAscii", MC_CEL_LOWER, METHOD, 1, 1, STRING_FUNCTIONS},
    {"upperAscii", MC_CEL_UPPER, METHOD, 1, 1, STRING_FUNCTIONS},
    {"trim", MC_CEL_TRIM, METHOD, 1, 1, STRING_FUNCTIONS},
    {"replace", MC_CEL_REPLACE, METHOD, 3, 4, STRING_FUNCTIONS},
    {"substring", MC_CEL_SUBSTRING, METHOD, 2, 3, STRING_FUNCTIONS},
    {"indexOf", MC_CEL_INDEX_OF, METHOD, 2, 3, STRING_FUNCTIONS},
    {"lastIndexOf", MC_CEL_LAST_INDEX_OF, METHOD, 2, 3, STRING_FUNCTIONS},
    {"charAt", MC_CEL_CHAR_AT, METHOD, 2, 2, STRING_FUNCTIONS},
    {"split", MC_CEL_SPLIT, METHOD, 2, 3, STRING_FUNCTIONS},
    {"join", MC_CEL_JOIN, METHOD, 1, 2, STRING_FUNCTIONS},
    /* Operators, by the names that parsed expressions have for them. */
    {"_&&_", MC_CEL_AND, FUNCTION, 2, 2, ALWAYS},
    {"_||_", MC_CEL_OR, FUNCTION, 2, 2, ALWAYS},
    {"_?_:_", MC_CEL_IF, FUNCTION, 3, 3, ALWAYS},
    {"!_", MC_CEL_NOT, FUNCTION, 1, 1, ALWAYS},
    {"-_", MC_CEL_NEGATE, FUNCTION, 1, 1, ALWAYS},
    {"_==_", MC_CEL_EQ, FUNCTION, 2, 2, ALWAYS},
    {"_!=_", MC_CEL_NE, FUNCTION, 2, 2, ALWAYS},
    {"_<_", MC_CEL_LT, FUNCTION, 2, 2, ALWAYS},
    {"_<=_", MC_CEL_LE, FUNCTION, 2, 2, ALWAYS},
    {"_>_", MC_CEL_GT, FUNCTION, 2, 2, ALWAYS},
    {"_>=_", MC_CEL_GE, FUNCTION, 2, 2, ALWAYS},
    {"_+_", MC_CEL_ADD, FUNCTION, 2, 2, ALWAYS},
    {"_-_", MC_CEL_SUBTRACT, FUNCTION, 2, 2, ALWAYS},
    {"_*_", MC_CEL_MULTIPLY, FUNCTION, 2, 2, ALWAYS},
    {"_/_", MC_CEL_DIVIDE, FUNCTION, 2, 2, ALWAYS},
    {"_%_", MC_CEL_MODULO, FUNCTION, 2, 2, ALWAYS},
    {"@in", MC_CEL_IN, FUNCTION, 2, 2, ALWAYS},
    {"_in_", MC_CEL_IN, FUNCTION, 2, 2, ALWAYS},
    {"in", MC_CEL_IN, FUNCTION, 2, 2, ALWAYS},
    {"_[_]", MC_CEL_INDEX, FUNCTION, 2, 2, ALWAYS},
};

static bool offered(const mc_cel_builder *b, uint8_t needs) {
    return needs == ALWAYS ||
           (needs == STRING_CONVERSION ? b->options->string_conversion : b->options->string_functions);
}

static bool find_function(const mc_cel_builder *b, mc_slice name, bool method, uint32_t count, mc_cel_op *op) {
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        if ((functions[i].style & (method ? METHOD : FUNCTION)) && functions[i].fewest <= count &&
            count <= functions[i].most && offered(b, functions[i].needs) &&
            mc_slice_eq(mc_slice_cstr(functions[i].name), name)) {
            *op = (mc_cel_op)functions[i].op;
            return true;
        }
    }
    return false;
}

/* --- nodes ----------------------------------------------------------------------------------------------------------------- */

static mc_status new_node(mc_cel_builder *b, mc_cel_node_kind kind, const mc_cel_node *const *args, uint32_t count,
                          mc_cel_node **out) {
    mc_cel_node *node = mc_arena_zalloc(b->arena, sizeof *node);
    const mc_cel_node **copy = mc_arena_alloc(b->arena, count * sizeof *copy);
    if (node == NULL || copy == NULL) {
        return MC_ENOMEM;
    }
    node->kind = (uint8_t)kind;
    node->args = copy;
    node->count = count;
    for (uint32_t i = 0; i < count; i++) {
        copy[i] = args[i];
        node->depth = args[i]->depth > node->depth ? args[i]->depth : node->depth;
    }
    node->depth++;
    *out = node;
    return node->depth > MC_CEL_DEPTH_MAX
               ? mc_error_set(b->error, MC_EINVAL, "", "is nested deeper than %d", MC_CEL_DEPTH_MAX)
               : MC_OK;
}

/* What depends on no request is evaluated here; what then fails is left to fail each time, for && and || may not care. */
static mc_status fold(mc_cel_builder *b, mc_cel_node *node) {
    mc_cel_context ctx = {.arena = b->arena};
    for (uint32_t i = 0; i < node->count; i++) {
        if (node->args[i]->kind != MC_CEL_NODE_CONST) {
            return MC_OK;
        }
    }
    mc_cel value = mc_cel_eval_node(node, &ctx);
    if (ctx.failed) {
        return MC_ENOMEM;
    }
    if (value.kind != MC_CEL_ERROR) {
        node->kind = MC_CEL_NODE_CONST;
        node->value = value;
        node->count = 0;
        node->depth = 1;
    }
    return MC_OK;
}

mc_status mc_cel_build_const(mc_cel_builder *b, mc_cel value, const mc_cel_node **out) {
    mc_cel_node *node;
    MC_TRY(new_node(b, MC_CEL_NODE_CONST, NULL, 0, &node));
    node->value = value;
    *out = node;
    return MC_OK;
}

static mc_cel_kind type_by_name(mc_slice name) {
    static const char *const names[MC_CEL_KIND_COUNT] = {
        [MC_CEL_NULL] = "null_type", [MC_CEL_BOOL] = "bool",     [MC_CEL_INT] = "int",     [MC_CEL_UINT] = "uint",
        [MC_CEL_DOUBLE] = "double",  [MC_CEL_STRING] = "string", [MC_CEL_BYTES] = "bytes", [MC_CEL_LIST] = "list",
        [MC_CEL_MAP] = "map",        [MC_CEL_TYPE] = "type"};
    for (int i = 0; i < MC_CEL_KIND_COUNT; i++) {
        if (names[i] != NULL && mc_slice_eq(mc_slice_cstr(names[i]), name)) {
            return (mc_cel_kind)i;
        }
    }
    return MC_CEL_ERROR;
}

mc_status mc_cel_build_ident(mc_cel_builder *b, mc_slice name, const mc_cel_node **out) {
    mc_cel_node *node;
    const mc_cel_root root = mc_cel_root_by_name(name);
    const mc_cel_kind type = type_by_name(name);
    if (root == MC_CEL_ROOT_COUNT && type != MC_CEL_ERROR) {
        return mc_cel_build_const(b, mc_cel_type(type), out);
    }
    MC_TRY(new_node(b, root == MC_CEL_ROOT_COUNT ? MC_CEL_NODE_UNKNOWN : MC_CEL_NODE_ROOT, NULL, 0, &node));
    node->root = (uint8_t)root;
    *out = node;
    return mc_arena_dup(b->arena, name, &node->name);
}

mc_status mc_cel_build_select(mc_cel_builder *b, const mc_cel_node *from, mc_slice name, bool test,
                              const mc_cel_node **out) {
    mc_cel_node *node;
    MC_TRY(new_node(b, test ? MC_CEL_NODE_HAS : MC_CEL_NODE_SELECT, &from, 1, &node));
    MC_TRY(mc_arena_dup(b->arena, name, &node->name));
    *out = node;
    node->attribute = MC_CEL_ATTRIBUTE_COUNT;
    if (from->kind == MC_CEL_NODE_ROOT) {
        node->attribute = (uint8_t)mc_cel_attribute_by_name((mc_cel_root)from->root, name);
        b->reads |= node->attribute == MC_CEL_ATTRIBUTE_COUNT
                        ? mc_cel_root_reads((mc_cel_root)from->root)
                        : mc_cel_attribute_reads((mc_cel_attribute)node->attribute);
        if (!test && node->attribute != MC_CEL_ATTRIBUTE_COUNT) {
            const bool hidden = node->attribute == MC_CEL_XDS_NODE && b->options->hides_node;
            node->kind = hidden ? MC_CEL_NODE_UNKNOWN : MC_CEL_NODE_ATTRIBUTE;
        }
    }
    return MC_OK;
}

/* A root that is looked at otherwise than by the name of a member. */
static void note_roots(mc_cel_builder *b, const mc_cel_node *const *args, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (args[i]->kind == MC_CEL_NODE_ROOT) {
            b->reads |= mc_cel_root_reads((mc_cel_root)args[i]->root);
        }
    }
}

mc_status mc_cel_build_items(mc_cel_builder *b, mc_cel_node_kind kind, const mc_cel_node *const *items, uint32_t count,
                             const mc_cel_node **out) {
    mc_cel_node *node;
    if (kind == MC_CEL_NODE_MAP && count / 2 > MC_CEL_MAP_MAX) {
        return mc_error_set(b->error, MC_EINVAL, "", "has a map of more than %d entries", MC_CEL_MAP_MAX);
    }
    MC_TRY(new_node(b, kind, items, count, &node));
    note_roots(b, items, count);
    *out = node;
    return fold(b, node);
}

/* Patterns and zones that are constant must be right. */
static mc_status check_constants(mc_cel_builder *b, mc_cel_node *node) {
    const mc_cel_node *second = node->count > 1 ? node->args[1] : NULL;
    if (second == NULL || second->kind != MC_CEL_NODE_CONST || second->value.kind != MC_CEL_STRING) {
        return MC_OK;
    }
    if (node->op >= MC_CEL_MATCHES && node->op <= MC_CEL_EXTRACT) {
        return mc_regex_compile(b->arena, second->value.text, MC_REGEX_PROGRAM_SIZE, &node->regex, b->error);
    }
    if (node->op >= MC_CEL_GET_YEAR && node->op <= MC_CEL_GET_MILLISECONDS && !mc_cel_zone_known(second->value.text)) {
        return mc_error_set(b->error, MC_EINVAL, "", "names the time zone '%.*s': only UTC and offsets are supported",
                            MC_SLICE_ARG(second->value.text));
    }
    return MC_OK;
}

mc_status mc_cel_build_op(mc_cel_builder *b, mc_cel_op op, const mc_cel_node *const *args, uint32_t count,
                          const mc_cel_node **out) {
    mc_cel_node *node;
    MC_TRY(new_node(b, MC_CEL_NODE_CALL, args, count, &node));
    node->op = (uint8_t)op;
    if (op == MC_CEL_ADD && !b->options->string_concat) {
        node->attribute = 1; /* not of strings, bytes */
    }
    note_roots(b, args, count);
    MC_TRY(check_constants(b, node));
    *out = node;
    return fold(b, node);
}

mc_status mc_cel_build_call(mc_cel_builder *b, mc_slice name, bool method, const mc_cel_node *const *args,
                            uint32_t count, const mc_cel_node **out) {
    mc_cel_op op;
    if (find_function(b, name, method, count, &op)) {
        return mc_cel_build_op(b, op, args, count, out);
    }
    if (method && args[0]->kind == MC_CEL_NODE_UNKNOWN) { /* a function with a dot in its name */
        char full[64];
        int n = snprintf(full, sizeof full, "%.*s.%.*s", MC_SLICE_ARG(args[0]->name), MC_SLICE_ARG(name));
        if (n > 0 && (size_t)n < sizeof full && find_function(b, mc_slice_of(full, (size_t)n), false, count - 1, &op)) {
            return mc_cel_build_op(b, op, args + 1, count - 1, out);
        }
    }
    return mc_error_set(b->error, MC_EINVAL, "", "has the function %.*s() with %u arguments, which there is not",
                        MC_SLICE_ARG(name), count - method);
}

mc_status mc_cel_options_read(const mc_value *object, const char *field, mc_cel_options *out, mc_error *error) {
    const mc_value *config;
    *out = (mc_cel_options){.string_conversion = false};
    MC_TRY(mc_value_read_object(object, field, &config, error));
    mc_status status = mc_value_read_bool(config, "enable_string_conversion", &out->string_conversion, error);
    if (status == MC_OK) {
        status = mc_value_read_bool(config, "enable_string_concat", &out->string_concat, error);
    }
    if (status == MC_OK) {
        status = mc_value_read_bool(config, "enable_string_functions", &out->string_functions, error);
    }
    return mc_error_in(status, error, "%s", field);
}

uint32_t mc_cel_reads(const mc_cel_program *program) {
    return program->reads |
           (program->root->kind == MC_CEL_NODE_ROOT ? mc_cel_root_reads((mc_cel_root)program->root->root) : 0);
}
