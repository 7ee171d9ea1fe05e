#include "cel/lex.h"

#include "base/utf8.h"

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_hex(char c) { return is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f'); }
static bool is_letter(char c) { return ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '_'; }

/* NUL behind the end. */
static char peek(const mc_cel_lexer *l, size_t ahead) {
    return l->at + ahead < l->source.n ? l->source.p[l->at + ahead] : '\0';
}

static void skip_blanks(mc_cel_lexer *l) {
    for (; l->at < l->source.n; l->at++) {
        char c = peek(l, 0);
        if (c == '/' && peek(l, 1) == '/') {
            while (l->at < l->source.n && peek(l, 0) != '\n') {
                l->at++;
            }
            l->at--;
        } else if (c != ' ' && c != '\t' && c != '\n' && c != '\r' && c != '\f') {
            return;
        }
    }
}

static void take(mc_cel_lexer *l, mc_cel_token token, size_t end) {
    l->token = token;
    l->text = mc_slice_of(l->source.p + l->start, end - l->start);
    l->at = end;
}

static void lex_number(mc_cel_lexer *l) {
    mc_cel_token token = MC_CEL_TOKEN_INT;
    if (peek(l, 0) == '0' && peek(l, 1) == 'x' && is_hex(peek(l, 2))) {
        for (l->at += 2; is_hex(peek(l, 0)); l->at++) {
        }
    } else {
        while (is_digit(peek(l, 0))) {
            l->at++;
        }
        if (peek(l, 0) == '.' && is_digit(peek(l, 1))) {
            token = MC_CEL_TOKEN_DOUBLE;
            for (l->at++; is_digit(peek(l, 0)); l->at++) {
            }
        }
        size_t sign = peek(l, 1) == '+' || peek(l, 1) == '-';
        if ((peek(l, 0) | 0x20) == 'e' && is_digit(peek(l, 1 + sign))) {
            token = MC_CEL_TOKEN_DOUBLE;
            for (l->at += 1 + sign; is_digit(peek(l, 0)); l->at++) {
            }
        }
    }
    size_t end = l->at;
    if (token == MC_CEL_TOKEN_INT && (peek(l, 0) | 0x20) == 'u') {
        token = MC_CEL_TOKEN_UINT;
        l->at++;
    }
    const size_t next = l->at;
    take(l, token, end);
    l->at = next;
}

/* How many characters stand before the quote of a string; SIZE_MAX: it is none. */
static size_t string_prefix(const mc_cel_lexer *l, bool *raw, bool *bytes) {
    size_t n = 0;
    *bytes = (peek(l, 0) | 0x20) == 'b';
    n += *bytes;
    *raw = (peek(l, n) | 0x20) == 'r';
    n += *raw;
    return peek(l, n) == '"' || peek(l, n) == '\'' ? n : SIZE_MAX;
}

static void lex_string(mc_cel_lexer *l, size_t prefix, bool bytes) {
    l->at += prefix;
    const char quote = peek(l, 0);
    const bool triple = peek(l, 1) == quote && peek(l, 2) == quote;
    l->at += triple ? 3 : 1;
    const size_t begin = l->at;
    for (; l->at < l->source.n; l->at++) {
        char c = peek(l, 0);
        if (c == quote && (!triple || (peek(l, 1) == quote && peek(l, 2) == quote))) {
            l->token = bytes ? MC_CEL_TOKEN_BYTES : MC_CEL_TOKEN_STRING;
            l->text = mc_slice_of(l->source.p + begin, l->at - begin);
            l->at += triple ? 3 : 1;
            return;
        }
        if (!triple && (c == '\n' || c == '\r')) {
            break;
        }
        l->at += c == '\\' && !l->raw;
    }
    l->at = l->at < l->source.n ? l->at : l->source.n;
    l->token = MC_CEL_TOKEN_BAD;
}

static void lex_sign(mc_cel_lexer *l) {
    static const char *const pairs[] = {"&&", "||", "==", "!=", "<=", ">="};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        if (peek(l, 0) == pairs[i][0] && peek(l, 1) == pairs[i][1]) {
            take(l, MC_CEL_TOKEN_SIGN, l->at + 2);
            return;
        }
    }
    take(l, strchr("+-*/%<>!?:,.()[]{}", peek(l, 0)) != NULL ? MC_CEL_TOKEN_SIGN : MC_CEL_TOKEN_BAD, l->at + 1);
}

void mc_cel_lex_next(mc_cel_lexer *l) {
    bool bytes;
    skip_blanks(l);
    l->start = l->at;
    if (l->at >= l->source.n) {
        l->token = MC_CEL_TOKEN_END;
        l->text = MC_SLICE_NONE;
        return;
    }
    if (peek(l, 0) == '\0') {
        take(l, MC_CEL_TOKEN_BAD, l->at + 1);
        return;
    }
    size_t prefix = string_prefix(l, &l->raw, &bytes);
    if (prefix != SIZE_MAX) {
        lex_string(l, prefix, bytes);
    } else if (is_digit(peek(l, 0)) || (peek(l, 0) == '.' && is_digit(peek(l, 1)))) {
        lex_number(l);
    } else if (is_letter(peek(l, 0))) {
        size_t end = l->at;
        while (end < l->source.n && (is_letter(l->source.p[end]) || is_digit(l->source.p[end]))) {
            end++;
        }
        take(l, MC_CEL_TOKEN_IDENT, end);
    } else {
        lex_sign(l);
    }
}

void mc_cel_lex_start(mc_cel_lexer *lexer, mc_slice source) {
    *lexer = (mc_cel_lexer){.source = source};
    mc_cel_lex_next(lexer);
}

/* --- escapes ------------------------------------------------------------------------------------------------------------- */

/* `n` digits of the base at s[from]. */
static bool read_digits(mc_slice s, size_t from, size_t n, unsigned base, uint32_t *out) {
    *out = 0;
    for (size_t i = from; i < from + n; i++) {
        char c = i < s.n ? s.p[i] : '\0';
        if (base == 8 ? c < '0' || c > '7' : !is_hex(c)) {
            return false;
        }
        *out = *out * base + (uint32_t)(is_digit(c) ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return true;
}

/* One escape at s[at], a backslash; returns its length, 0: wrong. */
static size_t undo(mc_slice s, size_t at, bool bytes, char *out, size_t *written) {
    static const char names[] = "abfnrtv\\?\"'`", values[] = "\a\b\f\n\r\t\v\\?\"'`";
    const char c = at + 1 < s.n ? s.p[at + 1] : '\0';
    const char *name = c == '\0' ? NULL : strchr(names, c);
    uint32_t code;
    size_t digits = 0;
    if (name != NULL) {
        *out = values[name - names];
        *written = 1;
        return 2;
    }
    switch (c) {
    case 'x':
    case 'X': digits = 2; break;
    case 'u': digits = 4; break;
    case 'U': digits = 8; break;
    default: break;
    }
    if (digits == 0) {
        if (c < '0' || c > '3' || !read_digits(s, at + 1, 3, 8, &code)) {
            return 0;
        }
        digits = 2; /* the third one stands where others have their letter */
    } else if (!read_digits(s, at + 2, digits, 16, &code) || code > 0x10ffff || (code >= 0xd800 && code < 0xe000) ||
               (bytes && digits > 2)) {
        return 0;
    }
    if (bytes) {
        *out = (char)code;
        *written = 1;
    } else {
        *written = mc_utf8_write(out, code);
    }
    return 2 + digits;
}

mc_status mc_cel_lex_unescape(const mc_cel_lexer *l, mc_arena *arena, mc_slice *out) {
    const mc_slice s = l->text;
    if (l->raw || mc_slice_find(s, '\\') == s.n) {
        return mc_arena_dup(arena, s, out);
    }
    char *copy = mc_arena_bytes(arena, s.n + 4);
    size_t n = 0;
    if (copy == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < s.n;) {
        size_t written = 1, length = 1;
        if (s.p[i] != '\\') {
            copy[n] = s.p[i];
        } else if ((length = undo(s, i, l->token == MC_CEL_TOKEN_BYTES, copy + n, &written)) == 0) {
            return MC_EINVAL;
        }
        i += length;
        n += written;
    }
    *out = mc_slice_of(copy, n);
    return MC_OK;
}
