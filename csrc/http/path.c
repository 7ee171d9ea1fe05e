/* Path normalisation (HC-30 to HC-32): three rewrites, in order, of the part before '?'. */
#include "http/uri.h"

typedef struct path_text {
    char *p;
    size_t n;
    size_t stray; /* 1 + index of the last '%' that starts no escape; 0: none */
} path_text;

static bool is_slash(char c) { return c == '/' || c == '\\'; }

/* What to do with a byte of a path: browsers agree on this table. */
typedef enum treatment { KEEP, UNRESERVED, ESCAPE, REFUSE } treatment;

static treatment treat(unsigned char c) {
    if (c == 0) {
        return REFUSE;
    }
    if ((c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c == '-' || c == '_' || c == '~') {
        return UNRESERVED;
    }
    return c <= ' ' || c >= 0x7f || strchr("\"#<>?\\^`{|}", c) != NULL ? ESCAPE : KEEP;
}

/* Length of a dot, plain or escaped, at the start of `s`; 0 when there is none. */
static size_t dot_length(mc_slice s) { return s.n > 0 && s.p[0] == '.' ? 1 : mc_percent_byte(s) == '.' ? 3 : 0; }

static bool ends_segment(mc_slice s) { return s.n == 0 || is_slash(s.p[0]); }

static void back_to_parent(path_text *out) {
    if (out->n > 1) {
        out->n--; /* the slash before the dots */
        while (out->p[out->n - 1] != '/') {
            out->n--;
        }
        out->stray = out->stray > out->n ? 0 : out->stray;
    }
}

/* A dot at the start of `s`: resolves "." and ".." that fill a segment; returns what was consumed. */
static size_t take_dot(path_text *out, mc_slice s, size_t dot) {
    if (out->n > 0 && out->p[out->n - 1] == '/') {
        mc_slice after = mc_slice_from(s, dot);
        if (ends_segment(after)) {
            return dot + (after.n > 0);
        }
        size_t second = dot_length(after);
        after = mc_slice_from(after, second);
        if (second > 0 && ends_segment(after)) {
            back_to_parent(out);
            return dot + second + (after.n > 0);
        }
    }
    out->p[out->n++] = '.';
    return dot;
}

static void put_escaped(path_text *out, unsigned char c) {
    out->p[out->n++] = '%';
    out->p[out->n++] = "0123456789ABCDEF"[c >> 4];
    out->p[out->n++] = "0123456789ABCDEF"[c & 15];
}

/* After decoding a byte: a stray '%' shortly before it must not become an escape that the client did not write ("%%34%31"
 * is not "%41"), so it is escaped itself. `next` is the input that follows. */
static void guard_stray(path_text *out, mc_slice next) {
    size_t after = out->stray == 0 ? 0 : out->n - out->stray; /* bytes behind the '%' */
    if (after == 0 || after > 2) {
        return;
    }
    char escape[3] = {'%', out->p[out->stray], after == 2 ? out->p[out->stray + 1] : next.n > 0 ? next.p[0] : '%'};
    if (mc_percent_byte((mc_slice){escape, 3}) >= 0) {
        memmove(out->p + out->stray + 2, out->p + out->stray, after);
        memcpy(out->p + out->stray, "25", 2);
        out->n += 2;
    }
}

/* HC-32; `out` has room for three times the path and a slash. */
static mc_status canonicalize(mc_slice path, path_text *out) {
    if (path.n == 0 || !is_slash(path.p[0])) {
        out->p[out->n++] = '/';
    }
    while (path.n > 0) {
        unsigned char c = (unsigned char)path.p[0];
        size_t dot = dot_length(path), used = 1;
        if (dot > 0) {
            used = take_dot(out, path, dot);
        } else if (c == '\\') {
            out->p[out->n++] = '/';
        } else if (c == '%' && mc_percent_byte(path) >= 0) {
            unsigned char byte = (unsigned char)mc_percent_byte(path);
            if (treat(byte) == REFUSE) {
                return MC_EINVAL;
            }
            if (treat(byte) == UNRESERVED) {
                out->p[out->n++] = (char)byte;
                guard_stray(out, mc_slice_from(path, 3));
            } else { /* kept as written, the case of its digits too */
                memcpy(out->p + out->n, path.p, 3);
                out->n += 3;
            }
            used = 3;
        } else if (c == '%') {
            out->p[out->n++] = '%';
            out->stray = out->n;
        } else if (treat(c) == REFUSE) {
            return MC_EINVAL;
        } else if (treat(c) == ESCAPE) {
            put_escaped(out, c);
        } else {
            out->p[out->n++] = (char)c;
        }
        path = mc_slice_from(path, used);
    }
    return MC_OK;
}

/* In place: never longer. A path of slashes alone keeps two, its first and its last, as Envoy does. */
static void merge_slashes(path_text *path) {
    size_t n = 0, before = path->n;
    for (size_t i = 0; i < path->n; i++) {
        if (path->p[i] != '/' || n == 0 || path->p[n - 1] != '/') {
            path->p[n++] = path->p[i];
        }
    }
    path->n = n == 1 && before > 1 ? 2 : n; /* the second is still in its place */
}

/* Copies `path` with %2F and %5C decoded (HC-31); true when there were any. */
static bool unescape_slashes(mc_slice path, path_text *out) {
    bool found = false;
    for (size_t i = 0; i < path.n; i++) {
        int byte = path.p[i] == '%' ? mc_percent_byte(mc_slice_from(path, i)) : -1;
        bool slash = byte == '/' || byte == '\\';
        out->p[out->n++] = slash ? (char)byte : path.p[i];
        i += slash ? 2 : 0;
        found |= slash;
    }
    return found;
}

/* Most paths need nothing done; this sees that in one look. False: some rewrite may apply. */
static bool is_plain(mc_slice path) {
    for (size_t i = 0; i < path.n; i++) {
        unsigned char c = (unsigned char)path.p[i];
        bool after_slash = i > 0 && path.p[i - 1] == '/';
        if (c == '%' || (c == '.' && after_slash) || (c == '/' && after_slash) || treat(c) >= ESCAPE) {
            return false;
        }
    }
    return path.n > 0 && path.p[0] == '/';
}

mc_status mc_uri_path_normalize(mc_slice path, const mc_uri_path_options *options, mc_arena *arena, mc_slice *out,
                                bool *had_escaped) {
    *had_escaped = false;
    *out = path;
    if (mc_slice_find(path, '#') < path.n) {
        return MC_EINVAL;
    }
    mc_slice head = mc_slice_until(path, mc_slice_find(path, '?')), query = mc_slice_from(path, head.n);
    bool slashes = options->unescape_slashes || options->reject_escaped_slashes;
    if (!(slashes || options->normalize || options->merge_slashes) || is_plain(head)) {
        return MC_OK;
    }
    char *room = mc_arena_bytes(arena, 4 * head.n + 1 + query.n);
    if (room == NULL) {
        return MC_ENOMEM;
    }
    path_text text = {.p = room};
    if (slashes) {
        *had_escaped = unescape_slashes(head, &text);
        if (*had_escaped && options->reject_escaped_slashes) {
            return MC_EINVAL;
        }
    } else {
        memcpy(room, head.p, head.n);
        text.n = head.n;
    }
    if (options->normalize) {
        path_text canonical = {.p = room + text.n};
        mc_status status = canonicalize((mc_slice){text.p, text.n}, &canonical);
        if (status != MC_OK) {
            return status;
        }
        text = canonical;
    }
    if (options->merge_slashes) {
        merge_slashes(&text);
    }
    if (query.n > 0) {
        memcpy(text.p + text.n, query.p, query.n);
    }
    *out = (mc_slice){text.p, text.n + query.n};
    return MC_OK;
}
