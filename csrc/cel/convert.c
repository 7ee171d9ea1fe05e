/* Conversions: bool(), int() and their like. */
#include <math.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "cel/node.h"

static mc_slice trim(mc_slice s) {
    static const char blanks[] = " \t\n\v\f\r";
    while (s.n > 0 && memchr(blanks, s.p[0], sizeof blanks - 1) != NULL) {
        s = mc_slice_of(s.p + 1, s.n - 1);
    }
    while (s.n > 0 && memchr(blanks, s.p[s.n - 1], sizeof blanks - 1) != NULL) {
        s.n--;
    }
    return s;
}

static mc_cel to_bool(const mc_cel *v) {
    static const char *const names[] = {"1", "t", "true", "TRUE", "True", "0", "f", "false", "FALSE", "False"};
    for (int i = 0; v->kind == MC_CEL_STRING && i < 10; i++) {
        if (mc_slice_eq(v->text, mc_slice_cstr(names[i]))) {
            return mc_cel_bool(i < 5);
        }
    }
    return v->kind == MC_CEL_BOOL ? *v : MC_CEL_FAILED;
}

static mc_cel to_int(const mc_cel *v) {
    int64_t value;
    switch (v->kind) {
    case MC_CEL_INT: return *v;
    case MC_CEL_BOOL: return mc_cel_int(v->boolean);
    case MC_CEL_TIMESTAMP: return mc_cel_int(v->seconds);
    case MC_CEL_UINT: return v->u <= INT64_MAX ? mc_cel_int((int64_t)v->u) : MC_CEL_FAILED;
    case MC_CEL_DOUBLE: /* the least one is left out, as in Envoy */
        return v->d > -9223372036854775808.0 && v->d < 9223372036854775808.0 ? mc_cel_int((int64_t)v->d)
                                                                             : MC_CEL_FAILED;
    case MC_CEL_STRING: return mc_slice_i64(trim(v->text), &value) == MC_OK ? mc_cel_int(value) : MC_CEL_FAILED;
    default: return MC_CEL_FAILED;
    }
}

static mc_cel to_uint(const mc_cel *v) {
    uint64_t value;
    mc_slice text;
    switch (v->kind) {
    case MC_CEL_UINT: return *v;
    case MC_CEL_INT: return v->i >= 0 ? mc_cel_uint((uint64_t)v->i) : MC_CEL_FAILED;
    case MC_CEL_DOUBLE: return v->d >= 0 && v->d < 18446744073709551616.0 ? mc_cel_uint((uint64_t)v->d) : MC_CEL_FAILED;
    case MC_CEL_STRING:
        text = trim(v->text);
        text = text.n > 0 && text.p[0] == '+' ? mc_slice_from(text, 1) : text;
        return mc_slice_u64(text, &value) == MC_OK ? mc_cel_uint(value) : MC_CEL_FAILED;
    default: return MC_CEL_FAILED;
    }
}

/* The characters of a number, "inf" or "nan", hexadecimal ones too: what strtod takes beyond them is not for it. */
static mc_cel parse_double(mc_slice text) {
    char copy[128], *end;
    text = trim(text);
    if (text.n == 0 || text.n >= sizeof copy || memchr(text.p, '(', text.n) != NULL) {
        return MC_CEL_FAILED;
    }
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    double value = strtod(copy, &end);
    return *end == '\0' ? mc_cel_double(value) : MC_CEL_FAILED;
}

static mc_cel to_double(const mc_cel *v) {
    switch (v->kind) {
    case MC_CEL_DOUBLE: return *v;
    case MC_CEL_INT: return mc_cel_double((double)v->i);
    case MC_CEL_UINT: return mc_cel_double((double)v->u);
    case MC_CEL_STRING: return parse_double(v->text);
    default: return MC_CEL_FAILED;
    }
}

static mc_cel to_string(const mc_cel *v, mc_cel_context *ctx) {
    mc_text text;
    mc_slice copy = MC_SLICE_NONE;
    switch (v->kind) {
    case MC_CEL_STRING: return *v;
    case MC_CEL_BYTES: return mc_utf8_valid(v->text) ? mc_cel_string(v->text) : MC_CEL_FAILED;
    case MC_CEL_BOOL:
    case MC_CEL_INT:
    case MC_CEL_UINT:
    case MC_CEL_DOUBLE:
    case MC_CEL_DURATION:
    case MC_CEL_TIMESTAMP: break;
    default: return MC_CEL_FAILED;
    }
    mc_text_init(&text);
    bool good = true;
    if (v->kind == MC_CEL_DURATION) {
        good = mc_cel_json_duration(v, &text);
    } else if (v->kind == MC_CEL_TIMESTAMP) {
        good = mc_cel_json_timestamp(v, &text);
    } else {
        good = mc_cel_print(v, &text);
    }
    if (text.failed || (good && mc_arena_dup(ctx->arena, mc_text_slice(&text), &copy) != MC_OK)) {
        ctx->failed = true;
        good = false;
    }
    mc_text_fini(&text);
    return good ? mc_cel_string(copy) : MC_CEL_FAILED;
}

static mc_cel to_type(const mc_cel *v) {
    mc_cel type = mc_cel_type((mc_cel_kind)v->kind);
    type.which = (uint16_t)(type.which | (v->kind == MC_CEL_MESSAGE ? v->which << 8 : 0));
    return type;
}

mc_cel mc_cel_convert(mc_cel_op op, const mc_cel *v, mc_cel_context *ctx) {
    const bool text = v->kind == MC_CEL_STRING;
    switch (op) {
    case MC_CEL_TO_BOOL: return to_bool(v);
    case MC_CEL_TO_INT: return to_int(v);
    case MC_CEL_TO_UINT: return to_uint(v);
    case MC_CEL_TO_DOUBLE: return to_double(v);
    case MC_CEL_TO_STRING: return to_string(v, ctx);
    case MC_CEL_TO_BYTES: return text ? mc_cel_bytes(v->text) : v->kind == MC_CEL_BYTES ? *v : MC_CEL_FAILED;
    case MC_CEL_TO_DURATION:
        return text ? mc_cel_parse_duration(v->text) : v->kind == MC_CEL_DURATION ? *v : MC_CEL_FAILED;
    case MC_CEL_TO_TIMESTAMP:
        return text                          ? mc_cel_parse_timestamp(v->text)
               : v->kind == MC_CEL_TIMESTAMP ? *v
               : v->kind == MC_CEL_INT       ? (mc_cel){.kind = MC_CEL_TIMESTAMP, .seconds = v->i}
                                             : MC_CEL_FAILED;
    case MC_CEL_TO_TYPE: return to_type(v);
    default: return *v;
    }
}
