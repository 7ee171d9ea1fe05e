/* Heads and chunks to bytes (rule H1-13). */
#include "h1/h1.h"
#include "http/codes.h"

#define PROLOGUE_MAX 64u /* version, SPs, reason, CRLFs, one framing header; longest reason is 31 bytes */
#define FRAMING_MAX  64u

typedef struct writer {
    char *at;
} writer;

static void put(writer *out, mc_slice s) {
    if (s.n > 0) {
        memcpy(out->at, s.p, s.n);
    }
    out->at += s.n;
}

static void put_field(writer *out, mc_slice name, mc_slice value) {
    put(out, name);
    *out->at++ = ':';
    *out->at++ = ' ';
    put(out, value);
    *out->at++ = '\r';
    *out->at++ = '\n';
}

const mc_spelling mc_h1_proper_case = {.proper = true};

static bool is_letter(char c) { return (c | 0x20) >= 'a' && (c | 0x20) <= 'z'; }

/* H1-13: a capital at the start, and after anything but a letter or digit. */
static void put_proper(writer *out, mc_slice name) {
    bool capital = true;
    for (size_t i = 0; i < name.n; i++) {
        const char c = name.p[i];
        *out->at++ = capital && c >= 'a' && c <= 'z' ? (char)(c - 0x20) : c;
        capital = !is_letter(c) && !(c >= '0' && c <= '9');
    }
}

static void put_name(writer *out, const mc_spelling *spelling, mc_slice name) {
    for (const mc_spelled_name *at = spelling->names; at != NULL; at = at->next) {
        if (mc_slice_ieq(at->name, name)) {
            put(out, at->name);
            return;
        }
    }
    if (spelling->proper) {
        put_proper(out, name);
    } else {
        put(out, name);
    }
}

static void put_spelled(writer *out, const mc_spelling *spelling, mc_slice name, mc_slice value) {
    if (MC_LIKELY(spelling == NULL)) {
        put_field(out, name, value);
        return;
    }
    put_name(out, spelling, name);
    put(out, MC_SLICE(": "));
    put(out, value);
    put(out, MC_SLICE("\r\n"));
}

/* RFC 9110, 5.5: what would end a line becomes a space, in values of which nobody knows what they hold. */
static void put_doubted(writer *out, const mc_spelling *spelling, mc_slice name, mc_slice value) {
    put_spelled(out, spelling, name, value);
    for (char *at = out->at - 2 - value.n; at < out->at - 2; at++) {
        if (*at == '\r' || *at == '\n' || *at == '\0') {
            *at = ' ';
        }
    }
}

static void put_entry(writer *out, const mc_headers *headers, mc_slice name, mc_slice value) {
    if (MC_UNLIKELY(headers->unchecked)) {
        put_doubted(out, headers->spelling, name, value);
    } else {
        put_spelled(out, headers->spelling, name, value);
    }
}

size_t mc_h1_head_size(const mc_headers *headers) {
    /* CONNECT and whole URLs write the authority twice. */
    size_t authority = mc_headers_get_known(headers, MC_H_AUTHORITY).n;
    size_t reason = MC_UNLIKELY(headers->spelling != NULL) ? headers->spelling->reason.n : 0;
    return (size_t)headers->bytes + 4u * headers->live + authority + reason + PROLOGUE_MAX + FRAMING_MAX;
}

static bool is_written(const mc_header *item) {
    return !item->removed &&
           (item->id == MC_H_UNKNOWN || (item->id > MC_H_PROTOCOL && item->id != MC_H_TRANSFER_ENCODING));
}

/* Whether the entry still stands as the line it was parsed from: "name: value". */
static bool is_line(const mc_header *item) {
    const char *end = item->name.p + item->name.n;
    return item->value.p == end + 2 && end[0] == ':' && end[1] == ' ';
}

/* Whether `next` is the line right behind the one that ends at `end`. Only bytes between two slices are looked at. */
static bool follows(const mc_header *next, const char *end) {
    return next->name.p == end + 2 && end[0] == '\r' && end[1] == '\n' && is_written(next) && is_line(next);
}

static void put_each_field(writer *out, const mc_headers *headers) {
    MC_HEADERS_EACH(headers, item) {
        if (is_written(item)) {
            put_entry(out, headers, item->name, item->value);
        }
    }
}

/* Every entry but pseudo-headers and transfer-encoding, which is decided here; :authority comes first as host (RFC 9110 section 7.2).
 * A proxy passes most lines on as they came, so a run of them is copied as one piece. */
static void put_fields(writer *out, const mc_headers *headers) {
    if (mc_headers_has(headers, MC_H_AUTHORITY)) {
        put_entry(out, headers, MC_SLICE("host"), mc_headers_get_known(headers, MC_H_AUTHORITY));
    }
    if (MC_UNLIKELY(headers->spelling != NULL || headers->unchecked)) {
        put_each_field(out, headers);
        return;
    }
    const mc_header *item = headers->items, *last = item + headers->count;
    while (item < last) {
        const mc_header *first = item++;
        if (!is_written(first)) {
            continue;
        }
        if (!is_line(first)) {
            put_field(out, first->name, first->value);
        } else {
            const char *end = first->value.p + first->value.n;
            for (; item < last && follows(item, end); item++) {
                end = item->value.p + item->value.n;
            }
            put(out, (mc_slice){first->name.p, (size_t)(end - first->name.p)});
            put(out, MC_SLICE("\r\n"));
        }
    }
}

_Static_assert(MC_H_PROTOCOL == 6, "the pseudo-headers come first in the table");

static mc_h1_framing put_chunked(writer *out, const mc_headers *headers) {
    put_spelled(out, headers->spelling, MC_SLICE("transfer-encoding"), MC_SLICE("chunked"));
    return MC_H1_CHUNKED;
}

static void put_no_length(writer *out, const mc_headers *headers) {
    put_spelled(out, headers->spelling, MC_SLICE("content-length"), MC_SLICE("0"));
}

/* RFC 9110 section 8.6: methods whose content has no defined meaning send no length of zero. */
static bool bodiless(mc_slice method) {
    return mc_slice_eq(method, MC_SLICE("GET")) || mc_slice_eq(method, MC_SLICE("HEAD")) ||
           mc_slice_eq(method, MC_SLICE("DELETE")) || mc_slice_eq(method, MC_SLICE("TRACE")) ||
           mc_slice_eq(method, MC_SLICE("CONNECT"));
}

static mc_h1_framing frame_request(writer *out, const mc_headers *headers, const mc_h1_encode *how, mc_slice method) {
    if (how->upgrade) {
        return MC_H1_TUNNEL;
    }
    bool has_length = mc_headers_has(headers, MC_H_CONTENT_LENGTH);
    if (how->end_stream) {
        if (!has_length && !bodiless(method)) {
            put_no_length(out, headers);
        }
        return MC_H1_NO_BODY;
    }
    return has_length ? MC_H1_LENGTH : put_chunked(out, headers);
}

size_t mc_h1_encode_request(const mc_headers *headers, const mc_h1_encode *how, char *out, mc_h1_framing *framing) {
    writer w = {out};
    mc_slice method = mc_headers_get_known(headers, MC_H_METHOD);
    mc_slice path = mc_headers_get_known(headers, MC_H_PATH);
    bool connect = mc_slice_eq(method, MC_SLICE("CONNECT"));
    put(&w, method);
    *w.at++ = ' ';
    if (MC_UNLIKELY(how->absolute) && !connect) {
        put(&w, mc_headers_get_known(headers, MC_H_SCHEME));
        put(&w, MC_SLICE("://"));
        put(&w, mc_headers_get_known(headers, MC_H_AUTHORITY));
    }
    put(&w, connect && path.p == NULL ? mc_headers_get_known(headers, MC_H_AUTHORITY) : path);
    put(&w, MC_SLICE(" HTTP/1.1\r\n"));
    put_fields(&w, headers);
    *framing = frame_request(&w, headers, how, method);
    put(&w, MC_SLICE("\r\n"));
    return (size_t)(w.at - out);
}

static mc_h1_framing frame_response(writer *out, const mc_headers *headers, const mc_h1_encode *how, unsigned status) {
    if (how->upgrade) {
        return MC_H1_TUNNEL;
    }
    bool has_length = mc_headers_has(headers, MC_H_CONTENT_LENGTH);
    if (status < 200 || status == 204 || status == 304) {
        return MC_H1_NO_BODY;
    }
    if (how->head_request) { /* says what a GET would get, as far as is known */
        if (!has_length && !how->http_10) {
            put_chunked(out, headers);
        }
        return MC_H1_NO_BODY;
    }
    if (how->end_stream) {
        if (!has_length) {
            put_no_length(out, headers);
        }
        return MC_H1_NO_BODY;
    }
    if (has_length) {
        return MC_H1_LENGTH;
    }
    return how->http_10 ? MC_H1_UNTIL_CLOSE : put_chunked(out, headers);
}

static unsigned status_number(mc_slice status) {
    uint64_t number = 0;
    return mc_slice_u64(status, &number) == MC_OK && number <= 999 ? (unsigned)number : 0;
}

size_t mc_h1_encode_response(const mc_headers *headers, const mc_h1_encode *how, char *out, mc_h1_framing *framing) {
    writer w = {out};
    mc_slice status = mc_headers_get_known(headers, MC_H_STATUS);
    unsigned number = status_number(status);
    put(&w, how->http_10 && !how->says_11 ? MC_SLICE("HTTP/1.0 ") : MC_SLICE("HTTP/1.1 "));
    put(&w, status);
    *w.at++ = ' ';
    put(&w, MC_UNLIKELY(headers->spelling != NULL) && headers->spelling->reason.p != NULL
                ? headers->spelling->reason
                : mc_http_reason((uint16_t)number));
    put(&w, MC_SLICE("\r\n"));
    put_fields(&w, headers);
    *framing = frame_response(&w, headers, how, number);
    put(&w, MC_SLICE("\r\n"));
    return (size_t)(w.at - out);
}

size_t mc_h1_chunk_head(char *out, size_t n) {
    char digits[16];
    size_t count = 0;
    do {
        digits[count++] = "0123456789abcdef"[n & 15];
        n >>= 4;
    } while (n != 0);
    for (size_t i = 0; i < count; i++) {
        out[i] = digits[count - 1 - i];
    }
    out[count] = '\r';
    out[count + 1] = '\n';
    return count + 2;
}

size_t mc_h1_last_chunk_size(const mc_headers *trailers) {
    return 5 + (trailers == NULL ? 0 : (size_t)trailers->bytes + 4u * trailers->live);
}

size_t mc_h1_last_chunk(const mc_headers *trailers, char *out) {
    writer w = {out};
    put(&w, MC_SLICE("0\r\n"));
    if (trailers != NULL) {
        MC_HEADERS_EACH(trailers, it) { put_entry(&w, trailers, it->name, it->value); }
    }
    put(&w, MC_SLICE("\r\n"));
    return (size_t)(w.at - out);
}

mc_slice mc_h1_reason(uint16_t status) { return mc_http_reason(status); }
