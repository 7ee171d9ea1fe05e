/* Matchers out of arbitrary configurations, and arbitrary things to match. What is refused must not hurt; of what compiles, an inverted
 * matcher says the opposite, an expression taken apart what it said whole, two ways to the same matcher the same.
 *
 * Input: a letter for the kind, the configuration (JSON, of 'e' the expression itself), a zero byte, the thing. */
#include <stdlib.h>

#include "base/value_edit.h"
#include "lines.h"
#include "route/match_metadata.h"
#include "route/matcher_tree.h"

#define REQUIRE(cond) ((cond) ? (void)0 : abort())

typedef struct scene {
    mc_arena arena;
    mc_error error;
    mc_headers headers;
    mc_route_request request;
    mc_match_input in;
} scene;

static int test(const mc_matcher *matcher, const mc_match_input *in) {
    int holds = matcher->match(matcher->self, in);
    REQUIRE(holds == 0 || holds == 1);
    return holds;
}

/* The same configuration with its field invert_match or invert the other way. */
static const mc_value *inverted(scene *s, const mc_value *config, const char *field) {
    static const mc_value yes = {.kind = MC_BOOL, .boolean = true}, no = {.kind = MC_BOOL};
    const mc_value *now = mc_value_get(config, field), *out;
    bool is = now != NULL && now->kind == MC_BOOL && now->boolean;
    REQUIRE(mc_value_put(&s->arena, config, mc_slice_cstr(field), is ? &no : &yes, &out) == MC_OK);
    return out;
}

/* Only a value that is missing may fail both ways (RT-12). */
static void try_header(scene *s, const mc_value *config, mc_slice thing) {
    mc_matcher matcher, opposite;
    if (mc_match_header_compile(&s->arena, config, &matcher, &s->error) == MC_OK &&
        mc_match_header_compile(&s->arena, inverted(s, config, "invert_match"), &opposite, &s->error) == MC_OK) {
        int holds = test(&matcher, &s->in), other = test(&opposite, &s->in);
        bool missing = mc_headers_get(&s->headers, mc_match_header_name(&matcher)).p == NULL;
        REQUIRE(holds != other || (missing && holds == 0));
    }
}

static void try_query(scene *s, const mc_value *config, mc_slice thing) {
    mc_matcher matcher;
    mc_slice value = MC_SLICE_NONE;
    s->in.query = thing;
    if (mc_match_query_compile(&s->arena, config, &matcher, &s->error) == MC_OK) {
        bool present = mc_query_get(thing, mc_match_query_name(&matcher), &value);
        REQUIRE(test(&matcher, &s->in) == mc_match_query_value(&matcher, present, value));
    }
}

static bool naive(const mc_string_match *match, mc_slice value) {
    mc_slice text = match->text;
    switch (match->kind) {
    case MC_STRING_EXACT: return mc_slice_eq(value, text);
    case MC_STRING_PREFIX: return mc_slice_has_prefix(value, text);
    case MC_STRING_SUFFIX: return mc_slice_has_suffix(value, text);
    case MC_STRING_CONTAINS: return mc_slice_search(value, text) != SIZE_MAX;
    default: return mc_regex_full(match->regex, value) == 1;
    }
}

static void try_string(scene *s, const mc_value *config, mc_slice thing) {
    mc_string_match match;
    if (mc_string_match_compile(&s->arena, config, &match, &s->error) == MC_OK) {
        mc_slice value = thing;
        if (match.ignore_case && match.kind != MC_STRING_REGEX) {
            REQUIRE(mc_dup_lower(&s->arena, thing, &value) == MC_OK);
        }
        REQUIRE(mc_string_match_test(&match, thing) == naive(&match, value));
    }
}

static void try_metadata(scene *s, const mc_value *config, mc_slice thing) {
    mc_metadata_match match = {.invert = false}, opposite = {.invert = false};
    const mc_value *metadata = NULL;
    if (mc_value_parse(&s->arena, thing, &metadata, &s->error) != MC_OK) {
        metadata = NULL;
    }
    if (mc_metadata_match_compile(&s->arena, config, &match, &s->error) == MC_OK &&
        mc_metadata_match_compile(&s->arena, inverted(s, config, "invert"), &opposite, &s->error) == MC_OK) {
        REQUIRE(mc_metadata_match_test(&match, metadata) != mc_metadata_match_test(&opposite, metadata));
    }
}

static mc_status keep_action(void *ctx, const mc_value *action, const void **out, mc_error *error) {
    *out = action;
    return MC_OK;
}

static void try_tree(scene *s, const mc_value *config, mc_slice thing) {
    const mc_tree_actions actions = {keep_action, NULL};
    const mc_matcher_tree *tree;
    const void *first, *second;
    bool reads_info = false;
    if (mc_matcher_tree_compile(&s->arena, config, &actions, &tree, &reads_info, &s->error) == MC_OK) {
        REQUIRE(mc_matcher_tree_find(tree, &s->in, &first) == MC_OK);
        REQUIRE(mc_matcher_tree_find(tree, &s->in, &second) == MC_OK && first == second);
    }
}

/* A program of any size would only be slow. */
static void try_expression(scene *s, mc_slice pattern, mc_slice thing) {
    const mc_regex *whole, *tail;
    mc_slice literal, rest;
    if (mc_regex_compile(&s->arena, pattern, 1000, &whole, &s->error) == MC_OK) {
        REQUIRE(mc_regex_literal(&s->arena, pattern, &literal, &rest) == MC_OK);
        REQUIRE(mc_regex_compile(&s->arena, rest, 0, &tail, &s->error) == MC_OK);
        int holds = mc_slice_has_prefix(thing, literal) ? mc_regex_full_from(tail, thing, literal.n) : 0;
        REQUIRE(holds == mc_regex_full(whole, thing));
    }
}

static void run(scene *s, char kind, mc_slice text, mc_slice thing) {
    static const struct {
        char kind;
        void (*run)(scene *s, const mc_value *config, mc_slice thing);
    } kinds[] = {{'h', try_header}, {'q', try_query}, {'s', try_string}, {'m', try_metadata}, {'t', try_tree}};
    const mc_value *config;
    if (kind == 'e') {
        try_expression(s, text, thing);
        return;
    }
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (kinds[i].kind == kind && mc_value_parse(&s->arena, text, &config, &s->error) == MC_OK &&
            config->kind == MC_OBJECT) {
            kinds[i].run(s, config, thing);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const mc_slice input = mc_slice_of(data, size), text = mc_slice_from(input, 1);
    const size_t zero = mc_slice_find(text, '\0');
    const mc_slice thing = mc_slice_from(text, zero + 1);
    scene s = {.error = {.path = ""}};
    mc_arena_init(&s.arena, NULL);
    mc_headers_init(&s.headers, &s.arena);
    s.request = (mc_route_request){.headers = &s.headers, .arena = &s.arena};
    s.in = (mc_match_input){.request = &s.request};
    if (size > 0 && add_lines(&s.headers, thing) == MC_OK) {
        run(&s, input.p[0], mc_slice_until(text, zero), thing);
    }
    mc_arena_fini(&s.arena);
    return 0;
}
