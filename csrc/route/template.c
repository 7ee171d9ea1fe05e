#include "route/template.h"

enum { MC_TEMPLATE_NAME_LENGTH = 16, MC_TEMPLATE_PARTS = 64 };

/* pchar of RFC 3986. As text of a class in an expression and as a table. */
#define LITERAL "a-zA-Z0-9-._~%!$&'()*+,;:@="

static bool is_literal(char ch) {
    return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
           (ch != '\0' && strchr("-._~%!$&'()*+,;:@=", ch) != NULL);
}

static bool is_literal_text(mc_slice text, bool with_slash) {
    for (size_t i = 0; i < text.n; i++) {
        if (!is_literal(text.p[i]) && !(with_slash && text.p[i] == '/')) {
            return false;
        }
    }
    return text.n > 0;
}

static bool is_name(mc_slice name) {
    for (size_t i = 0; i < name.n; i++) {
        char lower = mc_ascii_lower(name.p[i]);
        bool letter = lower >= 'a' && lower <= 'z';
        if (!letter && (i == 0 || !(name.p[i] == '_' || (name.p[i] >= '0' && name.p[i] <= '9')))) {
            return false;
        }
    }
    return name.n > 0;
}

/* --- patterns --- */

typedef struct parser {
    mc_slice rest;
    char *at;       /* of the expression; there is always room, see mc_template_parse */
    bool text_glob; /* a "**" has been seen: nothing may match freely behind it */
    mc_template *out;
    mc_error *error;
} parser;

static void put(parser *p, mc_slice text) {
    memcpy(p->at, text.p, text.n);
    p->at += text.n;
}

static mc_status bad(parser *p, const char *what) { return mc_error_set(p->error, MC_EINVAL, "", "%s", what); }

/* "*" or "**" at the start of *rest. */
static mc_status parse_glob(parser *p, mc_slice *rest) {
    if (p->text_glob) {
        return bad(p, "nothing may match freely behind **");
    }
    p->text_glob = rest->n > 1 && rest->p[1] == '*';
    put(p, p->text_glob ? MC_SLICE("[" LITERAL "/]*") : MC_SLICE("[" LITERAL "]+"));
    *rest = mc_slice_from(*rest, p->text_glob ? 2 : 1);
    return MC_OK;
}

/* Up to the next '/' or, where a name may follow, '{'. */
static mc_status parse_literal(parser *p, mc_slice *rest, bool name_may_follow) {
    mc_slice literal = mc_slice_until(*rest, mc_slice_find(*rest, '/'));
    if (name_may_follow) {
        literal = mc_slice_until(literal, mc_slice_find(literal, '{'));
    }
    if (!is_literal_text(literal, false)) {
        return bad(p, "has a segment that is neither text of a path nor *, **, {name}");
    }
    for (size_t i = 0; i < literal.n; i++) {
        if (strchr("$()+.", literal.p[i]) != NULL) {
            put(p, MC_SLICE("\\"));
        }
        put(p, mc_slice_of(&literal.p[i], 1));
    }
    *rest = mc_slice_from(*rest, literal.n);
    return MC_OK;
}

/* What stands behind '=' in {name=pattern}: segments without names. */
static mc_status parse_variable_pattern(parser *p, mc_slice pattern) {
    if (pattern.n == 0) {
        return bad(p, "has a name with an empty pattern");
    }
    while (pattern.n > 0) {
        if (pattern.p[0] == '*') {
            MC_TRY(parse_glob(p, &pattern));
        } else {
            MC_TRY(parse_literal(p, &pattern, false));
        }
        if (pattern.n > 0) {
            if (pattern.p[0] != '/' || pattern.n == 1) {
                return bad(p, "has a name whose pattern is not segments between slashes");
            }
            put(p, MC_SLICE("/"));
            pattern = mc_slice_from(pattern, 1);
        }
    }
    return MC_OK;
}

static mc_status add_name(parser *p, mc_slice name) {
    mc_template *out = p->out;
    if (!is_name(name) || name.n > MC_TEMPLATE_NAME_LENGTH) {
        return bad(p, "has a name that is not a letter and up to 15 letters, digits, '_'");
    }
    for (uint32_t i = 0; i < out->name_count; i++) {
        if (mc_slice_eq(out->names[i], name)) {
            return bad(p, "has a name twice");
        }
    }
    if (out->name_count == MC_TEMPLATE_NAMES) {
        return bad(p, "has more than 5 names");
    }
    out->names[out->name_count++] = name;
    return MC_OK;
}

static mc_status parse_variable(parser *p) {
    size_t end = mc_slice_find(p->rest, '}');
    if (end == p->rest.n) {
        return bad(p, "has a { without }");
    }
    mc_slice inside = mc_slice_of(p->rest.p + 1, end - 1);
    size_t equals = mc_slice_find(inside, '=');
    mc_slice name = mc_slice_until(inside, equals), star = MC_SLICE("*");
    MC_TRY(add_name(p, name));
    put(p, MC_SLICE("(?P<"));
    put(p, name);
    put(p, MC_SLICE(">"));
    if (equals < inside.n) {
        MC_TRY(parse_variable_pattern(p, mc_slice_from(inside, equals + 1)));
    } else {
        MC_TRY(parse_glob(p, &star));
    }
    put(p, MC_SLICE(")"));
    p->rest = mc_slice_from(p->rest, end + 1);
    return MC_OK;
}

/* Text, then a glob or name, then text: one of them, or a name with text around it. */
static mc_status parse_segment(parser *p) {
    if (p->rest.p[0] != '*' && p->rest.p[0] != '{') {
        MC_TRY(parse_literal(p, &p->rest, true));
        if (p->rest.n == 0 || p->rest.p[0] == '/') {
            return MC_OK;
        }
    }
    MC_TRY(p->rest.p[0] == '*' ? parse_glob(p, &p->rest) : parse_variable(p));
    return p->rest.n == 0 || p->rest.p[0] == '/' ? MC_OK : parse_literal(p, &p->rest, false);
}

static mc_status parse_segments(parser *p) {
    while (p->rest.n > 0) {
        MC_TRY(parse_segment(p));
        if (p->rest.n > 0) {
            put(p, MC_SLICE("/"));
            p->rest = mc_slice_from(p->rest, 1);
        }
    }
    return MC_OK;
}

mc_status mc_template_parse(mc_arena *arena, mc_slice pattern, mc_template *out, mc_error *error) {
    parser p = {.rest = mc_slice_from(pattern, 1), .out = out, .error = error};
    *out = (mc_template){.name_count = 0};
    if (pattern.n == 0 || pattern.p[0] != '/') {
        return bad(&p, "must begin with '/'");
    }
    for (size_t i = 0; i < pattern.n; i++) {
        if (pattern.p[i] <= ' ' || pattern.p[i] > '~') {
            return bad(&p, "must be printable ASCII without blanks");
        }
    }
    /* A character becomes at most a class. */
    char *text = mc_arena_bytes(arena, (pattern.n + 1) * (sizeof "[" LITERAL "/]*(?P<>)"));
    if (text == NULL) {
        return MC_ENOMEM;
    }
    p.at = text;
    put(&p, MC_SLICE("/"));
    MC_TRY(parse_segments(&p));
    out->expression = mc_slice_of(text, (size_t)(p.at - text));
    return MC_OK;
}

/* The one field of an extension's configuration, whose type must be `type`. */
static mc_status read_extension(mc_compile *c, const mc_value *policy, const char *type, const char *field,
                                mc_slice *out) {
    const mc_value *config;
    mc_slice url = MC_SLICE_NONE;
    MC_TRY(mc_value_read_object(policy, "typed_config", &config, c->error));
    MC_TRY(mc_error_in(mc_value_read_string(config, "@type", &url, c->error), c->error, "typed_config"));
    if (!mc_slice_has_suffix(url, mc_slice_cstr(type))) {
        return mc_error_set(c->error, MC_EINVAL, "typed_config", "%.*s is not supported", MC_SLICE_ARG(url));
    }
    return mc_error_in(mc_read_name(c->arena, config, field, out, c->error), c->error, "typed_config");
}

static mc_status read_template(mc_compile *c, const mc_value *policy, mc_slice *text) {
    *text = MC_SLICE_NONE;
    return read_extension(c, policy, "/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig",
                          "path_template", text);
}

/* A '*' in text is a repetition, and can stand where none may: no path matches. */
#define NO_PATH MC_SLICE("[^\\x00-\\x{10FFFF}]")

static int template_holds(const void *regex, const mc_match_input *in) {
    mc_slice path = mc_headers_get_known(in->request->headers, MC_H_PATH);
    path = mc_slice_until(path, mc_slice_find(path, '#'));
    return mc_regex_full(regex, mc_slice_until(path, mc_slice_find(path, '?')));
}

mc_status mc_match_template_compile(mc_arena *arena, const mc_value *policy, mc_matcher *out, mc_error *error) {
    mc_compile c = {.arena = arena, .error = error};
    mc_template template;
    const mc_regex *regex;
    mc_slice text;
    MC_TRY(read_template(&c, policy, &text));
    MC_TRY(mc_error_in(mc_template_parse(arena, text, &template, error), error, "typed_config.path_template"));
    mc_status status = mc_regex_compile(arena, template.expression, 0, &regex, error);
    if (status == MC_EINVAL) {
        status = mc_regex_compile(arena, NO_PATH, 0, &regex, error);
    }
    *out = (mc_matcher){template_holds, regex};
    return status;
}

mc_status mc_template_compile(mc_compile *c, const mc_value *policy, mc_path_pattern *out) {
    mc_template template;
    mc_slice text;
    MC_TRY(read_template(c, policy, &text));
    out->template_length = text.n;
    mc_status status = mc_template_parse(c->arena, text, &template, c->error);
    if (status == MC_OK) {
        status = mc_path_expression(c, template.expression, out);
    }
    if (status == MC_EINVAL && out->text.n > 0) {
        status = mc_path_expression(c, NO_PATH, out);
    }
    return mc_error_in(status, c->error, "typed_config.path_template");
}

/* --- rewriting --- */

/* The groups of an expression that mc_template_parse made, by name. */
static int find_group(mc_slice expression, mc_slice name) {
    int group = 0;
    for (size_t at; (at = mc_slice_search(expression, MC_SLICE("(?P<"))) != SIZE_MAX; group++) {
        expression = mc_slice_from(expression, at + 4);
        if (mc_slice_eq(mc_slice_until(expression, mc_slice_find(expression, '>')), name)) {
            return group;
        }
    }
    return -1;
}

static mc_status parse_rewrite(mc_compile *c, mc_slice text, mc_slice expression, mc_template_part *parts,
                               uint32_t *count) {
    if (text.p[0] != '/' || mc_slice_search(text, MC_SLICE("//")) != SIZE_MAX) {
        return mc_error_set(c->error, MC_EINVAL, "", "must begin with '/' and have no two '/' side by side");
    }
    while (text.n > 0) {
        size_t open = mc_slice_find(text, '{');
        mc_slice literal = mc_slice_until(text, open);
        if (*count + 2 > MC_TEMPLATE_PARTS) {
            return mc_error_set(c->error, MC_EINVAL, "", "has too many parts");
        }
        if (literal.n > 0) {
            if (!is_literal_text(literal, true)) {
                return mc_error_set(c->error, MC_EINVAL, "", "has characters that are not those of a path");
            }
            parts[(*count)++] = (mc_template_part){literal, -1};
        }
        if (open == text.n) {
            break;
        }
        text = mc_slice_from(text, open + 1);
        size_t close = mc_slice_find(text, '}');
        mc_slice name = mc_slice_until(text, close);
        if (close == text.n) {
            return mc_error_set(c->error, MC_EINVAL, "", "has a { without }");
        }
        int group = find_group(expression, name);
        if (group < 0) {
            return mc_error_set(c->error, MC_EINVAL, "", "%.*s is no name of the template that is matched",
                                MC_SLICE_ARG(name));
        }
        parts[(*count)++] = (mc_template_part){MC_SLICE_NONE, group};
        text = mc_slice_from(text, close + 1);
    }
    return MC_OK;
}

static mc_status compile_rewrite(mc_compile *c, const mc_value *policy, const mc_path_pattern *pattern,
                                 const mc_template_rewrite **out) {
    mc_slice text = MC_SLICE_NONE;
    MC_TRY(read_extension(c, policy, "/envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig",
                          "path_template_rewrite", &text));
    if (pattern->kind != MC_PATH_TEMPLATE) {
        return mc_error_set(c->error, MC_EINVAL, "", "needs a path_match_policy with a URI template");
    }
    mc_template_rewrite *rewrite = mc_arena_zalloc(c->arena, sizeof *rewrite);
    mc_template_part *parts = mc_arena_alloc(c->arena, MC_TEMPLATE_PARTS * sizeof *parts);
    if (rewrite == NULL || parts == NULL) {
        return MC_ENOMEM;
    }
    MC_TRY(mc_error_in(parse_rewrite(c, text, pattern->text, parts, &rewrite->part_count), c->error,
                       "typed_config.path_template_rewrite"));
    rewrite->parts = parts;
    rewrite->literal = pattern->literal;
    rewrite->rest = pattern->rest;
    rewrite->group_count = (uint32_t)mc_regex_group_count(pattern->rest);
    *out = rewrite;
    return MC_OK;
}

mc_status mc_template_rewrite_compile(mc_compile *c, const mc_value *value, const mc_path_pattern *pattern,
                                      const mc_template_rewrite **out) {
    const mc_value *policy;
    *out = NULL;
    MC_TRY(mc_value_read_object(value, "path_rewrite_policy", &policy, c->error));
    return policy == NULL ? MC_OK
                          : mc_error_in(compile_rewrite(c, policy, pattern, out), c->error, "path_rewrite_policy");
}

mc_status mc_template_rewrite_apply(const mc_template_rewrite *rewrite, mc_slice path, mc_arena *arena, mc_slice *out) {
    mc_slice groups[MC_TEMPLATE_NAMES], parts[MC_TEMPLATE_PARTS];
    *out = path;
    if (!mc_slice_has_prefix(path, rewrite->literal)) {
        return MC_OK;
    }
    int holds = mc_regex_groups(rewrite->rest, path, rewrite->literal.n, groups, (int)rewrite->group_count);
    if (holds != 1) {
        return holds;
    }
    for (uint32_t i = 0; i < rewrite->part_count; i++) {
        const mc_template_part *part = &rewrite->parts[i];
        parts[i] = part->group < 0 ? part->literal : groups[part->group];
    }
    return mc_arena_concat(arena, parts, rewrite->part_count, out);
}
