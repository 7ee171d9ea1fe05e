/* MatchPredicate: a tree of conditions, of which those on a response's headers are looked at. What the others ask for never comes
 * here, so they do not hold (RF-32). */
#include "route/compile.h"

typedef enum predicate_kind { ANY, NEVER, HEADERS, AND, OR, NOT } predicate_kind;

struct mc_match_predicate {
    predicate_kind kind;
    const mc_header_matchers *headers; /* HEADERS; NULL: all hold */
    const mc_match_predicate *const *rules;
    uint32_t count;
};

enum { DEPTH_MAX = 16 };

static mc_status compile(mc_arena *arena, const mc_value *value, int depth, const mc_match_predicate **out,
                         mc_error *error);

static mc_status compile_set(mc_arena *arena, const mc_value *set, int depth, mc_match_predicate *out,
                             mc_error *error) {
    const mc_value *rules;
    size_t count;
    MC_TRY(mc_value_read_list(set, "rules", &rules, &count, error));
    if (count < 2) {
        return mc_error_set(error, MC_EINVAL, "rules", "must have at least 2 entries");
    }
    const mc_match_predicate **compiled = mc_arena_alloc(arena, count * sizeof *compiled);
    if (compiled == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(compile(arena, &rules[i], depth + 1, &compiled[i], error), error, "rules[%zu]", i));
    }
    out->rules = compiled;
    out->count = (uint32_t)count;
    return MC_OK;
}

static mc_status compile_not(mc_arena *arena, const mc_value *rule, int depth, mc_match_predicate *out,
                             mc_error *error) {
    const mc_match_predicate **compiled = mc_arena_alloc(arena, sizeof *compiled);
    if (compiled == NULL) {
        return MC_ENOMEM;
    }
    out->rules = compiled;
    out->count = 1;
    return compile(arena, rule, depth + 1, compiled, error);
}

static const struct {
    const char *field;
    predicate_kind kind;
} rules[] = {
    {"or_match", OR},
    {"and_match", AND},
    {"not_match", NOT},
    {"any_match", ANY},
    {"http_response_headers_match", HEADERS},
    {"http_request_headers_match", NEVER},
    {"http_request_trailers_match", NEVER},
    {"http_response_trailers_match", NEVER},
    {"http_request_generic_body_match", NEVER},
    {"http_response_generic_body_match", NEVER},
};
enum { RULES = sizeof rules / sizeof rules[0] };

static mc_status compile(mc_arena *arena, const mc_value *value, int depth, const mc_match_predicate **out,
                         mc_error *error) {
    size_t i = 0;
    while (i < RULES && mc_value_get(value, rules[i].field) == NULL) {
        i++;
    }
    if (i == RULES || depth > DEPTH_MAX) {
        return mc_error_set(error, MC_EINVAL, "", i == RULES ? "must have a rule" : "is nested too deeply");
    }
    mc_match_predicate *predicate = mc_arena_zalloc(arena, sizeof *predicate);
    const mc_value *rule = mc_value_get(value, rules[i].field);
    mc_status status = predicate == NULL ? MC_ENOMEM : MC_OK;
    if (status == MC_OK) {
        predicate->kind = rules[i].kind;
        switch (predicate->kind) {
        case HEADERS: status = mc_match_headers_compile(arena, rule, "headers", &predicate->headers, error); break;
        case AND:
        case OR: status = compile_set(arena, rule, depth, predicate, error); break;
        case NOT: status = compile_not(arena, rule, depth, predicate, error); break;
        case ANY:
        case NEVER: break;
        }
    }
    *out = predicate;
    return mc_error_in(status, error, "%s", rules[i].field);
}

mc_status mc_match_predicate_compile(mc_arena *arena, const mc_value *object, const char *field,
                                     const mc_match_predicate **out, mc_error *error) {
    const mc_value *value;
    *out = NULL;
    MC_TRY(mc_value_read_object(object, field, &value, error));
    return value == NULL ? MC_OK : mc_error_in(compile(arena, value, 0, out, error), error, "%s", field);
}

int mc_match_predicate_holds(const mc_match_predicate *predicate, const mc_headers *response) {
    const predicate_kind kind = predicate->kind;
    if (kind == HEADERS) {
        return mc_header_matchers_all(predicate->headers, response);
    }
    int holds = kind == ANY || kind == AND;
    for (uint32_t i = 0; i < predicate->count; i++) {
        holds = mc_match_predicate_holds(predicate->rules[i], response);
        if (holds < 0 || holds == (kind == OR)) { /* decided */
            break;
        }
    }
    return holds < 0 || kind != NOT ? holds : !holds;
}
