/* The short way through a head that is whole and plainly conforming: one copy, one pass, names lower-cased in place.
 *
 * Nothing is decided here, and no error is made here: whatever is not expected leaves the head to llhttp, which is the
 * definition; what is taken goes through the same functions. The copy ends in NULs, at which every scan stops, so there are no bounds to check. */
#include "h1/bytes.h"
#include "h1/field.h"

#define COPY_MAX 1536u /* input up to this size is copied without a look for the head's end */

const char mc_h1_lower_token[256] = {
    ['!'] = '!', ['#'] = '#', ['$'] = '$', ['%'] = '%', ['&'] = '&', ['\''] = '\'', ['*'] = '*', ['+'] = '+',
    ['-'] = '-', ['.'] = '.', ['^'] = '^', ['_'] = '_', ['`'] = '`', ['|'] = '|',   ['~'] = '~', ['0'] = '0',
    ['1'] = '1', ['2'] = '2', ['3'] = '3', ['4'] = '4', ['5'] = '5', ['6'] = '6',   ['7'] = '7', ['8'] = '8',
    ['9'] = '9', ['a'] = 'a', ['b'] = 'b', ['c'] = 'c', ['d'] = 'd', ['e'] = 'e',   ['f'] = 'f', ['g'] = 'g',
    ['h'] = 'h', ['i'] = 'i', ['j'] = 'j', ['k'] = 'k', ['l'] = 'l', ['m'] = 'm',   ['n'] = 'n', ['o'] = 'o',
    ['p'] = 'p', ['q'] = 'q', ['r'] = 'r', ['s'] = 's', ['t'] = 't', ['u'] = 'u',   ['v'] = 'v', ['w'] = 'w',
    ['x'] = 'x', ['y'] = 'y', ['z'] = 'z', ['A'] = 'a', ['B'] = 'b', ['C'] = 'c',   ['D'] = 'd', ['E'] = 'e',
    ['F'] = 'f', ['G'] = 'g', ['H'] = 'h', ['I'] = 'i', ['J'] = 'j', ['K'] = 'k',   ['L'] = 'l', ['M'] = 'm',
    ['N'] = 'n', ['O'] = 'o', ['P'] = 'p', ['Q'] = 'q', ['R'] = 'r', ['S'] = 's',   ['T'] = 't', ['U'] = 'u',
    ['V'] = 'v', ['W'] = 'w', ['X'] = 'x', ['Y'] = 'y', ['Z'] = 'z',
};

static inline char *value_end(char *p) {
    p = mc_h1_find_control(p);
    while (MC_UNLIKELY(*p == '\t')) {
        p = mc_h1_find_control(p + 1);
    }
    return p;
}

static inline bool is_blank(char c) { return c == ' ' || c == '\t'; }

/* One field line at *at: 1 taken, 0 not ours, negative: the field was refused. */
static inline int scan_field(mc_h1_parser *parser, mc_h1_message *message, char **at) {
    char *name = *at, *p = mc_h1_lower_name(name);
    if (*p != ':' || p == name) {
        return 0;
    }
    mc_slice lower = {name, (size_t)(p - name)};
    do {
        p++;
    } while (is_blank(*p));
    char *value = p, *end = value_end(p);
    if (end[0] != '\r' || end[1] != '\n') {
        return 0;
    }
    *at = end + 2;
    while (end > value && is_blank(end[-1])) {
        end--;
    }
    mc_status status = mc_h1_add_field(parser, message, lower, (mc_slice){value, (size_t)(end - value)});
    return status == MC_OK ? 1 : status;
}

/* How much to copy: all of a small input, else up to the end of the head. 0: that is not in sight, or the limit on bytes might
 * be met, which llhttp's way judges as the bytes come. */
static size_t copy_length(mc_slice in, uint32_t max_headers_bytes) {
    size_t n = in.n;
    if (MC_UNLIKELY(n > COPY_MAX)) {
        size_t end = mc_slice_search(mc_slice_until(in, max_headers_bytes), MC_SLICE("\r\n\r\n"));
        n = end == SIZE_MAX ? 0 : end + 4;
    }
    return n <= max_headers_bytes ? n : 0;
}

/* Start line and fields of the copy: 1 and *at behind the head, 0 when it is not ours, MC_ENOMEM. */
static int scan_copy(mc_h1_parser *parser, mc_h1_message *message, char *copy, size_t n, char **at) {
    char *line_end = memchr(copy, '\n', n);
    if (line_end == NULL || line_end == copy || line_end[-1] != '\r') {
        return 0;
    }
    int taken = mc_h1_start_line(parser, message, (mc_slice){copy, (size_t)(line_end - copy - 1)});
    taken = taken == MC_OK ? 1 : taken;
    *at = line_end + 1;
    while (taken > 0 && **at != '\r') {
        taken = scan_field(parser, message, at);
    }
    if (taken <= 0 || (*at)[1] != '\n') {
        return taken == MC_ENOMEM ? taken : 0;
    }
    *at += 2;
    return 1;
}

long mc_h1_scan_head(mc_h1_parser *parser, mc_h1_message *message, mc_slice in) {
    mc_headers *headers = message->headers;
    size_t n = copy_length(in, parser->limits->max_headers_bytes);
    if (n == 0) {
        return 0;
    }
    char *copy = mc_arena_bytes(headers->arena, n + MC_H1_SLACK);
    if (copy == NULL) {
        return MC_ENOMEM;
    }
    memcpy(copy, in.p, n);
    memset(copy + n, 0, MC_H1_SLACK);
    char *at;
    int taken = scan_copy(parser, message, copy, n, &at);
    if (MC_LIKELY(taken > 0)) {
        mc_arena_trim(headers->arena, copy + n + MC_H1_SLACK, at);
        return at - copy;
    }
    mc_headers_init(headers, headers->arena);
    *message = (mc_h1_message){.headers = headers};
    parser->error = (mc_h1_error){0};
    return taken;
}
