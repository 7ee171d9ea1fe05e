/* Absolute URLs, authorities, referers, percent-decoding. */
#include "http/uri.h"

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_alpha(char c) { return (c | 0x20) >= 'a' && (c | 0x20) <= 'z'; }

/* Classes of characters; letters and digits belong to all but the third. */
enum { AUTHORITY = 1, REFERENCE = 2, ENDS_AUTHORITY = 4, HOST = 8 };

static const unsigned char classes[256] = {['0' ... '9'] = 11,
                                           ['A' ... 'Z'] = 11,
                                           ['a' ... 'z'] = 11,
                                           ['!'] = 3,
                                           ['$'] = 3,
                                           ['%'] = 3,
                                           ['&'] = 3,
                                           ['\''] = 3,
                                           ['('] = 3,
                                           [')'] = 3,
                                           ['*'] = 3,
                                           ['+'] = 3,
                                           [','] = 3,
                                           ['-'] = 11,
                                           ['.'] = 11,
                                           [':'] = 3,
                                           [';'] = 3,
                                           ['='] = 3,
                                           ['@'] = 3,
                                           ['_'] = 3,
                                           ['~'] = 3,
                                           ['['] = AUTHORITY,
                                           [']'] = AUTHORITY,
                                           ['/'] = REFERENCE | ENDS_AUTHORITY,
                                           ['?'] = REFERENCE | ENDS_AUTHORITY};

static bool is_in(char c, unsigned class) { return (classes[(unsigned char)c] & class) != 0; }

bool mc_uri_authority_valid(mc_slice authority) {
    for (size_t i = 0; i < authority.n; i++) {
        if (!is_in(authority.p[i], AUTHORITY)) {
            return false;
        }
    }
    return true;
}

size_t mc_uri_scheme_length(mc_slice url) {
    size_t n = 0;
    while (n < url.n && (is_alpha(url.p[n]) ||
                         (n > 0 && (is_digit(url.p[n]) || url.p[n] == '+' || url.p[n] == '-' || url.p[n] == '.')))) {
        n++;
    }
    return n > 0 && url.n - n >= 3 && memcmp(url.p + n, "://", 3) == 0 ? n : 0;
}

/* The host of a URL may hold less than that of Host: names of letters, digits, '.' and '-', and addresses in brackets. */
static bool host_plain(mc_slice authority) {
    if (authority.n > 0 && authority.p[0] == '[') {
        for (size_t i = 1; i < authority.n && authority.p[i] != ']'; i++) {
            const char c = authority.p[i];
            if (!is_digit(c) && c != '.' && c != ':' && strchr("abcdefABCDEF", c) == NULL) {
                return false;
            }
        }
        return true;
    }
    size_t n = 0;
    while (n < authority.n && is_in(authority.p[n], HOST)) {
        n++;
    }
    return n == authority.n || authority.p[n] == ':';
}

bool mc_uri_authority_sound(mc_slice authority, bool need_port) {
    size_t host = mc_slice_find(authority, ':');
    if (authority.n > 0 && authority.p[0] == '[') {
        size_t close = mc_slice_find(authority, ']');
        host = close + 1;
        if (close == authority.n || (host < authority.n && authority.p[host] != ':')) {
            return false;
        }
    }
    if (host == 0 || !host_plain(authority)) {
        return false;
    }
    if (host == authority.n) {
        return !need_port;
    }
    uint64_t port;
    return mc_slice_u64(mc_slice_from(authority, host + 1), &port) == MC_OK && port <= 65535;
}

static bool all_visible(mc_slice text) {
    for (size_t i = 0; i < text.n; i++) {
        if ((unsigned char)text.p[i] < 0x21 || (unsigned char)text.p[i] > 0x7e) {
            return false;
        }
    }
    return true;
}

mc_status mc_uri_parse_absolute(mc_slice url, mc_uri_absolute *out) {
    size_t scheme = mc_uri_scheme_length(url);
    if (scheme == 0) {
        return MC_EINVAL;
    }
    mc_slice rest = mc_slice_from(url, scheme + 3);
    size_t n = 0;
    while (n < rest.n && (classes[(unsigned char)rest.p[n]] & ENDS_AUTHORITY) == 0) {
        n++;
    }
    mc_slice authority = mc_slice_until(rest, n);
    size_t user = mc_slice_find(authority, '@');
    *out = (mc_uri_absolute){
        .scheme = mc_slice_until(url, scheme),
        .authority = user < authority.n ? mc_slice_from(authority, user + 1) : authority,
        .path = mc_slice_from(rest, n),
        .has_userinfo = user < authority.n && user > 0,
    };
    return mc_slice_find(authority, '#') == authority.n && mc_uri_authority_sound(out->authority, false) &&
                   all_visible(out->path)
               ? MC_OK
               : MC_EINVAL;
}

bool mc_uri_referer_valid(mc_slice referer) {
    mc_uri_absolute url;
    if (mc_uri_parse_absolute(referer, &url) == MC_OK) {
        return !url.has_userinfo && mc_slice_find(url.path, '#') == url.path.n;
    }
    bool seen_slash = false;
    for (size_t i = 0; i < referer.n; i++) {
        char c = referer.p[i];
        seen_slash |= c == '/';
        /* A relative reference: no ':' in its first segment (RFC 3986 section 4.2). */
        if ((c == ':' && !seen_slash) || !is_in(c, REFERENCE)) {
            return false;
        }
    }
    return true;
}

/* --- hosts ------------------------------------------------------------------------------------------------------ */

size_t mc_uri_port_start(mc_slice host) {
    for (size_t i = host.n; i > 0 && host.p[i - 1] != ']'; i--) {
        if (host.p[i - 1] == ':') {
            return i - 1;
        }
    }
    return host.n;
}

/* Of the last '.', if it ends the host or stands before a ':' (of a port, or whatever it is); else host.n. */
static size_t trailing_dot(mc_slice host) {
    size_t dot = host.n;
    while (dot > 0 && host.p[dot - 1] != '.') {
        dot--;
    }
    return dot > 0 && (dot == host.n || host.p[dot] == ':') ? dot - 1 : host.n;
}

mc_status mc_uri_host_normalize(mc_slice host, const mc_uri_host_options *options, mc_arena *arena, mc_slice *out) {
    const size_t dot = options->strip_trailing_dot ? trailing_dot(host) : host.n;
    if (dot + 1 == host.n) {
        host.n = dot;
    }
    size_t colon = mc_uri_port_start(host);
    mc_slice name = mc_slice_until(host, colon), port = mc_slice_from(host, colon), behind_dot = MC_SLICE_NONE;
    if (dot < name.n) {
        behind_dot = mc_slice_from(name, dot + 1);
        name.n = dot;
    }
    int64_t number; /* Envoy takes any of 32 bits for a port, and a plus sign with it */
    if (port.n > 1 && port.p[1] != '-' && mc_slice_i64(mc_slice_from(port, 1), &number) == MC_OK &&
        number <= UINT32_MAX &&
        (options->strip_any_port || (options->strip_port != 0 && number == options->strip_port))) {
        port.n = 0;
    }
    if (name.n + port.n == host.n) {
        *out = host;
        return MC_OK;
    }
    if (behind_dot.n + port.n == 0) {
        *out = name;
        return MC_OK;
    }
    return mc_arena_concat(arena, (mc_slice[]){name, behind_dot, port}, 3, out);
}

/* --- percent-encoding ------------------------------------------------------------------------------------------- */

static int hex_value(char c) {
    return is_digit(c) ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

int mc_percent_byte(mc_slice s) {
    if (s.n < 3 || s.p[0] != '%') {
        return -1;
    }
    int high = hex_value(s.p[1]), low = hex_value(s.p[2]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

mc_status mc_percent_decode(mc_slice s, mc_arena *arena, mc_slice *out) {
    if (mc_slice_find(s, '%') == s.n) {
        *out = s;
        return MC_OK;
    }
    char *bytes = mc_arena_bytes(arena, s.n);
    if (bytes == NULL) {
        return MC_ENOMEM;
    }
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        int byte = mc_percent_byte(mc_slice_from(s, i));
        bytes[n++] = byte < 0 ? s.p[i] : (char)byte;
        i += byte < 0 ? 0 : 2;
    }
    *out = (mc_slice){bytes, n};
    return MC_OK;
}

mc_status mc_percent_encode(mc_slice s, mc_slice reserved, mc_arena *arena, mc_slice *out) {
    static const char hex[] = "0123456789ABCDEF";
    char *copy = mc_arena_bytes(arena, s.n * 3 + 1);
    size_t n = 0;
    if (copy == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c >= ' ' && c < '~' && mc_slice_find(reserved, (char)c) == reserved.n) {
            copy[n++] = (char)c;
        } else {
            copy[n++] = '%';
            copy[n++] = hex[c >> 4];
            copy[n++] = hex[c & 15];
        }
    }
    *out = (mc_slice){copy, n};
    return MC_OK;
}
