#include "base/text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"

void mc_text_fini(mc_text *text) {
    mc_free(text->p);
    mc_text_init(text);
}

/* Room for n more bytes, or NULL. */
static char *room(mc_text *text, size_t n) {
    if (text->failed || n > SIZE_MAX / 2 - text->n || mc_grow(&text->p, &text->cap, text->n + n, 1) != MC_OK) {
        text->failed = true;
        return NULL;
    }
    return text->p + text->n;
}

void mc_text_add(mc_text *text, mc_slice bytes) {
    char *at = bytes.n == 0 ? NULL : room(text, bytes.n);
    if (at != NULL) {
        memcpy(at, bytes.p, bytes.n);
        text->n += bytes.n;
    }
}

void mc_text_u64(mc_text *text, uint64_t value) {
    char *at = room(text, 20);
    if (at != NULL) {
        text->n += mc_format_u64(at, value);
    }
}

void mc_text_i64(mc_text *text, int64_t value) {
    if (value < 0) {
        mc_text_lit(text, "-");
    }
    mc_text_u64(text, value < 0 ? -(uint64_t)value : (uint64_t)value);
}

static size_t json_escape(char *out, unsigned char c) {
    static const char shorts[] = "\b\t\n\f\r\"\\", letters[] = "btnfr\"\\", hex[] = "0123456789abcdef";
    const char *at = c == 0 ? NULL : strchr(shorts, c);
    out[0] = '\\';
    if (at != NULL) {
        out[1] = letters[at - shorts];
        return 2;
    }
    memcpy(out + 1, "u00", 3);
    out[4] = hex[c >> 4];
    out[5] = hex[c & 15];
    return 6;
}

void mc_text_json(mc_text *text, mc_slice string) {
    char *at = room(text, string.n * 6 + 2);
    if (at == NULL) {
        return;
    }
    char *start = at;
    *at++ = '"';
    for (size_t i = 0; i < string.n; i++) {
        unsigned char c = (unsigned char)string.p[i];
        if (c < 0x20 || c == '"' || c == '\\') {
            at += json_escape(at, c);
        } else {
            *at++ = (char)c;
        }
    }
    *at++ = '"';
    text->n += (size_t)(at - start);
}

/* The fewest significant digits that read back as `value` (positive, finite), and its decimal exponent. */
static int shortest(double value, char digits[20], int *exponent) {
    char form[32];
    int precision = 1;
    for (int p = 15; p <= 17; p++) { /* 15 always suffice for what was written with 15; strip the zeroes below */
        snprintf(form, sizeof form, "%.*e", p - 1, value);
        precision = p;
        if (strtod(form, NULL) == value) {
            break;
        }
    }
    int n = 0;
    for (const char *c = form; *c != 'e'; c++) {
        if (*c >= '0' && *c <= '9') {
            digits[n++] = *c;
        }
    }
    *exponent = atoi(strchr(form, 'e') + 1);
    for (n = precision; n > 1 && digits[n - 1] == '0'; n--) {
    }
    return n;
}

static size_t fixed(char *out, const char *digits, int n, int exponent) {
    char *at = out;
    if (exponent < 0) {
        *at++ = '0';
        *at++ = '.';
        for (int i = -1; i > exponent; i--) {
            *at++ = '0';
        }
    }
    for (int i = 0; i < n || i <= exponent; i++) {
        if (i > exponent && i == exponent + 1 && exponent >= 0) {
            *at++ = '.';
        }
        *at++ = i < n ? digits[i] : '0';
    }
    return (size_t)(at - out);
}

static size_t scientific(char *out, const char *digits, int n, int exponent) {
    char *at = out;
    *at++ = digits[0];
    if (n > 1) {
        *at++ = '.';
        memcpy(at, digits + 1, (size_t)n - 1);
        at += n - 1;
    }
    return (size_t)(at - out) + (size_t)sprintf(at, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
}

void mc_text_double(mc_text *text, double value, mc_double_style style) {
    char digits[20], plain[400], power[40];
    int exponent;
    if (signbit(value) && !isnan(value)) { /* minus zero too */
        mc_text_lit(text, "-");
        value = -value;
    }
    if (isnan(value) || isinf(value)) {
        mc_text_add(text, isnan(value) ? MC_SLICE("nan") : MC_SLICE("inf"));
        return;
    }
    if (value < 1e5 && value == (double)(uint32_t)value) { /* most values, and the same in either style */
        mc_text_u64(text, (uint32_t)value);
        return;
    }
    int n = shortest(value, digits, &exponent);
    mc_slice fixed_form = {plain, fixed(plain, digits, n, exponent)};
    mc_slice power_form = {power, scientific(power, digits, n, exponent)};
    bool use_power = style == MC_DOUBLE_SHORTER ? power_form.n < fixed_form.n : exponent < -4 || exponent >= 16;
    if (!use_power && exponent >= 16) { /* all digits of a large integer, not the fewest */
        fixed_form.n = (size_t)snprintf(plain, sizeof plain, "%.0f", value);
    }
    mc_text_add(text, use_power ? power_form : fixed_form);
}

void mc_text_general(mc_text *text, double value, int precision) {
    char form[64];
    if (!signbit(value) && value < 1e6 && value == (double)(uint32_t)value && precision >= 6) {
        mc_text_u64(text, (uint32_t)value);
        return;
    }
    int n = snprintf(form, sizeof form, "%.*g", precision, value);
    for (char *c = form; value == value && *c != '\0'; c++) {
        bool plain =
            (*c >= '0' && *c <= '9') || *c == 'e' || *c == '+' || *c == '-' || *c == 'i' || *c == 'n' || *c == 'f';
        *c = plain ? *c : '.'; /* a locale's decimal comma */
    }
    mc_text_add(text, value == value ? mc_slice_of(form, (size_t)n) : MC_SLICE("nan"));
}
