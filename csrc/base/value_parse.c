#include <math.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/utf8.h"
#include "base/value.h"

enum { MAX_DEPTH = 200, MAX_NUMBER_TEXT = 64 };

/* One parse: `at` is the next unread byte. Children are collected in `stack` and copied into the arena when their parent
 * closes, so that siblings end up contiguous. */
typedef struct parser {
    const char *start, *at, *end;
    mc_arena *arena;
    mc_value *values;
    mc_slice *names;
    size_t count, cap_values, cap_names;
    mc_error *error;
} parser;

static mc_status parse_value(parser *p, mc_value *out, int depth);

static mc_status fail(parser *p, const char *what) {
    return mc_error_set(p->error, MC_EINVAL, "", "invalid JSON at byte %zu: %s", (size_t)(p->at - p->start), what);
}

static mc_status oom(parser *p) { return mc_error_set(p->error, MC_ENOMEM, "", "out of memory"); }

static void skip_space(parser *p) {
    while (p->at < p->end && (*p->at == ' ' || *p->at == '\t' || *p->at == '\n' || *p->at == '\r')) {
        p->at++;
    }
}

static bool take(parser *p, char c) {
    if (p->at < p->end && *p->at == c) {
        p->at++;
        return true;
    }
    return false;
}

static int hex4(const char *s) {
    int v = 0;
    for (int i = 0; i < 4; i++) {
        char c = mc_ascii_lower(s[i]);
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0) {
            return -1;
        }
        v = v * 16 + digit;
    }
    return v;
}

/* After "\u": one code point, of one or two escapes. Returns bytes written or 0. */
static size_t parse_unicode(parser *p, char *out) {
    if (p->end - p->at < 4) {
        return 0;
    }
    int unit = hex4(p->at);
    if (unit < 0 || (unit >= 0xdc00 && unit <= 0xdfff)) {
        return 0;
    }
    p->at += 4;
    if (unit < 0xd800 || unit > 0xdbff) {
        return mc_utf8_write(out, (uint32_t)unit);
    }
    if (p->end - p->at < 6 || p->at[0] != '\\' || p->at[1] != 'u') {
        return 0;
    }
    int low = hex4(p->at + 2);
    if (low < 0xdc00 || low > 0xdfff) {
        return 0;
    }
    p->at += 6;
    return mc_utf8_write(out, 0x10000u + (((uint32_t)unit - 0xd800u) << 10) + ((uint32_t)low - 0xdc00u));
}

static mc_status parse_escape(parser *p, char *out, size_t *n) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (p->at >= p->end) {
        return fail(p, "unfinished escape");
    }
    char c = *p->at++;
    if (c == 'u') {
        size_t written = parse_unicode(p, out + *n);
        *n += written;
        return written == 0 ? fail(p, "bad \\u escape") : MC_OK;
    }
    const char *found = c == '\0' ? NULL : strchr(from, c);
    if (found == NULL) {
        return fail(p, "unknown escape");
    }
    out[(*n)++] = to[found - from];
    return MC_OK;
}

/* Unescaping never lengthens, so the raw length bounds the copy. */
static mc_status parse_string(parser *p, mc_slice *out) {
    if (!take(p, '"')) {
        return fail(p, "expected a string");
    }
    const char *scan = p->at;
    while (scan < p->end && *scan != '"') {
        scan += *scan == '\\' ? 2 : 1;
    }
    if (scan >= p->end) {
        return fail(p, "unterminated string");
    }
    char *copy = mc_arena_bytes(p->arena, (size_t)(scan - p->at));
    if (copy == NULL) {
        return oom(p);
    }
    size_t n = 0;
    while (*p->at != '"') {
        char c = *p->at++;
        if ((unsigned char)c < 0x20) {
            return fail(p, "control character in a string");
        }
        if (c == '\\') {
            mc_status status = parse_escape(p, copy, &n);
            if (status != MC_OK) {
                return status;
            }
        } else {
            copy[n++] = c;
        }
    }
    p->at++;
    *out = mc_slice_of(copy, n);
    return MC_OK;
}

static mc_status parse_number(parser *p, mc_value *out) {
    char text[MAX_NUMBER_TEXT];
    size_t n = 0;
    while (p->at + n < p->end && n < sizeof text - 1 && p->at[n] != '\0' &&
           strchr("+-.eE0123456789", p->at[n]) != NULL) {
        text[n] = p->at[n];
        n++;
    }
    text[n] = '\0';
    char *stop;
    out->kind = MC_NUMBER;
    out->number = strtod(text, &stop);
    if (n == 0 || *stop != '\0' || !isfinite(out->number) || text[0] == '+' || text[0] == '.') {
        return fail(p, "bad value");
    }
    p->at += n;
    return MC_OK;
}

static mc_status push(parser *p, mc_slice name, mc_value value) {
    if (mc_grow(&p->values, &p->cap_values, p->count + 1, sizeof *p->values) != MC_OK ||
        mc_grow(&p->names, &p->cap_names, p->count + 1, sizeof *p->names) != MC_OK) {
        return oom(p);
    }
    p->names[p->count] = name;
    p->values[p->count++] = value;
    return MC_OK;
}

static mc_status close_container(parser *p, size_t base, bool object, mc_value *out) {
    size_t count = p->count - base;
    mc_value *items = mc_arena_alloc(p->arena, count * sizeof *items);
    mc_slice *names = object ? mc_arena_alloc(p->arena, count * sizeof *names) : NULL;
    if (items == NULL || (object && names == NULL)) {
        return oom(p);
    }
    if (count > 0) {
        memcpy(items, p->values + base, count * sizeof *items);
        if (object) {
            memcpy(names, p->names + base, count * sizeof *names);
        }
    }
    p->count = base;
    out->items = items;
    out->names = names;
    out->count = count;
    return MC_OK;
}

static mc_status parse_member(parser *p, bool object, int depth) {
    mc_slice name = MC_SLICE_NONE;
    mc_value child = {0};
    mc_status status;
    skip_space(p);
    if (object) {
        if ((status = parse_string(p, &name)) != MC_OK) {
            return status;
        }
        skip_space(p);
        if (!take(p, ':')) {
            return fail(p, "expected ':'");
        }
    }
    if ((status = parse_value(p, &child, depth)) != MC_OK) {
        return status;
    }
    return push(p, name, child);
}

static mc_status parse_container(parser *p, mc_value *out, bool object, int depth) {
    const char close = object ? '}' : ']';
    size_t base = p->count;
    if (depth >= MAX_DEPTH) {
        return fail(p, "nested too deeply");
    }
    p->at++;
    out->kind = object ? MC_OBJECT : MC_LIST;
    skip_space(p);
    if (take(p, close)) {
        return close_container(p, base, object, out);
    }
    for (;;) {
        mc_status status = parse_member(p, object, depth + 1);
        if (status != MC_OK) {
            return status;
        }
        skip_space(p);
        if (take(p, close)) {
            return close_container(p, base, object, out);
        }
        if (!take(p, ',')) {
            return fail(p, "expected ',' or a closing bracket");
        }
    }
}

static bool take_word(parser *p, mc_slice word) {
    if (!mc_slice_has_prefix(mc_slice_of(p->at, (size_t)(p->end - p->at)), word)) {
        return false;
    }
    p->at += word.n;
    return true;
}

static mc_status parse_value(parser *p, mc_value *out, int depth) {
    skip_space(p);
    if (p->at >= p->end) {
        return fail(p, "unexpected end");
    }
    switch (*p->at) {
    case '{':
    case '[': return parse_container(p, out, *p->at == '{', depth);
    case '"': out->kind = MC_STRING; return parse_string(p, &out->string);
    default:
        if (take_word(p, MC_SLICE("null"))) {
            out->kind = MC_NULL;
            return MC_OK;
        }
        if (take_word(p, MC_SLICE("true")) || take_word(p, MC_SLICE("false"))) {
            out->kind = MC_BOOL;
            out->boolean = p->at[-2] == 'u';
            return MC_OK;
        }
        return parse_number(p, out);
    }
}

mc_status mc_value_parse(mc_arena *arena, mc_slice json, const mc_value **out, mc_error *error) {
    json = json.p == NULL ? MC_SLICE("") : json;
    parser p = {.start = json.p, .at = json.p, .end = json.p + json.n, .arena = arena, .error = error};
    mc_value *root = mc_arena_zalloc(arena, sizeof *root);
    mc_status status = root == NULL ? oom(&p) : parse_value(&p, root, 0);
    if (status == MC_OK) {
        skip_space(&p);
        status = p.at == p.end ? MC_OK : fail(&p, "trailing bytes");
    }
    mc_free(p.values);
    mc_free(p.names);
    if (status == MC_OK) {
        *out = root;
    }
    return status;
}
