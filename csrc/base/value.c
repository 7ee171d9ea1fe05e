#include "base/value.h"

#include <math.h>

#include "base/base64.h"

const mc_value *mc_value_get(const mc_value *object, const char *name) {
    if (object == NULL || object->kind != MC_OBJECT) {
        return NULL;
    }
    mc_slice wanted = mc_slice_cstr(name);
    for (size_t i = 0; i < object->count; i++) {
        if (mc_slice_eq(object->names[i], wanted)) {
            return object->items[i].kind == MC_NULL ? NULL : &object->items[i];
        }
    }
    return NULL;
}

/* Nesting is bounded by the parser. */
static mc_status copy_into(mc_arena *arena, const mc_value *value, mc_value *out) {
    *out = *value;
    if (value->kind == MC_STRING) {
        return mc_arena_dup(arena, value->string, &out->string);
    }
    if ((value->kind != MC_LIST && value->kind != MC_OBJECT) || value->count == 0) {
        return MC_OK;
    }
    mc_value *items = mc_arena_alloc(arena, value->count * sizeof *items);
    mc_slice *names = value->names == NULL ? NULL : mc_arena_alloc(arena, value->count * sizeof *names);
    if (items == NULL || (value->names != NULL && names == NULL)) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < value->count; i++) {
        mc_status status = names == NULL ? MC_OK : mc_arena_dup(arena, value->names[i], &names[i]);
        if (status == MC_OK) {
            status = copy_into(arena, &value->items[i], &items[i]);
        }
        if (status != MC_OK) {
            return status;
        }
    }
    out->items = items;
    out->names = names;
    return MC_OK;
}

mc_status mc_value_copy(mc_arena *arena, const mc_value *value, const mc_value **out) {
    mc_value *copy = mc_arena_alloc(arena, sizeof *copy);
    *out = copy;
    return copy == NULL ? MC_ENOMEM : copy_into(arena, value, copy);
}

mc_status mc_value_read_bool(const mc_value *object, const char *name, bool *out, mc_error *error) {
    const mc_value *v = mc_value_get(object, name);
    if (v == NULL) {
        return MC_OK;
    }
    if (v->kind != MC_BOOL) {
        return mc_error_set(error, MC_EINVAL, name, "must be true or false");
    }
    *out = v->boolean;
    return MC_OK;
}

mc_status mc_value_read_u64(const mc_value *object, const char *name, uint64_t *out, mc_error *error) {
    const mc_value *v = mc_value_get(object, name);
    if (v == NULL) {
        return MC_OK;
    }
    if (v->kind == MC_STRING && mc_slice_u64(v->string, out) == MC_OK) {
        return MC_OK;
    }
    if (v->kind == MC_NUMBER && v->number >= 0 && v->number <= 9007199254740992.0 && v->number == floor(v->number)) {
        *out = (uint64_t)v->number;
        return MC_OK;
    }
    return mc_error_set(error, MC_EINVAL, name, "must be an integer of at least 0");
}

mc_status mc_value_read_u32(const mc_value *object, const char *name, uint32_t *out, mc_error *error) {
    uint64_t wide = *out;
    mc_status status = mc_value_read_u64(object, name, &wide, error);
    if (status != MC_OK) {
        return status;
    }
    if (wide > UINT32_MAX) {
        return mc_error_set(error, MC_EINVAL, name, "must be at most %u", UINT32_MAX);
    }
    *out = (uint32_t)wide;
    return MC_OK;
}

mc_status mc_value_read_i64(const mc_value *object, const char *name, int64_t *out, mc_error *error) {
    const mc_value *v = mc_value_get(object, name);
    if (v == NULL) {
        return MC_OK;
    }
    if (v->kind == MC_STRING && mc_slice_i64(v->string, out) == MC_OK) {
        return MC_OK;
    }
    if (v->kind == MC_NUMBER && fabs(v->number) <= 9007199254740992.0 && v->number == floor(v->number)) {
        *out = (int64_t)v->number;
        return MC_OK;
    }
    return mc_error_set(error, MC_EINVAL, name, "must be an integer");
}

mc_status mc_value_read_double(const mc_value *object, const char *name, double *out, mc_error *error) {
    const mc_value *v = mc_value_get(object, name);
    if (v == NULL) {
        return MC_OK;
    }
    if (v->kind != MC_NUMBER) {
        return mc_error_set(error, MC_EINVAL, name, "must be a number");
    }
    *out = v->number;
    return MC_OK;
}

mc_status mc_value_read_string(const mc_value *object, const char *name, mc_slice *out, mc_error *error) {
    const mc_value *v = mc_value_get(object, name);
    if (v == NULL) {
        return MC_OK;
    }
    if (v->kind != MC_STRING) {
        return mc_error_set(error, MC_EINVAL, name, "must be a string");
    }
    *out = v->string;
    return MC_OK;
}

/* Value of a digit of either base64 alphabet, or -1. */
mc_status mc_value_read_bytes(const mc_value *object, const char *name, mc_arena *arena, mc_slice *out,
                              mc_error *error) {
    mc_slice text = MC_SLICE_NONE;
    mc_status status = mc_value_read_string(object, name, &text, error);
    if (status != MC_OK || text.n == 0) {
        return status;
    }
    char *bytes = mc_arena_bytes(arena, text.n);
    if (bytes == NULL) {
        return MC_ENOMEM;
    }
    long n = mc_base64_decode(text, bytes);
    if (n < 0) {
        return mc_error_set(error, MC_EINVAL, name, "must be base64");
    }
    *out = mc_slice_of(bytes, (size_t)n);
    return MC_OK;
}

/* proto3 JSON: [-]seconds[.fraction of up to nine digits]s; BOOT-6 forbids negative ones. */
static mc_status parse_duration_ms(mc_slice text, uint64_t *out) {
    if (text.n < 2 || text.p[text.n - 1] != 's') {
        return MC_EINVAL;
    }
    text = mc_slice_until(text, text.n - 1);
    size_t dot = mc_slice_find(text, '.');
    uint64_t seconds, millis = 0;
    if (mc_slice_u64(mc_slice_until(text, dot), &seconds) != MC_OK || seconds > UINT64_MAX / 1000 - 1) {
        return MC_EINVAL;
    }
    mc_slice fraction = mc_slice_from(text, dot + 1);
    if (dot < text.n && (fraction.n == 0 || fraction.n > 9)) {
        return MC_EINVAL;
    }
    uint64_t scale = 100;
    for (size_t i = 0; i < fraction.n; i++, scale /= 10) {
        if (fraction.p[i] < '0' || fraction.p[i] > '9') {
            return MC_EINVAL;
        }
        millis += (uint64_t)(fraction.p[i] - '0') * scale;
    }
    *out = seconds * 1000 + millis;
    return MC_OK;
}

mc_status mc_value_read_duration_ms(const mc_value *object, const char *name, uint64_t *out, mc_error *error) {
    const mc_value *v = mc_value_get(object, name);
    if (v == NULL) {
        return MC_OK;
    }
    if (v->kind != MC_STRING || parse_duration_ms(v->string, out) != MC_OK) {
        return mc_error_set(error, MC_EINVAL, name, "must be a duration of at least 0 such as \"1.5s\"");
    }
    return MC_OK;
}

mc_status mc_value_read_list(const mc_value *object, const char *name, const mc_value **out, size_t *count,
                             mc_error *error) {
    const mc_value *v = mc_value_get(object, name);
    *out = NULL;
    *count = 0;
    if (v == NULL) {
        return MC_OK;
    }
    if (v->kind != MC_LIST) {
        return mc_error_set(error, MC_EINVAL, name, "must be a list");
    }
    *out = v->items;
    *count = v->count;
    return MC_OK;
}

mc_status mc_value_read_object(const mc_value *object, const char *name, const mc_value **out, mc_error *error) {
    const mc_value *v = mc_value_get(object, name);
    *out = NULL;
    if (v == NULL) {
        return MC_OK;
    }
    if (v->kind != MC_OBJECT) {
        return mc_error_set(error, MC_EINVAL, name, "must be an object");
    }
    *out = v;
    return MC_OK;
}
