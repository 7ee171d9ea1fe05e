#include "route/substitute.h"

#include "route/compile.h"

static mc_status read_limit(const mc_value *matcher, uint32_t *limit, mc_error *error) {
    const mc_value *engine;
    MC_TRY(mc_value_read_object(matcher, "google_re2", &engine, error));
    *limit = MC_REGEX_PROGRAM_SIZE;
    return mc_error_in(mc_value_read_u32(engine, "max_program_size", limit, error), error, "google_re2");
}

static mc_status read_regex(mc_arena *arena, const mc_value *matcher, uint32_t limit, const mc_regex **out,
                            mc_error *error) {
    mc_slice text = MC_SLICE_NONE;
    MC_TRY(mc_value_read_string(matcher, "regex", &text, error));
    if (text.n == 0) {
        return mc_error_set(error, MC_EINVAL, "regex", "must not be empty");
    }
    return mc_error_in(mc_regex_compile(arena, text, limit, out, error), error, "regex");
}

mc_status mc_regex_read(mc_arena *arena, const mc_value *matcher, const mc_regex **out, mc_error *error) {
    uint32_t limit;
    MC_TRY(read_limit(matcher, &limit, error));
    /* A limit of 0 leaves no program; 1 does not either, and 0 means none to the compiler. */
    return read_regex(arena, matcher, limit == 0 ? 1 : limit, out, error);
}

mc_status mc_regex_read_unlimited(mc_arena *arena, const mc_value *matcher, const mc_regex **out, mc_error *error) {
    return read_regex(arena, matcher, 0, out, error);
}

static mc_status read_parts(mc_arena *arena, const mc_value *value, mc_substitution *out, mc_error *error) {
    const mc_value *pattern;
    MC_TRY(mc_value_read_object(value, "pattern", &pattern, error));
    if (pattern == NULL) {
        return mc_error_set(error, MC_EINVAL, "pattern", "is required");
    }
    MC_TRY(mc_error_in(mc_regex_read(arena, pattern, &out->regex, error), error, "pattern"));
    return mc_read_text(arena, value, "substitution", &out->with, error);
}

mc_status mc_substitution_read(mc_arena *arena, const mc_value *object, const char *field, mc_substitution *out,
                               mc_error *error) {
    const mc_value *value;
    MC_TRY(mc_value_read_object(object, field, &value, error));
    return value == NULL ? MC_OK : mc_error_in(read_parts(arena, value, out, error), error, "%s", field);
}
