#include "base/value.h"

#include <math.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/base64.h"

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

static size_t put_utf8(char *out, uint32_t c) {
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | (c >> 6));
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | (c >> 12));
        out[1] = (char)(0x80 | ((c >> 6) & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | (c >> 18));
    out[1] = (char)(0x80 | ((c >> 12) & 0x3f));
    out[2] = (char)(0x80 | ((c >> 6) & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
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
        return put_utf8(out, (uint32_t)unit);
    }
    if (p->end - p->at < 6 || p->at[0] != '\\' || p->at[1] != 'u') {
        return 0;
    }
    int low = hex4(p->at + 2);
    if (low < 0xdc00 || low > 0xdfff) {
        return 0;
    }
    p->at += 6;
    return put_utf8(out, 0x10000u + (((uint32_t)unit - 0xd800u) << 10) + ((uint32_t)low - 0xdc00u));
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

const mc_value *mc_value_get(const mc_value *object, const char *name) {
    if (object == NULL || object->kind != MC_OBJECT) {
        return NULL;
    }
    mc_slice wanted = mc_slice_cstr(name);
    for (size_t i = 0; i < object->count; i++) {
        if (mc_slice_eq(object->names[i], wanted)) {
            return object->items[i].kind == MC_NULL ? NULL : &object->items[i];
        }
    }
    return NULL;
}

/* Nesting is bounded by the parser. */
static mc_status copy_into(mc_arena *arena, const mc_value *value, mc_value *out) {
    *out = *value;
    if (value->kind == MC_STRING) {
        return mc_arena_dup(arena, value->string, &out->string);
    }
    if ((value->kind != MC_LIST && value->kind != MC_OBJECT) || value->count == 0) {
        return MC_OK;
    }
    mc_value *items = mc_arena_alloc(arena, value->count * sizeof *items);
    mc_slice *names = value->names == NULL ? NULL : mc_arena_alloc(arena, value->count * sizeof *names);
    if (items == NULL || (value->names != NULL && names == NULL)) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < value->count; i++) {
        mc_status status = names == NULL ? MC_OK : mc_arena_dup(arena, value->names[i], &names[i]);
        if (status == MC_OK) {
            status = copy_into(arena, &value->items[i], &items[i]);
        }
        if (status != MC_OK) {
            return status;
        }
    }
    out->items = items;
    out->names = names;
    return MC_OK;
}

mc_status mc_value_copy(mc_arena *arena, const mc_value *value, const mc_value **out) {
    mc_value *copy = mc_arena_alloc(arena, sizeof *copy);
    *out = copy;
    return copy == NULL ? MC_ENOMEM : copy_into(arena, value, copy);
}

mc_status mc_value_read_bool(const mc_value *object, const char *name, bool *out, mc_error *error) {
    const mc_value *v = mc_value_get(object, name);
    if (v == NULL) {
        return MC_OK;
    }
    if (v->kind != MC_BOOL) {
        return mc_error_set(error, MC_EINVAL, name, "must be true or false");
    }
    *out = v->boolean;
    return MC_OK;
}

mc_status mc_value_read_u64(const mc_value *object, const char *name, uint64_t *out, mc_error *error) {
    const mc_value *v = mc_value_get(object, name);
    if (v == NULL) {
        return MC_OK;
    }
    if (v->kind == MC_STRING && mc_slice_u64(v->string, out) == MC_OK) {
        return MC_OK;
    }
    if (v->kind == MC_NUMBER && v->number >= 0 && v->number <= 9007199254740992.0 && v->number == floor(v->number)) {
        *out = (uint64_t)v->number;
        return MC_OK;
    }
    return mc_error_set(error, MC_EINVAL, name, "must be an integer of at least 0");
}

mc_status mc_value_read_u32(const mc_value *object, const char *name, uint32_t *out, mc_error *error) {
    uint64_t wide = *out;
    mc_status status = mc_value_read_u64(object, name, &wide, error);
    if (status != MC_OK) {
        return status;
    }
    if (wide > UINT32_MAX) {
        return mc_error_set(error, MC_EINVAL, name, "must be at most %u", UINT32_MAX);
    }
    *out = (uint32_t)wide;
    return MC_OK;
}

mc_status mc_value_read_i64(const mc_value *object, const char *name, int64_t *out, mc_error *error) {
    const mc_value *v = mc_value_get(object, name);
    if (v == NULL) {
        return MC_OK;
    }
    if (v->kind == MC_STRING && mc_slice_i64(v->string, out) == MC_OK) {
        return MC_OK;
    }
    if (v->kind == MC_NUMBER && fabs(v->number) <= 9007199254740992.0 && v->number == floor(v->number)) {
        *out = (int64_t)v->number;
        return MC_OK;
    }
    return mc_error_set(error, MC_EINVAL, name, "must be an integer");
}

mc_status mc_value_read_double(const mc_value *object, const char *name, double *out, mc_error *error) {
    const mc_value *v = mc_value_get(object, name);
    if (v == NULL) {
        return MC_OK;
    }
    if (v->kind != MC_NUMBER) {
        return mc_error_set(error, MC_EINVAL, name, "must be a number");
    }
    *out = v->number;
    return MC_OK;
}

mc_status mc_value_read_string(const mc_value *object, const char *name, mc_slice *out, mc_error *error) {
    const mc_value *v = mc_value_get(object, name);
    if (v == NULL) {
        return MC_OK;
    }
    if (v->kind != MC_STRING) {
        return mc_error_set(error, MC_EINVAL, name, "must be a string");
    }
    *out = v->string;
    return MC_OK;
}

/* Value of a digit of either base64 alphabet, or -1. */
mc_status mc_value_read_bytes(const mc_value *object, const char *name, mc_arena *arena, mc_slice *out,
                              mc_error *error) {
    mc_slice text = MC_SLICE_NONE;
    mc_status status = mc_value_read_string(object, name, &text, error);
    if (status != MC_OK || text.n == 0) {
        return status;
    }
    char *bytes = mc_arena_bytes(arena, text.n);
    if (bytes == NULL) {
        return MC_ENOMEM;
    }
    long n = mc_base64_decode(text, bytes);
    if (n < 0) {
        return mc_error_set(error, MC_EINVAL, name, "must be base64");
    }
    *out = mc_slice_of(bytes, (size_t)n);
    return MC_OK;
}

/* proto3 JSON: [-]seconds[.fraction of up to nine digits]s; BOOT-6 forbids negative ones. */
static mc_status parse_duration_ms(mc_slice text, uint64_t *out) {
    if (text.n < 2 || text.p[text.n - 1] != 's') {
        return MC_EINVAL;
    }
    text = mc_slice_until(text, text.n - 1);
    size_t dot = mc_slice_find(text, '.');
    uint64_t seconds, millis = 0;
    if (mc_slice_u64(mc_slice_until(text, dot), &seconds) != MC_OK || seconds > UINT64_MAX / 1000 - 1) {
        return MC_EINVAL;
    }
    mc_slice fraction = mc_slice_from(text, dot + 1);
    if (dot < text.n && (fraction.n == 0 || fraction.n > 9)) {
        return MC_EINVAL;
    }
    uint64_t scale = 100;
    for (size_t i = 0; i < fraction.n; i++, scale /= 10) {
        if (fraction.p[i] < '0' || fraction.p[i] > '9') {
            return MC_EINVAL;
        }
        millis += (uint64_t)(fraction.p[i] - '0') * scale;
    }
    *out = seconds * 1000 + millis;
    return MC_OK;
}

mc_status mc_value_read_duration_ms(const mc_value *object, const char *name, uint64_t *out, mc_error *error) {
    const mc_value *v = mc_value_get(object, name);
    if (v == NULL) {
        return MC_OK;
    }
    if (v->kind != MC_STRING || parse_duration_ms(v->string, out) != MC_OK) {
        return mc_error_set(error, MC_EINVAL, name, "must be a duration of at least 0 such as \"1.5s\"");
    }
    return MC_OK;
}

mc_status mc_value_read_list(const mc_value *object, const char *name, const mc_value **out, size_t *count,
                             mc_error *error) {
    const mc_value *v = mc_value_get(object, name);
    *out = NULL;
    *count = 0;
    if (v == NULL) {
        return MC_OK;
    }
    if (v->kind != MC_LIST) {
        return mc_error_set(error, MC_EINVAL, name, "must be a list");
    }
    *out = v->items;
    *count = v->count;
    return MC_OK;
}

mc_status mc_value_read_object(const mc_value *object, const char *name, const mc_value **out, mc_error *error) {
    const mc_value *v = mc_value_get(object, name);
    *out = NULL;
    if (v == NULL) {
        return MC_OK;
    }
    if (v->kind != MC_OBJECT) {
        return mc_error_set(error, MC_EINVAL, name, "must be an object");
    }
    *out = v;
    return MC_OK;
}
