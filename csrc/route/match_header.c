/* Header matchers (RT-12). */
#include "route/compile.h"
#include "route/matcher.h"
#include "route/substitute.h"

typedef enum header_kind { HEADER_PRESENT, HEADER_STRING, HEADER_RANGE, HEADER_ANY_VALUE } header_kind;

typedef struct header_match {
    mc_header_key key;
    header_kind kind;
    bool invert, missing_is_empty;
    bool present; /* HEADER_PRESENT: the value of present_match */
    mc_string_match string;
    int64_t start, end; /* HEADER_RANGE: start <= value < end */
} header_match;

static int value_holds(const header_match *match, mc_slice value) {
    switch (match->kind) {
    case HEADER_STRING: return mc_string_match_test(&match->string, value);
    case HEADER_RANGE: {
        int64_t number;
        return mc_slice_i64(mc_slice_trim(value), &number) == MC_OK && number >= match->start && number < match->end;
    }
    case HEADER_PRESENT: return match->present;
    case HEADER_ANY_VALUE: return true;
    }
    return false;
}

mc_status mc_match_header_value(const mc_header_key *key, const mc_match_input *in, mc_slice *out) {
    const mc_headers *headers = in->request->headers;
    const mc_header_id id = mc_header_alias(headers, key->id);
    *out = MC_SLICE_NONE;
    if (id != MC_H_UNKNOWN && !mc_headers_has(headers, id)) {
        return MC_OK;
    }
    MC_HEADERS_EACH(headers, header) {
        if (header->id != id || (id == MC_H_UNKNOWN && !mc_slice_eq(header->name, key->name))) {
            continue;
        }
        if (out->p != NULL) {
            return mc_headers_joined(headers, key->name, in->request->arena, out);
        }
        *out = header->value;
    }
    return MC_OK;
}

static int header_holds(const void *self, const mc_match_input *in) {
    const header_match *match = self;
    mc_slice value;
    MC_TRY(mc_match_header_value(&match->key, in, &value));
    if (value.p == NULL && !match->missing_is_empty) {
        /* A missing header fails value matchers whatever invert says. */
        return match->kind == HEADER_PRESENT && match->invert == match->present;
    }
    int holds = value_holds(match, value);
    return holds < 0 ? holds : holds != match->invert;
}

mc_slice mc_match_header_name(const mc_matcher *matcher) { return ((const header_match *)matcher->self)->key.name; }

bool mc_match_header_exact(const mc_matcher *matcher, mc_header_key *key, mc_slice *value) {
    const header_match *match = matcher->self;
    if (matcher->match != header_holds || match->key.id == MC_H_HOST || match->kind != HEADER_STRING || match->invert ||
        match->string.kind != MC_STRING_EXACT || match->string.ignore_case || match->string.text.n == 0) {
        return false;
    }
    *key = match->key;
    *value = match->string.text;
    return true;
}

/* exact_match, prefix_match, suffix_match, contains_match, safe_regex_match: the deprecated spellings. */
static mc_status compile_legacy(mc_arena *arena, const mc_value *value, header_match *match, mc_error *error) {
    static const char *const fields[] = {"exact_match", "prefix_match", "suffix_match", "contains_match"};
    const mc_value *regex;
    MC_TRY(mc_value_read_object(value, "safe_regex_match", &regex, error));
    if (regex != NULL) {
        match->kind = HEADER_STRING;
        match->string.kind = MC_STRING_REGEX;
        return mc_error_in(mc_regex_read(arena, regex, &match->string.regex, error), error, "safe_regex_match");
    }
    for (int kind = MC_STRING_EXACT; kind <= MC_STRING_CONTAINS; kind++) {
        mc_slice text = MC_SLICE_NONE;
        if (mc_value_get(value, fields[kind]) == NULL) {
            continue;
        }
        MC_TRY(mc_value_read_string(value, fields[kind], &text, error));
        if (text.n == 0 && kind != MC_STRING_EXACT) {
            return mc_error_set(error, MC_EINVAL, fields[kind], "must not be empty");
        }
        match->kind = text.n == 0 ? HEADER_ANY_VALUE : HEADER_STRING;
        match->string.kind = (mc_string_kind)kind;
        return mc_arena_dup(arena, text, &match->string.text);
    }
    return MC_OK;
}

static mc_status compile_specifier(mc_arena *arena, const mc_value *value, header_match *match, mc_error *error) {
    const mc_value *sub;
    MC_TRY(mc_value_read_object(value, "string_match", &sub, error));
    if (sub != NULL) {
        match->kind = HEADER_STRING;
        return mc_error_in(mc_string_match_compile(arena, sub, &match->string, error), error, "string_match");
    }
    MC_TRY(mc_value_read_object(value, "range_match", &sub, error));
    if (sub != NULL) {
        match->kind = HEADER_RANGE;
        MC_TRY(mc_error_in(mc_value_read_i64(sub, "start", &match->start, error), error, "range_match"));
        return mc_error_in(mc_value_read_i64(sub, "end", &match->end, error), error, "range_match");
    }
    MC_TRY(mc_value_read_bool(value, "present_match", &match->present, error));
    return compile_legacy(arena, value, match, error);
}

mc_status mc_match_header_compile(mc_arena *arena, const mc_value *value, mc_matcher *out, mc_error *error) {
    static const char *const known[] = {"name",
                                        "exact_match",
                                        "prefix_match",
                                        "suffix_match",
                                        "range_match",
                                        "string_match",
                                        "contains_match",
                                        "safe_regex_match",
                                        "present_match",
                                        "invert_match",
                                        "treat_missing_header_as_empty",
                                        NULL};
    MC_TRY(mc_refuse_unknown(value, known, error));
    header_match *match = mc_arena_zalloc(arena, sizeof *match);
    if (match == NULL) {
        return MC_ENOMEM;
    }
    match->present = true;
    mc_slice name;
    MC_TRY(mc_read_name(arena, value, "name", &name, error));
    MC_TRY(mc_dup_lower(arena, name, &match->key.name));
    if (mc_slice_eq(match->key.name, MC_SLICE("host"))) { /* what HTTP/1 calls so is no other header */
        match->key.name = MC_SLICE(":authority");
    }
    match->key.id = mc_header_lookup(match->key.name);
    MC_TRY(mc_value_read_bool(value, "invert_match", &match->invert, error));
    MC_TRY(mc_value_read_bool(value, "treat_missing_header_as_empty", &match->missing_is_empty, error));
    MC_TRY(compile_specifier(arena, value, match, error));
    *out = (mc_matcher){header_holds, match};
    return MC_OK;
}

mc_status mc_match_headers_compile(mc_arena *arena, const mc_value *object, const char *field,
                                   const mc_header_matchers **out, mc_error *error) {
    const mc_value *items;
    size_t count;
    MC_TRY(mc_value_read_list(object, field, &items, &count, error));
    *out = NULL;
    if (count == 0) {
        return MC_OK;
    }
    mc_header_matchers *matchers = mc_arena_alloc(arena, sizeof *matchers);
    mc_matcher *list = mc_arena_alloc(arena, count * sizeof *list);
    if (matchers == NULL || list == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(mc_match_header_compile(arena, &items[i], &list[i], error), error, "%s[%zu]", field, i));
    }
    matchers->list = (mc_matchers){list, (uint32_t)count};
    *out = matchers;
    return MC_OK;
}

mc_status mc_header_matchers_any(const mc_header_matchers *matchers, const mc_headers *headers, bool *any) {
    const mc_route_request request = {.headers = headers, .arena = headers->arena};
    const mc_match_input in = {.request = &request};
    *any = false;
    for (uint32_t i = 0; i < matchers->list.count && !*any; i++) {
        int holds = header_holds(matchers->list.items[i].self, &in);
        if (holds < 0) {
            return holds;
        }
        *any = holds == 1;
    }
    return MC_OK;
}

int mc_header_matchers_all(const mc_header_matchers *matchers, const mc_headers *headers) {
    const mc_route_request request = {.headers = headers, .arena = headers->arena};
    const mc_match_input in = {.request = &request};
    return matchers == NULL ? 1 : mc_matchers_test(&matchers->list, &in);
}

mc_status mc_virtual_host_cluster(const mc_virtual_host *host, const mc_headers *headers, uint32_t *out) {
    *out = UINT32_MAX;
    for (uint32_t i = 0; i < host->virtual_cluster_count; i++) {
        int holds = mc_header_matchers_all(host->virtual_clusters[i].headers, headers);
        if (holds < 0) {
            return holds;
        }
        if (holds == 1) {
            *out = i;
            break;
        }
    }
    return MC_OK;
}
