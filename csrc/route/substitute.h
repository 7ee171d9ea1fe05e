/* RegexMatcher and RegexMatchAndSubstitute, as messages. */
#ifndef MC_ROUTE_SUBSTITUTE_H
#define MC_ROUTE_SUBSTITUTE_H

#include "base/regex.h"
#include "base/value.h"

/* A RegexMatcher: its program may have 100 steps, or what google_re2.max_program_size says (RT-8). */
MC_MUST_CHECK mc_status mc_regex_read(mc_arena *arena, const mc_value *matcher, const mc_regex **out, mc_error *error);
/* An xds.type.matcher.v3.RegexMatcher: no limit holds for it. */
MC_MUST_CHECK mc_status mc_regex_read_unlimited(mc_arena *arena, const mc_value *matcher, const mc_regex **out,
                                                mc_error *error);

typedef struct mc_substitution {
    const mc_regex *regex; /* NULL: none */
    mc_slice with;         /* \1 to \9 are groups, \0 is the match */
} mc_substitution;

/* A field of `object`; out->regex stays NULL when it is absent. */
MC_MUST_CHECK mc_status mc_substitution_read(mc_arena *arena, const mc_value *object, const char *field,
                                             mc_substitution *out, mc_error *error);
/* Every match in `text` replaced. */
MC_MUST_CHECK static inline mc_status mc_substitution_apply(const mc_substitution *substitution, mc_slice text,
                                                            mc_arena *arena, mc_slice *out) {
    return mc_regex_replace(substitution->regex, text, substitution->with, arena, out);
}

#endif
