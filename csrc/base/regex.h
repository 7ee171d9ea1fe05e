/* Regular expressions: RE2 behind C. Matching takes time linear in the text, whatever the expression (RT-8).
 *
 * Expressions and sets are immutable once made and may be used from any thread. They live as long as the arena that they were made
 * for. A result is 1, 0, or MC_ENOMEM. */
#ifndef MC_BASE_REGEX_H
#define MC_BASE_REGEX_H

#include "base/arena.h"
#include "base/error.h"

typedef struct mc_regex mc_regex;

enum { MC_REGEX_PROGRAM_SIZE = 100 }; /* the default limit */

/* MC_EINVAL with path "" when the expression is wrong or its program larger than `max_program_size` (0: no limit). */
MC_MUST_CHECK mc_status mc_regex_compile(mc_arena *arena, mc_slice pattern, uint32_t max_program_size,
                                         const mc_regex **out, mc_error *error);
/* Whether the whole text matches. */
int mc_regex_full(const mc_regex *regex, mc_slice text);
/* Whether some part of the text matches. */
int mc_regex_find(const mc_regex *regex, mc_slice text);
/* Whether all that stands behind the first `start` bytes matches; only \b, ^ and the like look at those before. */
int mc_regex_full_from(const mc_regex *regex, mc_slice text, size_t start);
/* Number of capturing groups. */
int mc_regex_group_count(const mc_regex *regex);
/* As mc_regex_full_from; groups[i] becomes what group i + 1 captured (p == NULL: nothing), for i < count. */
int mc_regex_groups(const mc_regex *regex, mc_slice text, size_t start, mc_slice *groups, int count);
/* Takes the text that all matches of a valid expression begin with off the expression: a text matches `pattern` if it begins with
 * *literal, often empty, and matches *rest from there on. */
MC_MUST_CHECK mc_status mc_regex_literal(mc_arena *arena, mc_slice pattern, mc_slice *literal, mc_slice *rest);
/* `text` with every match replaced; \0 to \9 in `with` are what the groups captured. */
MC_MUST_CHECK mc_status mc_regex_replace(const mc_regex *regex, mc_slice text, mc_slice with, mc_arena *arena,
                                         mc_slice *out);

/* Many expressions matched in one pass. */
typedef struct mc_regex_set mc_regex_set;
typedef struct mc_regex_member {
    mc_slice pattern;     /* the whole expression */
    mc_slice literal;     /* as mc_regex_literal has it */
    const mc_regex *rest; /* compiled; must live as long as the set */
} mc_regex_member;

MC_MUST_CHECK mc_status mc_regex_set_compile(mc_arena *arena, const mc_regex_member *members, uint32_t count,
                                             const mc_regex_set **out, mc_error *error);
/* The indices of all expressions that match the whole text, ascending, in `arena`. */
MC_MUST_CHECK mc_status mc_regex_set_match(const mc_regex_set *set, mc_slice text, mc_arena *arena,
                                           const uint32_t **found, uint32_t *count);

#endif
