#include "route/matcher_predicate.h"

#include "base/cidr.h"
#include "base/hash.h"
#include "base/read.h"
#include "cel/cel.h"
#include "route/matcher_input.h"

/* --- conditions on inputs --- */

typedef enum check_kind { CHECK_STRING, CHECK_IP, CHECK_METADATA, CHECK_FRACTION, CHECK_HASH, CHECK_CEL } check_kind;

typedef struct check {
    check_kind kind;
    mc_string_match string;
    mc_cidrs ranges;
    mc_value_match value; /* CHECK_METADATA */
    bool invert;
    mc_fraction fraction;
    uint64_t seed;
    uint32_t threshold, modulo; /* CHECK_HASH: hash % modulo >= threshold */
    const mc_cel_program *expression;
} check;

static mc_status compile_custom(mc_arena *arena, const mc_value *value, check *out, mc_error *error) {
    static const mc_name_value types[] = {
        {"envoy.extensions.matching.input_matchers.ip.v3.Ip", CHECK_IP},
        {"envoy.extensions.matching.input_matchers.metadata.v3.Metadata", CHECK_METADATA},
        {"envoy.extensions.matching.input_matchers.runtime_fraction.v3.RuntimeFraction", CHECK_FRACTION},
        {"envoy.extensions.matching.input_matchers.consistent_hashing.v3.ConsistentHashing", CHECK_HASH},
        {"xds.type.matcher.v3.CelMatcher", CHECK_CEL},
        {NULL, 0}};
    static const mc_cel_options options = {.hides_node = true};
    const mc_value *config, *sub;
    uint64_t kind;
    MC_TRY(mc_read_extension(value, "typed_config", types, &config, &kind, error));
    out->kind = (check_kind)kind;
    switch (out->kind) {
    case CHECK_IP: return mc_cidrs_read(arena, config, "cidr_ranges", &out->ranges, error);
    case CHECK_METADATA:
        MC_TRY(mc_value_read_object(config, "value", &sub, error));
        MC_TRY(mc_value_read_bool(config, "invert", &out->invert, error));
        return mc_error_in(mc_value_match_compile(arena, sub, &out->value, error), error, "value");
    case CHECK_FRACTION:
        out->fraction = MC_FRACTION_ALL;
        MC_TRY(mc_fraction_read(arena, config, "runtime_fraction", &out->fraction, error));
        return mc_value_read_u64(config, "seed", &out->seed, error);
    case CHECK_CEL:
        MC_TRY(mc_value_read_object(config, "expr_match", &sub, error));
        return mc_error_in(mc_cel_compile_expression(arena, sub, &options, &out->expression, error), error,
                           "expr_match");
    default:
        MC_TRY(mc_value_read_u32(config, "threshold", &out->threshold, error));
        MC_TRY(mc_value_read_u32(config, "modulo", &out->modulo, error));
        MC_TRY(mc_value_read_u64(config, "seed", &out->seed, error));
        if (out->modulo == 0) {
            return mc_error_set(error, MC_EINVAL, "modulo", "must be greater than 0");
        }
        return out->threshold <= out->modulo ? MC_OK
                                             : mc_error_set(error, MC_EINVAL, "threshold", "must be at most modulo");
    }
}

/* Who matches without a stream knows the request's headers and addresses. */
static int expression_holds(const mc_cel_program *expression, const mc_route_request *request) {
    mc_stream_info info;
    if (request->info != NULL) {
        return mc_cel_holds(expression, request->info, request->arena);
    }
    mc_stream_info_init(&info);
    info.request = request->headers;
    info.downstream_remote = request->remote;
    info.downstream_local = request->local;
    return mc_cel_holds(expression, &info, request->arena);
}

static int check_holds(const check *check, const mc_tree_input *input, const mc_match_input *in) {
    mc_slice text;
    mc_address address;
    if (check->kind == CHECK_METADATA) {
        int holds = mc_value_match_test(&check->value, mc_tree_input_metadata(input, in));
        return holds < 0 ? holds : holds != check->invert;
    }
    if (check->kind == CHECK_CEL) {
        return expression_holds(check->expression, in->request);
    }
    MC_TRY(mc_tree_input_text(input, in, &text));
    if (text.p == NULL) {
        return 0;
    }
    switch (check->kind) {
    case CHECK_STRING: return mc_string_match_test(&check->string, text);
    case CHECK_IP: return mc_address_parse(&address, text, 0) == MC_OK && mc_cidrs_contain(&check->ranges, &address);
    case CHECK_FRACTION:
        return mc_fraction_holds(&check->fraction, in->request->runtime, mc_xxh64(text.p, text.n, check->seed));
    default: return mc_xxh64(text.p, text.n, check->seed) % check->modulo >= check->threshold;
    }
}

/* --- predicates --- */

typedef enum predicate_kind { PREDICATE_SINGLE, PREDICATE_OR, PREDICATE_AND, PREDICATE_NOT } predicate_kind;

struct mc_tree_predicate {
    predicate_kind kind;
    mc_tree_input input;
    check check;
    const mc_tree_predicate *items;
    uint32_t count;
};

typedef struct builder {
    mc_arena *arena;
    bool *reads_info;
    mc_error *error;
} builder;

static mc_status compile_single(builder *b, const mc_value *value, mc_tree_predicate *out) {
    const mc_value *input, *sub;
    MC_TRY(mc_value_read_object(value, "input", &input, b->error));
    MC_TRY(
        mc_error_in(mc_tree_input_compile(b->arena, input, &out->input, b->reads_info, b->error), b->error, "input"));
    MC_TRY(mc_value_read_object(value, "value_match", &sub, b->error));
    if (sub != NULL && out->input.kind == MC_INPUT_ATTRIBUTES) {
        return mc_error_set(b->error, MC_EINVAL, "value_match", "must be a custom_match of CelMatcher for this input");
    }
    if (sub != NULL) {
        out->check.kind = CHECK_STRING;
        return mc_error_in(mc_string_match_compile_xds(b->arena, sub, &out->check.string, b->error), b->error,
                           "value_match");
    }
    MC_TRY(mc_value_read_object(value, "custom_match", &sub, b->error));
    if (sub == NULL) {
        return mc_error_set(b->error, MC_EINVAL, "", "must have one of value_match, custom_match");
    }
    MC_TRY(mc_error_in(compile_custom(b->arena, sub, &out->check, b->error), b->error, "custom_match"));
    return (out->check.kind == CHECK_CEL) == (out->input.kind == MC_INPUT_ATTRIBUTES)
               ? MC_OK
               : mc_error_set(b->error, MC_EINVAL, "custom_match",
                              "must be a CelMatcher with the input HttpAttributesCelMatchInput, and only with that");
}

static mc_status compile_predicate(builder *b, const mc_value *value, mc_tree_predicate *out);

static mc_status compile_predicates(builder *b, const mc_value *list, mc_tree_predicate *out) {
    const mc_value *items;
    size_t count;
    MC_TRY(mc_value_read_list(list, "predicate", &items, &count, b->error));
    if (count < 2) {
        return mc_error_set(b->error, MC_EINVAL, "predicate", "must have at least two entries");
    }
    mc_tree_predicate *made = mc_arena_zalloc(b->arena, count * sizeof *made);
    if (made == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(compile_predicate(b, &items[i], &made[i]), b->error, "predicate[%zu]", i));
    }
    out->items = made;
    out->count = (uint32_t)count;
    return MC_OK;
}

static mc_status compile_predicate(builder *b, const mc_value *value, mc_tree_predicate *out) {
    static const struct {
        const char *field;
        predicate_kind kind;
    } lists[] = {{"or_matcher", PREDICATE_OR}, {"and_matcher", PREDICATE_AND}};
    const mc_value *sub;
    MC_TRY(mc_value_read_object(value, "single_predicate", &sub, b->error));
    if (sub != NULL) {
        out->kind = PREDICATE_SINGLE;
        return mc_error_in(compile_single(b, sub, out), b->error, "single_predicate");
    }
    for (int i = 0; i < 2; i++) {
        MC_TRY(mc_value_read_object(value, lists[i].field, &sub, b->error));
        if (sub != NULL) {
            out->kind = lists[i].kind;
            return mc_error_in(compile_predicates(b, sub, out), b->error, "%s", lists[i].field);
        }
    }
    MC_TRY(mc_value_read_object(value, "not_matcher", &sub, b->error));
    if (sub == NULL) {
        return mc_error_set(b->error, MC_EINVAL, "",
                            "must have one of single_predicate, or_matcher, and_matcher, not_matcher");
    }
    mc_tree_predicate *inner = mc_arena_zalloc(b->arena, sizeof *inner);
    if (inner == NULL) {
        return MC_ENOMEM;
    }
    out->kind = PREDICATE_NOT;
    out->items = inner;
    out->count = 1;
    return mc_error_in(compile_predicate(b, sub, inner), b->error, "not_matcher");
}

int mc_tree_predicate_holds(const mc_tree_predicate *predicate, const mc_match_input *in) {
    int holds;
    switch (predicate->kind) {
    case PREDICATE_SINGLE: return check_holds(&predicate->check, &predicate->input, in);
    case PREDICATE_NOT: holds = mc_tree_predicate_holds(predicate->items, in); return holds < 0 ? holds : !holds;
    default: break;
    }
    const int enough = predicate->kind == PREDICATE_OR;
    for (uint32_t i = 0; i < predicate->count; i++) {
        holds = mc_tree_predicate_holds(&predicate->items[i], in);
        if (holds < 0 || holds == enough) {
            return holds;
        }
    }
    return !enough;
}

mc_status mc_tree_predicate_compile(mc_arena *arena, const mc_value *value, const mc_tree_predicate **out,
                                    bool *reads_info, mc_error *error) {
    builder b = {arena, reads_info, error};
    mc_tree_predicate *made = mc_arena_zalloc(arena, sizeof *made);
    *out = made;
    return made == NULL ? MC_ENOMEM : compile_predicate(&b, value, made);
}
