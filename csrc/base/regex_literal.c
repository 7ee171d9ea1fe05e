#include "base/regex.h"

/* Behind a class that starts at `i`. */
static size_t class_end(mc_slice pattern, size_t i) {
    i++;
    i += i < pattern.n && pattern.p[i] == '^';
    for (bool first = true; i < pattern.n; first = false) {
        mc_slice rest = mc_slice_from(pattern, i);
        bool opens = mc_slice_has_prefix(rest, MC_SLICE("[:")); /* "[:]" is no name: its colon does not count twice */
        size_t named = opens ? mc_slice_search(mc_slice_from(rest, 2), MC_SLICE(":]")) : SIZE_MAX;
        if (rest.p[0] == ']' && !first) {
            return i + 1;
        }
        i += named != SIZE_MAX ? named + 4 : rest.p[0] == '\\' ? 2 : 1;
    }
    return pattern.n;
}

/* Whether the expression is one sequence: no '|' outside of parentheses. Quoting with \Q is not looked into. */
static bool is_sequence(mc_slice pattern) {
    size_t depth = 0;
    if (mc_slice_search(pattern, MC_SLICE("\\Q")) != SIZE_MAX) {
        return false;
    }
    for (size_t i = 0; i < pattern.n;) {
        switch (pattern.p[i]) {
        case '\\': i += 2; continue;
        case '[': i = class_end(pattern, i); continue;
        case '(': depth++; break;
        case ')': depth--; break;
        case '|':
            if (depth == 0) {
                return false;
            }
            break;
        default: break;
        }
        i++;
    }
    return true;
}

static bool is_plain(char ch) { return ch > ' ' && ch <= '~' && strchr("\\.+*?()|[]{}^$", ch) == NULL; }

/* How long the literal at the start of `rest` is in the expression, 0: there is none; its character is the last of them. */
static size_t literal_at(mc_slice rest) {
    if (rest.n > 0 && is_plain(rest.p[0])) {
        return 1;
    }
    bool escaped = rest.n > 1 && rest.p[0] == '\\' && strchr("\\.+*?()|[]{}^$/-", rest.p[1]) != NULL && rest.p[1] != 0;
    return escaped ? 2 : 0;
}

static bool is_repeated(mc_slice rest) { return rest.n > 0 && strchr("*+?{", rest.p[0]) != NULL && rest.p[0] != 0; }

mc_status mc_regex_literal(mc_arena *arena, mc_slice pattern, mc_slice *literal, mc_slice *rest) {
    mc_slice at = mc_slice_from(pattern, pattern.n > 0 && pattern.p[0] == '^');
    *literal = MC_SLICE("");
    *rest = pattern;
    if (!is_sequence(pattern)) {
        return MC_OK;
    }
    char *text = mc_arena_bytes(arena, pattern.n);
    if (text == NULL) {
        return MC_ENOMEM;
    }
    size_t n = 0;
    for (size_t length; (length = literal_at(at)) > 0 && !is_repeated(mc_slice_from(at, length));) {
        text[n++] = at.p[length - 1];
        at = mc_slice_from(at, length);
    }
    if (n > 0) {
        *literal = mc_slice_of(text, n);
        *rest = at.p == NULL ? MC_SLICE("") : at;
    }
    return MC_OK;
}
