/* Text to tree, by precedence: ?: below || below && below relations below + - below * / % below ! and -. */
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/read.h"
#include "cel/lex.h"
#include "cel/node.h"

typedef struct parser {
    mc_cel_builder build;
    mc_cel_lexer lexer;
    unsigned depth;
} parser;

/* Nodes on their way into a list. */
typedef struct nodes {
    const mc_cel_node **items;
    size_t room;
    uint32_t count;
} nodes;

static mc_status parse_expr(parser *p, const mc_cel_node **out);

static mc_status wrong(const parser *p, const char *what) {
    return mc_error_set(p->build.error, MC_EINVAL, "", "is no CEL expression: %s at byte %zu", what, p->lexer.start);
}

static mc_status push(nodes *list, const mc_cel_node *node) {
    MC_TRY(mc_grow(&list->items, &list->room, list->count + 1, sizeof *list->items));
    list->items[list->count++] = node;
    return MC_OK;
}

static mc_status expect(parser *p, const char *sign) {
    char what[24];
    if (mc_cel_lex_is(&p->lexer, sign)) {
        mc_cel_lex_next(&p->lexer);
        return MC_OK;
    }
    snprintf(what, sizeof what, "'%s' is missing", sign);
    return wrong(p, what);
}

static bool is_word(mc_slice name, const char *words) {
    for (mc_slice rest = mc_slice_cstr(words), word; mc_slice_next(&rest, ' ', &word);) {
        if (mc_slice_eq(word, name)) {
            return true;
        }
    }
    return false;
}

static const char keywords[] = "true false null in";
static const char reserved[] = "as break const continue else for function if import let loop package namespace return "
                               "var void while";

/* --- literals --------------------------------------------------------------------------------------------------------------- */

static bool read_magnitude(mc_slice text, uint64_t *out) {
    if (text.n < 2 || text.p[1] != 'x') {
        return mc_slice_u64(text, out) == MC_OK;
    }
    *out = 0;
    for (size_t i = 2; i < text.n; i++) {
        char c = text.p[i];
        if (*out >> 60 != 0) {
            return false;
        }
        *out = *out << 4 | (uint64_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return true;
}

static mc_status parse_double(const parser *p, bool negative, mc_cel *value) {
    char digits[512];
    mc_slice text = p->lexer.text;
    if (text.n >= sizeof digits) {
        return wrong(p, "a number is too long");
    }
    memcpy(digits, text.p, text.n);
    digits[text.n] = '\0';
    double magnitude = strtod(digits, NULL);
    *value = mc_cel_double(negative ? -magnitude : magnitude);
    return MC_OK;
}

static mc_status parse_number(parser *p, bool negative, const mc_cel_node **out) {
    const uint64_t most = (uint64_t)INT64_MAX + negative;
    uint64_t magnitude = 0;
    mc_cel value;
    if (p->lexer.token == MC_CEL_TOKEN_DOUBLE) {
        MC_TRY(parse_double(p, negative, &value));
    } else if (!read_magnitude(p->lexer.text, &magnitude) || (p->lexer.token == MC_CEL_TOKEN_INT && magnitude > most)) {
        return wrong(p, "a number is too large");
    } else if (p->lexer.token == MC_CEL_TOKEN_UINT) {
        value = mc_cel_uint(magnitude);
    } else {
        value = mc_cel_int(negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude);
    }
    mc_cel_lex_next(&p->lexer);
    return mc_cel_build_const(&p->build, value, out);
}

static mc_status parse_text(parser *p, const mc_cel_node **out) {
    mc_slice text;
    mc_status status = mc_cel_lex_unescape(&p->lexer, p->build.arena, &text);
    if (status == MC_EINVAL) {
        return wrong(p, "a string has a wrong escape");
    }
    MC_TRY(status);
    mc_cel value = p->lexer.token == MC_CEL_TOKEN_BYTES ? mc_cel_bytes(text) : mc_cel_string(text);
    mc_cel_lex_next(&p->lexer);
    return mc_cel_build_const(&p->build, value, out);
}

/* --- lists of expressions ------------------------------------------------------------------------------------------------------ */

/* Up to `end`, which is taken. A map's items are pairs; a literal may have one comma more than items. */
static mc_status parse_items(parser *p, const char *end, bool pairs, bool trailing, nodes *list) {
    const mc_cel_node *node;
    if (trailing && mc_cel_lex_is(&p->lexer, ",")) {
        mc_cel_lex_next(&p->lexer);
        return expect(p, end);
    }
    while (!mc_cel_lex_is(&p->lexer, end)) {
        MC_TRY(parse_expr(p, &node));
        MC_TRY(push(list, node));
        if (pairs) {
            MC_TRY(expect(p, ":"));
            MC_TRY(parse_expr(p, &node));
            MC_TRY(push(list, node));
        }
        if (!mc_cel_lex_is(&p->lexer, ",")) {
            break;
        }
        mc_cel_lex_next(&p->lexer);
        if (!trailing && mc_cel_lex_is(&p->lexer, end)) {
            return wrong(p, "an argument is missing");
        }
    }
    return expect(p, end);
}

static mc_status parse_literal(parser *p, bool map, const mc_cel_node **out) {
    nodes list = {0};
    mc_cel_lex_next(&p->lexer);
    mc_status status = parse_items(p, map ? "}" : "]", map, true, &list);
    if (status == MC_OK) {
        status = mc_cel_build_items(&p->build, map ? MC_CEL_NODE_MAP : MC_CEL_NODE_LIST, list.items, list.count, out);
    }
    mc_free(list.items);
    return status;
}

/* --- calls ---------------------------------------------------------------------------------------------------------------------- */

static mc_status build_has(parser *p, const nodes *args, const mc_cel_node **out) {
    const mc_cel_node *member = args->items[0];
    if (member->kind != MC_CEL_NODE_SELECT && member->kind != MC_CEL_NODE_ATTRIBUTE) {
        return wrong(p, "has() takes the selection of a member");
    }
    return mc_cel_build_select(&p->build, member->args[0], member->name, true, out);
}

static bool is_comprehension(mc_slice name, uint32_t count) {
    return (count == 3 && is_word(name, "all exists exists_one existsOne map filter")) ||
           (count == 4 && is_word(name, "map all exists existsOne transformList transformMap"));
}

/* Behind the name of a function: "(" arguments ")"; `target` NULL: a function, not a method. */
static mc_status parse_call(parser *p, const mc_cel_node *target, mc_slice name, const mc_cel_node **out) {
    nodes args = {0};
    mc_cel_lex_next(&p->lexer);
    mc_status status = target == NULL ? MC_OK : push(&args, target);
    if (status == MC_OK) {
        status = parse_items(p, ")", false, false, &args);
    }
    if (status != MC_OK) {
    } else if (target == NULL && args.count == 1 && mc_slice_eq(name, MC_SLICE("has"))) {
        status = build_has(p, &args, out);
    } else if (target != NULL && is_comprehension(name, args.count)) {
        status = mc_error_set(p->build.error, MC_EINVAL, "", "has the comprehension %.*s(), which is not supported",
                              MC_SLICE_ARG(name));
    } else {
        status = mc_cel_build_call(&p->build, name, target != NULL, args.items, args.count, out);
    }
    mc_free(args.items);
    return status;
}

static mc_status parse_name(parser *p, const mc_cel_node **out) {
    const bool global = mc_cel_lex_is(&p->lexer, ".");
    if (global) {
        mc_cel_lex_next(&p->lexer);
    }
    mc_slice name = p->lexer.text;
    if (p->lexer.token != MC_CEL_TOKEN_IDENT || is_word(name, reserved) || (global && is_word(name, keywords)) ||
        mc_slice_eq(name, MC_SLICE("in"))) {
        return wrong(p, "a name or a value is missing");
    }
    mc_cel_lex_next(&p->lexer);
    if (mc_cel_lex_is(&p->lexer, "(") && !is_word(name, keywords)) {
        return parse_call(p, NULL, name, out);
    }
    if (mc_slice_eq(name, MC_SLICE("true")) || mc_slice_eq(name, MC_SLICE("false"))) {
        return mc_cel_build_const(&p->build, mc_cel_bool(name.n == 4), out);
    }
    if (mc_slice_eq(name, MC_SLICE("null"))) {
        return mc_cel_build_const(&p->build, (mc_cel){.kind = MC_CEL_NULL}, out);
    }
    return mc_cel_build_ident(&p->build, global ? MC_SLICE_NONE : name, out);
}

static mc_status parse_primary(parser *p, const mc_cel_node **out) {
    switch (p->lexer.token) {
    case MC_CEL_TOKEN_INT:
    case MC_CEL_TOKEN_UINT:
    case MC_CEL_TOKEN_DOUBLE: return parse_number(p, false, out);
    case MC_CEL_TOKEN_STRING:
    case MC_CEL_TOKEN_BYTES: return parse_text(p, out);
    case MC_CEL_TOKEN_IDENT: return parse_name(p, out);
    case MC_CEL_TOKEN_SIGN: break;
    default: return wrong(p, "something is missing or odd");
    }
    if (mc_cel_lex_is(&p->lexer, "(")) {
        mc_cel_lex_next(&p->lexer);
        MC_TRY(parse_expr(p, out));
        return expect(p, ")");
    }
    if (mc_cel_lex_is(&p->lexer, "[") || mc_cel_lex_is(&p->lexer, "{")) {
        return parse_literal(p, p->lexer.text.p[0] == '{', out);
    }
    return mc_cel_lex_is(&p->lexer, ".") ? parse_name(p, out) : wrong(p, "a value is missing");
}

/* --- members and operators ----------------------------------------------------------------------------------------------------- */

static mc_status parse_selected(parser *p, const mc_cel_node **out) {
    mc_cel_lex_next(&p->lexer);
    mc_slice name = p->lexer.text;
    if (p->lexer.token != MC_CEL_TOKEN_IDENT || is_word(name, keywords)) {
        return wrong(p, "the name of a member is missing");
    }
    mc_cel_lex_next(&p->lexer);
    return mc_cel_lex_is(&p->lexer, "(") ? parse_call(p, *out, name, out)
                                         : mc_cel_build_select(&p->build, *out, name, false, out);
}

static mc_status parse_members(parser *p, const mc_cel_node **out) {
    for (;;) {
        if (mc_cel_lex_is(&p->lexer, ".")) {
            MC_TRY(parse_selected(p, out));
        } else if (mc_cel_lex_is(&p->lexer, "[")) {
            const mc_cel_node *args[2] = {*out, NULL};
            mc_cel_lex_next(&p->lexer);
            MC_TRY(parse_expr(p, &args[1]));
            MC_TRY(expect(p, "]"));
            MC_TRY(mc_cel_build_op(&p->build, MC_CEL_INDEX, args, 2, out));
        } else if (mc_cel_lex_is(&p->lexer, "{")) {
            return wrong(p, "messages cannot be made here:");
        } else {
            return MC_OK;
        }
    }
}

/* A run of one operator; an even number of them takes itself back. A single '-' belongs to the number behind it. */
static mc_status parse_unary(parser *p, const mc_cel_node **out) {
    const char *sign = mc_cel_lex_is(&p->lexer, "!") ? "!" : "-";
    unsigned count = 0;
    for (; mc_cel_lex_is(&p->lexer, sign); count++) {
        mc_cel_lex_next(&p->lexer);
    }
    const mc_cel_token token = p->lexer.token;
    if (count == 1 && *sign == '-' && (token == MC_CEL_TOKEN_INT || token == MC_CEL_TOKEN_DOUBLE)) {
        MC_TRY(parse_number(p, true, out));
        return parse_members(p, out);
    }
    MC_TRY(parse_primary(p, out));
    MC_TRY(parse_members(p, out));
    return count % 2 == 0 ? MC_OK : mc_cel_build_op(&p->build, *sign == '!' ? MC_CEL_NOT : MC_CEL_NEGATE, out, 1, out);
}

static const struct {
    const char *sign;
    uint8_t op, level;
} binaries[] = {
    {"||", MC_CEL_OR, 1},    {"&&", MC_CEL_AND, 2},     {"==", MC_CEL_EQ, 3},      {"!=", MC_CEL_NE, 3},
    {"<", MC_CEL_LT, 3},     {"<=", MC_CEL_LE, 3},      {">", MC_CEL_GT, 3},       {">=", MC_CEL_GE, 3},
    {"+", MC_CEL_ADD, 4},    {"-", MC_CEL_SUBTRACT, 4}, {"*", MC_CEL_MULTIPLY, 5}, {"/", MC_CEL_DIVIDE, 5},
    {"%", MC_CEL_MODULO, 5},
};
enum { OR_LEVEL = 1, AND_LEVEL, RELATION_LEVEL, UNARY_LEVEL = 6 };

static bool binary_here(const parser *p, unsigned level, mc_cel_op *op) {
    if (level == RELATION_LEVEL && p->lexer.token == MC_CEL_TOKEN_IDENT && mc_slice_eq(p->lexer.text, MC_SLICE("in"))) {
        *op = MC_CEL_IN;
        return true;
    }
    for (size_t i = 0; i < sizeof binaries / sizeof *binaries; i++) {
        if (binaries[i].level == level && mc_cel_lex_is(&p->lexer, binaries[i].sign)) {
            *op = (mc_cel_op)binaries[i].op;
            return true;
        }
    }
    return false;
}

static mc_status parse_level(parser *p, unsigned level, const mc_cel_node **out);

/* All operands of a run of && or || become one node: such runs are long. */
static mc_status parse_logic(parser *p, unsigned level, mc_cel_op op, const mc_cel_node **out) {
    nodes list = {0};
    mc_status status = push(&list, *out);
    while (status == MC_OK && mc_cel_lex_is(&p->lexer, op == MC_CEL_OR ? "||" : "&&")) {
        const mc_cel_node *next;
        mc_cel_lex_next(&p->lexer);
        status = parse_level(p, level + 1, &next);
        status = status == MC_OK ? push(&list, next) : status;
    }
    if (status == MC_OK) {
        status = mc_cel_build_op(&p->build, op, list.items, list.count, out);
    }
    mc_free(list.items);
    return status;
}

static mc_status parse_level(parser *p, unsigned level, const mc_cel_node **out) {
    mc_cel_op op;
    if (level == UNARY_LEVEL) {
        return parse_unary(p, out);
    }
    MC_TRY(parse_level(p, level + 1, out));
    while (binary_here(p, level, &op)) {
        if (level <= AND_LEVEL) {
            return parse_logic(p, level, op, out);
        }
        const mc_cel_node *args[2] = {*out, NULL};
        mc_cel_lex_next(&p->lexer);
        MC_TRY(parse_level(p, level + 1, &args[1]));
        MC_TRY(mc_cel_build_op(&p->build, op, args, 2, out));
    }
    return MC_OK;
}

static mc_status parse_condition(parser *p, const mc_cel_node **out) {
    const mc_cel_node *args[3];
    MC_TRY(parse_level(p, OR_LEVEL, &args[0]));
    if (!mc_cel_lex_is(&p->lexer, "?")) {
        *out = args[0];
        return MC_OK;
    }
    mc_cel_lex_next(&p->lexer);
    MC_TRY(parse_level(p, OR_LEVEL, &args[1]));
    MC_TRY(expect(p, ":"));
    MC_TRY(parse_expr(p, &args[2]));
    return mc_cel_build_op(&p->build, MC_CEL_IF, args, 3, out);
}

static mc_status parse_expr(parser *p, const mc_cel_node **out) {
    if (p->depth >= MC_CEL_DEPTH_MAX) {
        return wrong(p, "it is nested too deep");
    }
    p->depth++;
    mc_status status = parse_condition(p, out);
    p->depth--;
    return status;
}

mc_status mc_cel_compile_text(mc_arena *arena, mc_slice text, const mc_cel_options *options, const mc_cel_program **out,
                              mc_error *error) {
    parser p = {.build = {.arena = arena, .options = options, .error = error}};
    mc_cel_program *program = mc_arena_zalloc(arena, sizeof *program);
    if (program == NULL) {
        return MC_ENOMEM;
    }
    if (text.n > MC_CEL_TEXT_MAX) {
        return mc_error_set(error, MC_EINVAL, "", "must have at most %d bytes", MC_CEL_TEXT_MAX);
    }
    mc_cel_lex_start(&p.lexer, text);
    MC_TRY(parse_expr(&p, &program->root));
    if (p.lexer.token != MC_CEL_TOKEN_END) {
        return wrong(&p, "an operator is missing");
    }
    program->reads = p.build.reads;
    *out = program;
    return MC_OK;
}
