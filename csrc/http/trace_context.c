#include "http/trace_context.h"

enum { ID = 16, TRACEPARENT = 55 };

/* 1 to 16 hex digits. */
static bool read_hex(mc_slice s, uint64_t *out) {
    uint64_t value = 0;
    if (s.n == 0 || s.n > ID) {
        return false;
    }
    for (size_t i = 0; i < s.n; i++) {
        char c = mc_ascii_lower(s.p[i]);
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                                                : 16;
        if (digit == 16) {
            return false;
        }
        value = value << 4 | digit;
    }
    *out = value;
    return true;
}

/* As Envoy reads the many headers: with 0x, with any number of leading zeroes. */
static bool read_number(mc_slice s, uint64_t *out) {
    if (s.n > 2 && s.p[0] == '0' && (s.p[1] == 'x' || s.p[1] == 'X')) {
        s = mc_slice_from(s, 2);
    }
    for (; s.n > ID && s.p[0] == '0'; s = mc_slice_from(s, 1)) {
    }
    return read_hex(s, out);
}

static mc_slice part(mc_slice s, size_t at, size_t n) { return mc_slice_until(mc_slice_from(s, at), n); }

static bool hex_at(mc_slice s, size_t at, uint64_t *out) {
    mc_slice digits = part(s, at, ID);
    return digits.n == ID && read_hex(digits, out);
}

/* --- B3 ------------------------------------------------------------------------------------------------------------------ */

static int sampling_flag(char c) { return c == '0' ? 0 : c == '1' || c == 'd' ? 1 : -1; }

/* Where the flag stands, by the whole length: one or two halves of a trace id, with and without a parent. */
static int single_sampled(mc_slice b3) {
    switch (b3.n) {
    case 1: return sampling_flag(b3.p[0]);
    case 35:
    case 52: return sampling_flag(b3.p[34]);
    case 51:
    case 68: return sampling_flag(b3.p[50]);
    default: return -1;
    }
}

/* {trace}-{span}[-{flag}[-{parent}]], or a flag alone. */
static mc_trace_found read_single(mc_slice b3, mc_trace_context *out) {
    if (b3.n == 1) {
        return sampling_flag(b3.p[0]) < 0 ? MC_TRACE_INVALID : MC_TRACE_ABSENT;
    }
    size_t at = 0;
    if (b3.n > 2 * ID && b3.p[2 * ID] == '-') {
        if (!hex_at(b3, 0, &out->trace_high)) {
            return MC_TRACE_INVALID;
        }
        at = ID;
    }
    if (!hex_at(b3, at, &out->trace_low) || b3.n <= at + ID || b3.p[at + ID] != '-' ||
        !hex_at(b3, at + ID + 1, &out->span)) {
        return MC_TRACE_INVALID;
    }
    mc_slice rest = mc_slice_from(b3, at + 2 * ID + 1);
    if (rest.n == 0) {
        return MC_TRACE_PRESENT;
    }
    if (rest.n < 2 || rest.p[0] != '-' || sampling_flag(rest.p[1]) < 0) {
        return MC_TRACE_INVALID;
    }
    rest = mc_slice_from(rest, 2);
    bool parent = rest.n == ID + 1 && rest.p[0] == '-' && hex_at(rest, 1, &out->parent);
    return rest.n == 0 || parent ? MC_TRACE_PRESENT : MC_TRACE_INVALID;
}

typedef struct b3_headers {
    mc_slice single, trace, span, parent, sampled;
} b3_headers;

static b3_headers find_b3(const mc_headers *headers) {
    b3_headers found = {0};
    MC_HEADERS_EACH(headers, it) {
        mc_slice *into = NULL;
        if (it->id != MC_H_UNKNOWN || it->name.n < 2) {
            continue;
        }
        if (mc_slice_eq(it->name, MC_SLICE("b3"))) {
            into = &found.single;
        } else if (mc_slice_has_prefix(it->name, MC_SLICE("x-b3-"))) {
            mc_slice rest = mc_slice_from(it->name, 5);
            into = mc_slice_eq(rest, MC_SLICE("traceid"))        ? &found.trace
                   : mc_slice_eq(rest, MC_SLICE("spanid"))       ? &found.span
                   : mc_slice_eq(rest, MC_SLICE("parentspanid")) ? &found.parent
                   : mc_slice_eq(rest, MC_SLICE("sampled"))      ? &found.sampled
                                                                 : NULL;
        }
        if (into != NULL && into->p == NULL) { /* the first counts */
            *into = (mc_slice){it->value.p == NULL ? "" : it->value.p, it->value.n};
        }
    }
    return found;
}

static mc_trace_found read_multi(const b3_headers *found, mc_trace_context *out) {
    bool trace = found->trace.n == 2 * ID ? read_number(part(found->trace, 0, ID), &out->trace_high) &&
                                                read_number(part(found->trace, ID, ID), &out->trace_low)
                                          : read_number(found->trace, &out->trace_low);
    bool parent = found->parent.n == 0 || read_number(found->parent, &out->parent);
    return trace && parent && read_number(found->span, &out->span) ? MC_TRACE_PRESENT : MC_TRACE_INVALID;
}

mc_trace_found mc_b3_read(const mc_headers *headers, bool w3c, mc_trace_context *out, int *sampled) {
    b3_headers found = find_b3(headers);
    *out = (mc_trace_context){0};
    *sampled = -1;
    if (found.single.p != NULL) {
        *sampled = single_sampled(found.single);
        return read_single(found.single, out);
    }
    if (found.sampled.p != NULL) {
        *sampled = mc_slice_eq(found.sampled, MC_SLICE("1")) || mc_slice_eq(found.sampled, MC_SLICE("true"));
    }
    mc_trace_context other;
    const bool has_other = w3c && mc_w3c_read(headers, &other) == MC_TRACE_PRESENT;
    if (found.trace.p != NULL && found.span.p != NULL) {
        *sampled = *sampled < 0 && has_other ? other.sampled : *sampled;
        return read_multi(&found, out);
    }
    if (has_other) { /* its flag beats all but a clear yes */
        *sampled = *sampled == 1 || other.sampled;
        *out = other;
        return MC_TRACE_PRESENT;
    }
    *out = (mc_trace_context){0};
    return MC_TRACE_ABSENT;
}

mc_status mc_b3_write(mc_headers *headers, const mc_trace_context *context) {
    char text[MC_TRACE_ID_TEXT];
    mc_status status =
        mc_headers_set(headers, MC_SLICE("x-b3-traceid"), mc_slice_of(text, mc_trace_id_text(context, false, text)));
    if (status == MC_OK) {
        status =
            mc_headers_set(headers, MC_SLICE("x-b3-spanid"), mc_slice_of(text, mc_span_id_text(context->span, text)));
    }
    if (status == MC_OK && context->parent != 0) {
        status = mc_headers_set(headers, MC_SLICE("x-b3-parentspanid"),
                                mc_slice_of(text, mc_span_id_text(context->parent, text)));
    }
    return status != MC_OK
               ? status
               : mc_headers_set(headers, MC_SLICE("x-b3-sampled"), context->sampled ? MC_SLICE("1") : MC_SLICE("0"));
}

/* --- W3C ------------------------------------------------------------------------------------------------------------------ */

mc_trace_found mc_w3c_read(const mc_headers *headers, mc_trace_context *out) {
    mc_slice text = mc_headers_get_known(headers, MC_H_TRACEPARENT);
    uint64_t version, flags;
    *out = (mc_trace_context){0};
    if (text.p == NULL) {
        return MC_TRACE_ABSENT;
    }
    if (text.n != TRACEPARENT || text.p[2] != '-' || text.p[35] != '-' || text.p[52] != '-' ||
        !read_hex(part(text, 0, 2), &version) || !hex_at(text, 3, &out->trace_high) ||
        !hex_at(text, 3 + ID, &out->trace_low) || !hex_at(text, 36, &out->span) ||
        !read_hex(part(text, 53, 2), &flags) || (out->trace_high == 0 && out->trace_low == 0) || out->span == 0) {
        return MC_TRACE_INVALID;
    }
    out->sampled = (flags & 1) != 0;
    return MC_TRACE_PRESENT;
}

mc_status mc_w3c_write(mc_headers *headers, const mc_trace_context *context) {
    char text[TRACEPARENT];
    memcpy(text, "00-", 3);
    (void)mc_trace_id_text(context, true, text + 3);
    text[35] = '-';
    (void)mc_span_id_text(context->span, text + 36);
    memcpy(text + 52, context->sampled ? "-01" : "-00", 3);
    return mc_headers_set_known(headers, MC_H_TRACEPARENT, mc_slice_of(text, sizeof text));
}

/* --- text ------------------------------------------------------------------------------------------------------------------ */

size_t mc_span_id_text(uint64_t id, char out[MC_SPAN_ID_TEXT]) {
    for (unsigned i = 0; i < MC_SPAN_ID_TEXT; i++) {
        out[i] = "0123456789abcdef"[id >> (60 - 4 * i) & 15];
    }
    return MC_SPAN_ID_TEXT;
}

size_t mc_trace_id_text(const mc_trace_context *context, bool wide, char out[MC_TRACE_ID_TEXT]) {
    size_t n = wide || context->trace_high != 0 ? mc_span_id_text(context->trace_high, out) : 0;
    return n + mc_span_id_text(context->trace_low, out + n);
}

/* --- request ids -------------------------------------------------------------------------------------------------------------- */

bool mc_request_id_number(mc_slice id, uint64_t *out) {
    if (id.n < 8) {
        return false;
    }
    const bool marked = id.p[0] == '0' && (id.p[1] | 0x20) == 'x';
    return read_hex(mc_slice_from(mc_slice_until(id, 8), marked ? 2 : 0), out);
}

mc_trace_reason mc_request_id_reason(mc_slice id) {
    switch (id.n == MC_REQUEST_ID_LENGTH ? id.p[MC_REQUEST_ID_REASON] : 0) {
    case '9': return MC_TRACE_SAMPLED;
    case 'a': return MC_TRACE_SERVICE_FORCED;
    case 'b': return MC_TRACE_CLIENT_FORCED;
    default: return MC_TRACE_NOT_TRACEABLE;
    }
}

char mc_trace_reason_digit(mc_trace_reason reason) { return "49ab"[reason]; }
