/* StringMatcher: exact, prefix, suffix, contains, each with ignore_case (ASCII), and safe_regex. */
#include "route/compile.h"
#include "route/matcher.h"
#include "route/substitute.h"

static const char *const kind_names[] = {"exact", "prefix", "suffix", "contains"};

typedef mc_status read_regex(mc_arena *arena, const mc_value *matcher, const mc_regex **out, mc_error *error);

static mc_status compile(mc_arena *arena, const mc_value *value, read_regex *read, mc_string_match *out,
                         mc_error *error) {
    static const char *const known[] = {"exact", "prefix", "suffix", "contains", "safe_regex", "ignore_case", NULL};
    MC_TRY(mc_refuse_unknown(value, known, error));
    const mc_value *regex;
    bool ignore_case = false;
    MC_TRY(mc_value_read_bool(value, "ignore_case", &ignore_case, error));
    MC_TRY(mc_value_read_object(value, "safe_regex", &regex, error));
    if (regex != NULL && ignore_case) {
        return mc_error_set(error, MC_EINVAL, "ignore_case", "has no effect for safe_regex");
    }
    if (regex != NULL) {
        *out = (mc_string_match){.kind = MC_STRING_REGEX};
        return mc_error_in(read(arena, regex, &out->regex, error), error, "safe_regex");
    }
    for (int kind = MC_STRING_EXACT; kind <= MC_STRING_CONTAINS; kind++) {
        if (mc_value_get(value, kind_names[kind]) == NULL) {
            continue;
        }
        mc_slice text = MC_SLICE_NONE;
        MC_TRY(mc_value_read_string(value, kind_names[kind], &text, error));
        if (text.n == 0 && kind != MC_STRING_EXACT) {
            return mc_error_set(error, MC_EINVAL, kind_names[kind], "must not be empty");
        }
        *out = (mc_string_match){.kind = (mc_string_kind)kind, .ignore_case = ignore_case};
        return ignore_case ? mc_dup_lower(arena, text, &out->text) : mc_arena_dup(arena, text, &out->text);
    }
    return mc_error_set(error, MC_EINVAL, "", "must have one of exact, prefix, suffix, contains, safe_regex");
}

mc_status mc_string_match_compile(mc_arena *arena, const mc_value *value, mc_string_match *out, mc_error *error) {
    return compile(arena, value, mc_regex_read, out, error);
}

mc_status mc_string_match_compile_xds(mc_arena *arena, const mc_value *value, mc_string_match *out, mc_error *error) {
    return compile(arena, value, mc_regex_read_unlimited, out, error);
}

static bool contains_ignoring_case(mc_slice value, mc_slice lower) {
    for (size_t i = 0; i + lower.n <= value.n; i++) {
        if (mc_slice_ieq(mc_slice_of(value.p + i, lower.n), lower)) {
            return true;
        }
    }
    return false;
}

int mc_string_match_test(const mc_string_match *match, mc_slice value) {
    mc_slice text = match->text;
    if (match->kind == MC_STRING_REGEX) {
        return mc_regex_full(match->regex, value);
    }
    if (value.n < text.n || (match->kind == MC_STRING_EXACT && value.n != text.n)) {
        return false;
    }
    if (match->kind == MC_STRING_CONTAINS) {
        return match->ignore_case ? contains_ignoring_case(value, text) : mc_slice_search(value, text) != SIZE_MAX;
    }
    mc_slice part =
        match->kind == MC_STRING_SUFFIX ? mc_slice_from(value, value.n - text.n) : mc_slice_until(value, text.n);
    return match->ignore_case ? mc_slice_ieq(part, text) : mc_slice_eq(part, text);
}
