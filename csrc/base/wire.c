#include "base/wire.h"

#include <string.h>

#include "base/utf8.h"

enum { VARINT_MAX = 10 };

static size_t varint(char out[VARINT_MAX], uint64_t value) {
    size_t n = 0;
    for (; value > 0x7f; value >>= 7) {
        out[n++] = (char)(value | 0x80);
    }
    out[n++] = (char)value;
    return n;
}

static void add_varint(mc_text *out, uint64_t value) {
    char bytes[VARINT_MAX];
    mc_text_add(out, mc_slice_of(bytes, varint(bytes, value)));
}

static void add_tag(mc_text *out, uint32_t field, unsigned type) { add_varint(out, (uint64_t)field << 3 | type); }

static void add_fixed64(mc_text *out, uint32_t field, uint64_t value) {
    char bytes[8];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (char)(value >> (8 * i));
    }
    add_tag(out, field, MC_WIRE_FIXED64);
    mc_text_add(out, mc_slice_of(bytes, sizeof bytes));
}

void mc_wire_u64(mc_text *out, uint32_t field, uint64_t value) {
    if (value != 0) {
        add_tag(out, field, MC_WIRE_VARINT);
        add_varint(out, value);
    }
}

void mc_wire_i64(mc_text *out, uint32_t field, int64_t value) { mc_wire_u64(out, field, (uint64_t)value); }

void mc_wire_fixed64(mc_text *out, uint32_t field, uint64_t value) {
    if (value != 0) {
        add_fixed64(out, field, value);
    }
}

void mc_wire_double(mc_text *out, uint32_t field, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    add_fixed64(out, field, bits);
}

void mc_wire_bytes(mc_text *out, uint32_t field, mc_slice bytes) {
    if (bytes.n > 0) {
        add_tag(out, field, MC_WIRE_LENGTH);
        add_varint(out, bytes.n);
        mc_text_add(out, bytes);
    }
}

void mc_wire_text(mc_text *out, uint32_t field, mc_slice text) {
    if (text.n == 0) {
        return;
    }
    add_tag(out, field, MC_WIRE_LENGTH);
    add_varint(out, text.n); /* a byte stands for a byte */
    for (size_t at = 0, n; at < text.n; at += n) {
        const mc_slice rest = mc_slice_from(text, at);
        n = 0;
        for (size_t more; n < rest.n && (more = mc_utf8_length(mc_slice_from(rest, n))) > 0;) {
            n += more;
        }
        mc_text_add(out, n > 0 ? mc_slice_until(rest, n) : MC_SLICE("!"));
        n = n > 0 ? n : 1;
    }
}

/* One byte is left for the length; a longer one moves what was written. */
size_t mc_wire_begin(mc_text *out, uint32_t field) {
    add_tag(out, field, MC_WIRE_LENGTH);
    mc_text_add(out, mc_slice_of("\0", 1));
    return out->n;
}

void mc_wire_end(mc_text *out, size_t mark) {
    char length[VARINT_MAX];
    if (out->failed) {
        return;
    }
    const size_t n = out->n - mark, more = varint(length, n) - 1;
    mc_text_add(out, mc_slice_of(length, more)); /* room */
    if (!out->failed) {
        memmove(out->p + mark + more, out->p + mark, n);
        memcpy(out->p + mark - 1, length, more + 1);
    }
}

/* --- reading ------------------------------------------------------------------------------------------------------------ */

static bool take_varint(mc_slice *rest, uint64_t *out) {
    *out = 0;
    for (unsigned shift = 0; shift < 64 && rest->n > 0; shift += 7) {
        const unsigned char byte = (unsigned char)rest->p[0];
        *rest = mc_slice_of(rest->p + 1, rest->n - 1);
        *out |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) {
            return true;
        }
    }
    return false;
}

static bool take_bytes(mc_slice *rest, uint64_t n, mc_slice *out) {
    if (n > rest->n) {
        return false;
    }
    *out = mc_slice_until(*rest, n);
    *rest = mc_slice_of(rest->p + n, rest->n - n);
    return true;
}

int mc_wire_next(mc_slice *rest, mc_wire_field *field) {
    uint64_t tag, length;
    if (rest->n == 0) {
        return 0;
    }
    if (!take_varint(rest, &tag)) {
        return MC_EINVAL;
    }
    field->number = (uint32_t)(tag >> 3);
    field->type = tag & 7;
    field->integer = 0;
    field->bytes = MC_SLICE_NONE;
    bool ok;
    switch (field->type) {
    case MC_WIRE_VARINT: ok = take_varint(rest, &field->integer); break;
    case MC_WIRE_FIXED64:
    case MC_WIRE_FIXED32:
        ok = take_bytes(rest, field->type == MC_WIRE_FIXED64 ? 8 : 4, &field->bytes);
        if (ok) {
            memcpy(&field->integer, field->bytes.p, field->bytes.n); /* little-endian, as is every machine we run on */
        }
        break;
    case MC_WIRE_LENGTH: ok = take_varint(rest, &length) && take_bytes(rest, length, &field->bytes); break;
    default: ok = false;
    }
    return ok && field->number != 0 ? 1 : MC_EINVAL;
}
