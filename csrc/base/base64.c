#include "base/base64.h"

static int base64_digit(char c) {
    switch (c) {
    case 'A' ... 'Z': return c - 'A';
    case 'a' ... 'z': return c - 'a' + 26;
    case '0' ... '9': return c - '0' + 52;
    case '+':
    case '-': return 62;
    case '/':
    case '_': return 63;
    default: return -1;
    }
}

long mc_base64_decode(mc_slice text, char *out) {
    long n = 0;
    uint32_t bits = 0;
    while (text.n > 0 && text.p[text.n - 1] == '=') {
        text.n--;
    }
    for (size_t i = 0; i < text.n; i++) {
        int digit = base64_digit(text.p[i]);
        if (digit < 0) {
            return -1;
        }
        bits = bits << 6 | (uint32_t)digit;
        if (i % 4 != 0) {
            out[n++] = (char)(bits >> (6 - 2 * (i % 4)));
        }
    }
    return text.n % 4 == 1 ? -1 : n;
}

bool mc_base64_canonical(mc_slice text) {
    size_t padding = 0;
    for (; text.n > 0 && text.p[text.n - 1] == '='; padding++) {
        text.n--;
    }
    if (padding > 2 || text.n == 0 || text.n % 4 == 1 || mc_slice_find(text, '-') < text.n ||
        mc_slice_find(text, '_') < text.n) {
        return false;
    }
    const int last = base64_digit(text.p[text.n - 1]);
    const int unused = text.n % 4 == 2 ? 15 : text.n % 4 == 3 ? 3 : 0;
    return last >= 0 && (last & unused) == 0;
}

mc_status mc_base64_encode(mc_arena *arena, mc_slice bytes, bool pad, mc_slice *out) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *text = mc_arena_bytes(arena, (bytes.n + 2) / 3 * 4);
    size_t n = 0;
    if (text == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < bytes.n; i += 3) {
        const size_t left = bytes.n - i;
        uint32_t bits = (uint32_t)(unsigned char)bytes.p[i] << 16;
        bits |= left > 1 ? (uint32_t)(unsigned char)bytes.p[i + 1] << 8 : 0;
        bits |= left > 2 ? (uint32_t)(unsigned char)bytes.p[i + 2] : 0;
        for (size_t digit = 0; digit < 4; digit++) {
            if (digit <= left) {
                text[n++] = digits[bits >> (18 - 6 * digit) & 63];
            } else if (pad) {
                text[n++] = '=';
            }
        }
    }
    *out = mc_slice_of(text, n);
    return MC_OK;
}
