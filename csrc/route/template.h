/* URI templates (RT-9): a pattern of segments, of which '*' is one, '**' any number at the end, and {name} or {name=pattern} one that
 * a rewrite may use. A pattern becomes a regular expression with named groups in the order of the names. */
#ifndef MC_ROUTE_TEMPLATE_H
#define MC_ROUTE_TEMPLATE_H

#include "route/compile.h"

/* The regular expression for a template, and the names of its groups; MC_EINVAL with path "". */
enum { MC_TEMPLATE_NAMES = 5 };
typedef struct mc_template {
    mc_slice expression;
    mc_slice names[MC_TEMPLATE_NAMES];
    uint32_t name_count;
} mc_template;
MC_MUST_CHECK mc_status mc_template_parse(mc_arena *arena, mc_slice pattern, mc_template *out, mc_error *error);

/* path_match_policy: sets text, literal and rest. */
MC_MUST_CHECK mc_status mc_template_compile(mc_compile *c, const mc_value *policy, mc_path_pattern *out);

/* path_rewrite_policy: literal parts, and groups of the pattern that the path matched. */
typedef struct mc_template_part {
    mc_slice literal;
    int group; /* -1: the literal */
} mc_template_part;
typedef struct mc_template_rewrite {
    mc_slice literal; /* of the pattern */
    const mc_regex *rest;
    uint32_t part_count, group_count;
    const mc_template_part *parts;
} mc_template_rewrite;
/* *out NULL when `value` has no path_rewrite_policy. */
MC_MUST_CHECK mc_status mc_template_rewrite_compile(mc_compile *c, const mc_value *value,
                                                    const mc_path_pattern *pattern, const mc_template_rewrite **out);
/* `path` without query; *out is `path` itself when the pattern does not match it (any more). */
MC_MUST_CHECK mc_status mc_template_rewrite_apply(const mc_template_rewrite *rewrite, mc_slice path, mc_arena *arena,
                                                  mc_slice *out);

#endif
