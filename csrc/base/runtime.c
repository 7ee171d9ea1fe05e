#include "base/runtime.h"

#include <stdlib.h>

#include "base/value_edit.h"

mc_status mc_runtime_init(mc_runtime *runtime, const mc_value *values) {
    mc_map_init(&runtime->values);
    for (size_t i = 0; values != NULL && values->kind == MC_OBJECT && i < values->count; i++) {
        mc_status status = mc_map_put(&runtime->values, values->names[i], (void *)&values->items[i]);
        if (status != MC_OK) {
            mc_runtime_fini(runtime);
            return status;
        }
    }
    return MC_OK;
}

void mc_runtime_fini(mc_runtime *runtime) { mc_map_fini(&runtime->values); }

const mc_value *mc_runtime_get(const mc_runtime *runtime, mc_slice key) {
    return runtime == NULL || key.n == 0 ? NULL : mc_map_get(&runtime->values, key);
}

static bool as_double(const mc_value *value, double *out) {
    if (value != NULL && value->kind == MC_STRING && value->string.n > 0 && value->string.n < 64) {
        char text[64], *end;
        memcpy(text, value->string.p, value->string.n);
        text[value->string.n] = '\0';
        *out = strtod(text, &end);
        return *end == '\0';
    }
    *out = value != NULL && value->kind == MC_NUMBER ? value->number : 0;
    return value != NULL && value->kind == MC_NUMBER;
}

/* What is behind the point does not count. */
static bool as_u64(const mc_value *value, uint64_t *out) {
    double number;
    if (value != NULL && value->kind == MC_STRING && mc_slice_u64(mc_slice_trim(value->string), out) == MC_OK) {
        return true;
    }
    if (!as_double(value, &number) || !(number >= 0 && number < 18446744073709551616.0)) {
        return false;
    }
    *out = (uint64_t)number;
    return true;
}

uint64_t mc_runtime_u64(const mc_runtime *runtime, mc_slice key, uint64_t otherwise) {
    uint64_t number;
    return as_u64(mc_runtime_get(runtime, key), &number) ? number : otherwise;
}

bool mc_runtime_bool(const mc_runtime *runtime, mc_slice key, bool otherwise) {
    const mc_value *value = mc_runtime_get(runtime, key);
    if (value != NULL && value->kind == MC_BOOL) {
        return value->boolean;
    }
    if (value != NULL && value->kind == MC_STRING) {
        bool on = mc_slice_ieq(value->string, MC_SLICE("true"));
        return on || mc_slice_ieq(value->string, MC_SLICE("false")) ? on : otherwise;
    }
    return otherwise;
}

double mc_runtime_double(const mc_runtime *runtime, mc_slice key, double otherwise) {
    double number;
    return as_double(mc_runtime_get(runtime, key), &number) ? number : otherwise;
}

/* --- fractions --- */

static const struct {
    const char *name;
    uint32_t value;
} denominators[] = {{"HUNDRED", 100}, {"TEN_THOUSAND", 10000}, {"MILLION", 1000000}};

mc_status mc_fraction_read_percent(const mc_value *percent, mc_fraction *out, mc_error *error) {
    mc_slice name = MC_SLICE("HUNDRED");
    out->numerator = 0;
    mc_status status = mc_value_read_u32(percent, "numerator", &out->numerator, error);
    if (status == MC_OK) {
        status = mc_value_read_string(percent, "denominator", &name, error);
    }
    if (status != MC_OK) {
        return status;
    }
    for (size_t i = 0; i < sizeof denominators / sizeof denominators[0]; i++) {
        if (mc_slice_eq(name, mc_slice_cstr(denominators[i].name))) {
            out->denominator = denominators[i].value;
            return MC_OK;
        }
    }
    return mc_error_set(error, MC_EINVAL, "denominator", "must be HUNDRED, TEN_THOUSAND or MILLION");
}

mc_status mc_fraction_read_message(mc_arena *arena, const mc_value *message, mc_fraction *out, mc_error *error) {
    const mc_value *percent;
    mc_slice key = MC_SLICE_NONE;
    mc_status status = mc_value_read_object(message, "default_value", &percent, error);
    if (status == MC_OK && percent == NULL) {
        status = mc_error_set(error, MC_EINVAL, "default_value", "is required");
    }
    if (status != MC_OK) {
        return status;
    }
    status = mc_fraction_read_percent(percent, out, error);
    if (status == MC_EINVAL) {
        mc_error_under(error, "default_value");
    }
    if (status == MC_OK) {
        status = mc_value_read_string(message, "runtime_key", &key, error);
    }
    return status != MC_OK || key.n == 0 ? status : mc_arena_dup(arena, key, &out->runtime_key);
}

mc_status mc_fraction_read(mc_arena *arena, const mc_value *object, const char *field, mc_fraction *out,
                           mc_error *error) {
    const mc_value *value;
    mc_status status = mc_value_read_object(object, field, &value, error);
    if (status != MC_OK || value == NULL) {
        return status;
    }
    status = mc_fraction_read_message(arena, value, out, error);
    if (status == MC_EINVAL) {
        mc_error_under(error, "%s", field);
    }
    return status;
}

bool mc_fraction_holds(const mc_fraction *fraction, const mc_runtime *runtime, uint64_t random) {
    const mc_value *value = runtime == NULL ? NULL : mc_runtime_get(runtime, fraction->runtime_key);
    uint64_t percent;
    mc_fraction own = *fraction;
    if (as_u64(value, &percent)) {
        return random % 100 < percent;
    }
    if (value != NULL && value->kind == MC_OBJECT) {
        mc_error ignored;
        if (mc_fraction_read_percent(value, &own, &ignored) != MC_OK) {
            own = *fraction;
        }
    }
    return random % own.denominator < own.numerator;
}

/* --- other messages with a key --- */

static mc_status under(mc_status status, const char *field, mc_error *error) {
    if (status == MC_EINVAL) {
        mc_error_under(error, "%s", field);
    }
    return status;
}

static mc_status read_key(mc_arena *arena, const mc_value *message, mc_slice *out, mc_error *error) {
    mc_slice key = MC_SLICE_NONE;
    mc_status status = mc_value_read_string(message, "runtime_key", &key, error);
    *out = MC_SLICE_NONE;
    return status != MC_OK || key.n == 0 ? status : mc_arena_dup(arena, key, out);
}

mc_status mc_feature_flag_read(mc_arena *arena, const mc_value *object, const char *field, mc_feature_flag *out,
                               mc_error *error) {
    const mc_value *message;
    mc_status status = mc_value_read_object(object, field, &message, error);
    if (status != MC_OK || message == NULL) {
        return status;
    }
    out->value = false;
    status = mc_value_read_bool(message, "default_value", &out->value, error);
    return under(status == MC_OK ? read_key(arena, message, &out->runtime_key, error) : status, field, error);
}

mc_status mc_runtime_number_read(mc_arena *arena, const mc_value *object, const char *field, mc_runtime_number *out,
                                 mc_error *error) {
    const mc_value *message, *given;
    mc_status status = mc_value_read_object(object, field, &message, error);
    if (status != MC_OK || message == NULL) {
        return status;
    }
    out->value = 0;
    given = mc_value_get(message, "default_value"); /* of a RuntimePercent: a Percent */
    status = given != NULL && given->kind == MC_OBJECT
                 ? under(mc_value_read_double(given, "value", &out->value, error), "default_value", error)
                 : mc_value_read_double(message, "default_value", &out->value, error);
    return under(status == MC_OK ? read_key(arena, message, &out->runtime_key, error) : status, field, error);
}

/* --- layers --- */

static bool is_fraction(const mc_value *value) {
    return mc_value_get(value, "numerator") != NULL || mc_value_get(value, "denominator") != NULL;
}

static mc_status flatten(mc_arena *arena, mc_slice prefix, const mc_value *object, const mc_value **out) {
    mc_status status = MC_OK;
    for (size_t i = 0; i < object->count && status == MC_OK; i++) {
        const mc_value *value = &object->items[i], *copy;
        mc_slice parts[] = {prefix, prefix.n == 0 ? MC_SLICE_NONE : MC_SLICE("."), object->names[i]}, key;
        status = mc_arena_concat(arena, parts, 3, &key);
        if (status == MC_OK && value->kind == MC_OBJECT && !is_fraction(value)) {
            status = flatten(arena, key, value, out);
        } else if (status == MC_OK) {
            status = mc_value_copy(arena, value, &copy);
            status = status == MC_OK ? mc_value_put(arena, *out, key, copy, out) : status;
        }
    }
    return status;
}

mc_status mc_runtime_flatten(mc_arena *arena, const mc_value *layered, const mc_value **out, mc_error *error) {
    const mc_value *layers, *values;
    size_t count;
    mc_status status = mc_value_read_list(layered, "layers", &layers, &count, error);
    *out = NULL;
    for (size_t i = 0; i < count && status == MC_OK; i++) {
        status = mc_value_read_object(&layers[i], "static_layer", &values, error);
        if (status == MC_OK && values != NULL) {
            status = flatten(arena, MC_SLICE_NONE, values, out);
        }
    }
    return status;
}
