/* Functions over strings. Positions count code points, and a string that is no UTF-8 counts its bytes that begin one. */
#include "cel/node.h"

static mc_cel failed(mc_cel_context *ctx) {
    ctx->failed = true;
    return MC_CEL_FAILED;
}

/* --- regular expressions ------------------------------------------------------------------------------------------------------- */

/* NULL: wrong, or out of memory. */
static const mc_regex *pattern(const mc_cel_node *node, const mc_cel *value, mc_cel_context *ctx) {
    const mc_regex *regex = node->regex;
    mc_error error;
    if (regex == NULL) {
        mc_status status = mc_regex_compile(ctx->arena, value->text, MC_REGEX_PROGRAM_SIZE, &regex, &error);
        ctx->failed = ctx->failed || status == MC_ENOMEM;
        regex = status == MC_OK ? regex : NULL;
    }
    return regex;
}

static mc_cel matches(const mc_regex *regex, mc_slice text, mc_cel_context *ctx) {
    int found = mc_regex_find(regex, text);
    return found < 0 ? failed(ctx) : mc_cel_bool(found == 1);
}

/* The whole text must match; the first group is the result. */
static mc_cel capture(const mc_regex *regex, mc_slice text, mc_cel_context *ctx) {
    mc_slice group;
    if (mc_regex_group_count(regex) < 1) {
        return MC_CEL_FAILED;
    }
    int found = mc_regex_groups(regex, text, 0, &group, 1);
    return found < 0 ? failed(ctx) : found == 0 ? MC_CEL_FAILED : mc_cel_string(group);
}

/* The whole text must match; \0 to \9 of `with` are what was captured. */
static mc_cel extract(const mc_regex *regex, mc_slice text, mc_slice with, mc_cel_context *ctx) {
    mc_slice groups[10], whole;
    const int count = mc_regex_group_count(regex) < 9 ? mc_regex_group_count(regex) : 9;
    int found = mc_regex_groups(regex, text, 0, groups + 1, count);
    if (found != 1) {
        return found < 0 ? failed(ctx) : MC_CEL_FAILED;
    }
    groups[0] = text;
    mc_text out;
    mc_text_init(&out);
    bool good = true;
    for (size_t i = 0; i < with.n && good; i++) {
        const char next = with.p[i] == '\\' && i + 1 < with.n ? with.p[i + 1] : '\0';
        if (with.p[i] != '\\') {
            mc_text_add(&out, mc_slice_of(with.p + i, 1));
            continue;
        }
        good = next == '\\' || (next >= '0' && next <= '9' && next - '0' <= count);
        if (good) {
            mc_text_add(&out, next == '\\' ? MC_SLICE("\\") : groups[next - '0']);
            i++;
        }
    }
    ctx->failed = ctx->failed || out.failed || (good && mc_arena_dup(ctx->arena, mc_text_slice(&out), &whole) != MC_OK);
    mc_text_fini(&out);
    return good && !ctx->failed ? mc_cel_string(whole) : MC_CEL_FAILED;
}

/* --- code points -------------------------------------------------------------------------------------------------------------------- */

/* Where the code point of this number begins; SIZE_MAX: the text is shorter. */
static size_t offset_of(mc_slice s, int64_t index) {
    size_t at = 0;
    if (index < 0) {
        return SIZE_MAX;
    }
    for (; at < s.n; at++) {
        if ((s.p[at] & 0xc0) != 0x80 && index-- == 0) {
            return at;
        }
    }
    return index == 0 ? at : SIZE_MAX;
}

static int64_t index_at(mc_slice s, size_t offset) {
    int64_t index = 0;
    for (size_t i = 0; i < offset; i++) {
        index += (s.p[i] & 0xc0) != 0x80;
    }
    return index;
}

static mc_cel substring(mc_slice s, int64_t from, const mc_cel *to) {
    const size_t begin = offset_of(s, from), end = to == NULL ? s.n : offset_of(s, to->i);
    return begin == SIZE_MAX || end == SIZE_MAX || begin > end ? MC_CEL_FAILED
                                                               : mc_cel_string(mc_slice_of(s.p + begin, end - begin));
}

static mc_cel char_at(mc_slice s, int64_t index) {
    const size_t begin = offset_of(s, index), end = index < INT64_MAX ? offset_of(s, index + 1) : SIZE_MAX;
    return begin == SIZE_MAX ? MC_CEL_FAILED
                             : mc_cel_string(mc_slice_of(s.p + begin, end == SIZE_MAX ? 0 : end - begin));
}

static mc_cel index_of(mc_slice s, mc_slice part, const mc_cel *from) {
    const size_t begin = from == NULL ? 0 : offset_of(s, from->i);
    if (begin == SIZE_MAX) {
        return MC_CEL_FAILED;
    }
    size_t found = mc_slice_search(mc_slice_of(s.p + begin, s.n - begin), part);
    return mc_cel_int(found == SIZE_MAX ? -1 : index_at(s, begin + found));
}

static mc_cel last_index_of(mc_slice s, mc_slice part, const mc_cel *from) {
    size_t at = from == NULL ? s.n : offset_of(s, from->i);
    if (at == SIZE_MAX) {
        return MC_CEL_FAILED;
    }
    if (part.n > s.n) {
        return mc_cel_int(-1);
    }
    for (at = at > s.n - part.n ? s.n - part.n : at;; at--) {
        if (mc_slice_has_prefix(mc_slice_of(s.p + at, s.n - at), part)) {
            return mc_cel_int(index_at(s, at));
        }
        if (at == 0) {
            return mc_cel_int(-1);
        }
    }
}

/* --- new texts ------------------------------------------------------------------------------------------------------------------------ */

static mc_cel change_case(mc_slice s, bool lower, mc_cel_context *ctx) {
    char *copy = mc_arena_bytes(ctx->arena, s.n);
    if (copy == NULL) {
        return failed(ctx);
    }
    for (size_t i = 0; i < s.n; i++) {
        const char c = s.p[i];
        copy[i] = lower ? mc_ascii_lower(c) : c >= 'a' && c <= 'z' ? (char)(c - 0x20) : c;
    }
    return mc_cel_string(mc_slice_of(copy, s.n));
}

static mc_cel trim(mc_slice s) {
    while (s.n > 0 && (s.p[0] == ' ' || (s.p[0] >= '\t' && s.p[0] <= '\r'))) {
        s = mc_slice_of(s.p + 1, s.n - 1);
    }
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || (s.p[s.n - 1] >= '\t' && s.p[s.n - 1] <= '\r'))) {
        s.n--;
    }
    return mc_cel_string(s);
}

static mc_cel concat(const mc_cel *a, const mc_cel *b, mc_cel_context *ctx) {
    const mc_slice parts[] = {a->text, b->text};
    mc_slice whole;
    if (a->kind != b->kind) {
        return MC_CEL_FAILED;
    }
    if (mc_arena_concat(ctx->arena, parts, 2, &whole) != MC_OK) {
        return failed(ctx);
    }
    return a->kind == MC_CEL_STRING ? mc_cel_string(whole) : mc_cel_bytes(whole);
}

static mc_cel replace(mc_slice s, mc_slice part, mc_slice with, const mc_cel *most, mc_cel_context *ctx) {
    int64_t left = most == NULL || most->i < 0 ? INT64_MAX : most->i;
    mc_slice whole = MC_SLICE("");
    mc_text out;
    mc_text_init(&out);
    while (left-- > 0) {
        const size_t found = mc_slice_search(s, part);
        if (found == SIZE_MAX) {
            break;
        }
        mc_text_add(&out, mc_slice_until(s, found));
        mc_text_add(&out, with);
        if (part.n == 0 && s.n == 0) { /* nothing is everywhere: before each code point, and at the end */
            break;
        }
        const size_t next = part.n == 0 ? offset_of(s, 1) : found + part.n;
        mc_text_add(&out, part.n == 0 ? mc_slice_until(s, next) : MC_SLICE_NONE);
        s = mc_slice_from(s, next);
    }
    mc_text_add(&out, s);
    if (out.failed || mc_arena_dup(ctx->arena, mc_text_slice(&out), &whole) != MC_OK) {
        ctx->failed = true;
    }
    mc_text_fini(&out);
    return ctx->failed ? MC_CEL_FAILED : mc_cel_string(whole);
}

static mc_cel split(mc_slice s, mc_slice by, const mc_cel *most, mc_cel_context *ctx) {
    uint32_t count = 0, room = 1;
    const int64_t limit = most == NULL || most->i < 0 ? INT64_MAX : most->i;
    for (mc_slice rest = s; by.n > 0;) {
        size_t found = mc_slice_search(rest, by);
        if (found == SIZE_MAX) {
            break;
        }
        rest = mc_slice_of(rest.p + found + by.n, rest.n - found - by.n);
        room++;
    }
    room = by.n == 0 ? (uint32_t)s.n + 1 : room;
    mc_cel *items = mc_arena_alloc(ctx->arena, room * sizeof *items);
    if (items == NULL) {
        return failed(ctx);
    }
    while (limit > 0 && count + 1 < limit) {
        size_t found = by.n == 0 ? offset_of(s, 1) : mc_slice_search(s, by);
        if (found == SIZE_MAX || (by.n == 0 && found >= s.n)) {
            break;
        }
        items[count++] = mc_cel_string(mc_slice_of(s.p, found));
        s = mc_slice_of(s.p + found + by.n, s.n - found - by.n);
    }
    if (limit > 0) {
        items[count++] = mc_cel_string(s);
    }
    return (mc_cel){.kind = MC_CEL_LIST, .form = MC_CEL_ITEMS, .count = count, .items = items};
}

static mc_cel join(const mc_cel *list, mc_slice by, mc_cel_context *ctx) {
    mc_slice whole = MC_SLICE("");
    bool good = true;
    mc_text out;
    mc_text_init(&out);
    for (uint32_t i = 0, count = mc_cel_size(list); i < count && good; i++) {
        mc_cel item = mc_cel_list_item(list, i);
        good = item.kind == MC_CEL_STRING;
        mc_text_add(&out, i > 0 ? by : MC_SLICE_NONE);
        mc_text_add(&out, good ? item.text : MC_SLICE_NONE);
    }
    if (out.failed || mc_arena_dup(ctx->arena, mc_text_slice(&out), &whole) != MC_OK) {
        ctx->failed = true;
    }
    mc_text_fini(&out);
    return good && !ctx->failed ? mc_cel_string(whole) : MC_CEL_FAILED;
}

/* Which kinds the arguments must be of: the target, and up to three more. */
static bool kinds_are(const mc_cel *args, uint32_t count, const char *kinds) {
    for (uint32_t i = 0; i < count; i++) {
        if (args[i].kind != (kinds[i] == 's' ? MC_CEL_STRING : kinds[i] == 'i' ? MC_CEL_INT : MC_CEL_LIST)) {
            return false;
        }
    }
    return true;
}

mc_cel mc_cel_text_function(const mc_cel_node *node, const mc_cel *args, mc_cel_context *ctx) {
    static const char *const kinds[] = {
        [MC_CEL_CONTAINS] = "ss",  [MC_CEL_STARTS_WITH] = "ss", [MC_CEL_ENDS_WITH] = "ss",
        [MC_CEL_MATCHES] = "ss",   [MC_CEL_CAPTURE] = "ss",     [MC_CEL_EXTRACT] = "sss",
        [MC_CEL_LOWER] = "s",      [MC_CEL_UPPER] = "s",        [MC_CEL_TRIM] = "s",
        [MC_CEL_REPLACE] = "sssi", [MC_CEL_SUBSTRING] = "sii",  [MC_CEL_INDEX_OF] = "ssi",
        [MC_CEL_SPLIT] = "ssi",    [MC_CEL_JOIN] = "ls",        [MC_CEL_LAST_INDEX_OF] = "ssi",
        [MC_CEL_CHAR_AT] = "si"};
    const mc_regex *regex = NULL;
    if (node->op == MC_CEL_ADD) {
        return node->attribute != 0 ? MC_CEL_FAILED : concat(&args[0], &args[1], ctx);
    }
    if (!kinds_are(args, node->count, kinds[node->op])) {
        return MC_CEL_FAILED;
    }
    if (node->op >= MC_CEL_MATCHES && node->op <= MC_CEL_EXTRACT && (regex = pattern(node, &args[1], ctx)) == NULL) {
        return MC_CEL_FAILED;
    }
    const mc_slice s = args[0].text;
    const mc_cel *third = node->count > 2 ? &args[2] : NULL;
    switch (node->op) {
    case MC_CEL_CONTAINS: return mc_cel_bool(mc_slice_search(s, args[1].text) != SIZE_MAX);
    case MC_CEL_STARTS_WITH: return mc_cel_bool(mc_slice_has_prefix(s, args[1].text));
    case MC_CEL_ENDS_WITH: return mc_cel_bool(mc_slice_has_suffix(s, args[1].text));
    case MC_CEL_MATCHES: return matches(regex, s, ctx);
    case MC_CEL_CAPTURE: return capture(regex, s, ctx);
    case MC_CEL_EXTRACT: return extract(regex, s, args[2].text, ctx);
    case MC_CEL_LOWER:
    case MC_CEL_UPPER: return change_case(s, node->op == MC_CEL_LOWER, ctx);
    case MC_CEL_TRIM: return trim(s);
    case MC_CEL_REPLACE: return replace(s, args[1].text, args[2].text, node->count > 3 ? &args[3] : NULL, ctx);
    case MC_CEL_SUBSTRING: return substring(s, args[1].i, third);
    case MC_CEL_INDEX_OF: return index_of(s, args[1].text, third);
    case MC_CEL_LAST_INDEX_OF: return last_index_of(s, args[1].text, third);
    case MC_CEL_CHAR_AT: return char_at(s, args[1].i);
    case MC_CEL_SPLIT: return split(s, args[1].text, third, ctx);
    case MC_CEL_JOIN: return join(&args[0], node->count > 1 ? args[1].text : MC_SLICE(""), ctx);
    default: return MC_CEL_FAILED;
    }
}
