#include "base/read.h"

#include <stdarg.h>
#include <stdio.h>

mc_status mc_error_in(mc_status status, mc_error *error, const char *format, ...) {
    if (status == MC_EINVAL && error != NULL) {
        char part[192];
        va_list args;
        va_start(args, format);
        vsnprintf(part, sizeof part, format, args);
        va_end(args);
        mc_error_under(error, "%s", part);
    }
    return status;
}

mc_status mc_read_enum(const mc_value *object, const char *field, const mc_name_value *names, uint64_t *out,
                       mc_error *error) {
    mc_slice text = MC_SLICE_NONE;
    MC_TRY(mc_value_read_string(object, field, &text, error));
    if (text.p == NULL) {
        return MC_OK;
    }
    for (; names->name != NULL; names++) {
        if (mc_slice_eq(text, mc_slice_cstr(names->name))) {
            *out = names->value;
            return MC_OK;
        }
    }
    return mc_error_set(error, MC_EINVAL, field, "%.*s is not supported", MC_SLICE_ARG(text));
}

mc_status mc_refuse_unknown(const mc_value *object, const char *const *known, mc_error *error) {
    for (size_t i = 0; object != NULL && object->kind == MC_OBJECT && i < object->count; i++) {
        const char *const *at = known;
        while (*at != NULL && !mc_slice_eq(object->names[i], mc_slice_cstr(*at))) {
            at++;
        }
        if (*at == NULL && object->items[i].kind != MC_NULL) {
            char name[128];
            snprintf(name, sizeof name, "%.*s", MC_SLICE_ARG(object->names[i]));
            return mc_error_set(error, MC_EINVAL, name, "is not supported");
        }
    }
    return MC_OK;
}

mc_status mc_read_text(mc_arena *arena, const mc_value *object, const char *field, mc_slice *out, mc_error *error) {
    mc_slice text = MC_SLICE_NONE;
    MC_TRY(mc_value_read_string(object, field, &text, error));
    return text.n == 0 ? MC_OK : mc_arena_dup(arena, text, out);
}

mc_status mc_read_name(mc_arena *arena, const mc_value *object, const char *field, mc_slice *out, mc_error *error) {
    mc_slice text = MC_SLICE_NONE;
    MC_TRY(mc_value_read_string(object, field, &text, error));
    if (text.n == 0) {
        return mc_error_set(error, MC_EINVAL, field, "must not be empty");
    }
    return mc_arena_dup(arena, text, out);
}

mc_status mc_dup_lower(mc_arena *arena, mc_slice text, mc_slice *out) {
    if (text.n == 0) {
        *out = text;
        return MC_OK;
    }
    char *lower = mc_arena_bytes(arena, text.n);
    if (lower == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < text.n; i++) {
        lower[i] = mc_ascii_lower(text.p[i]);
    }
    *out = mc_slice_of(lower, text.n);
    return MC_OK;
}

mc_status mc_read_data(mc_arena *arena, const mc_value *source, mc_slice *out, mc_error *error) {
    static const char *const known[] = {"inline_string", "inline_bytes", NULL};
    MC_TRY(mc_refuse_unknown(source, known, error));
    MC_TRY(mc_read_text(arena, source, "inline_string", out, error));
    return mc_value_get(source, "inline_bytes") == NULL
               ? MC_OK
               : mc_value_read_bytes(source, "inline_bytes", arena, out, error);
}

mc_status mc_read_data_source(mc_arena *arena, const mc_value *object, const char *field, mc_slice *out,
                              mc_error *error) {
    const mc_value *source;
    MC_TRY(mc_value_read_object(object, field, &source, error));
    return mc_error_in(mc_read_data(arena, source, out, error), error, "%s", field);
}

mc_status mc_read_percent(const mc_value *object, const char *field, double *out, mc_error *error) {
    const mc_value *percent;
    MC_TRY(mc_value_read_object(object, field, &percent, error));
    if (percent == NULL) {
        return MC_OK;
    }
    *out = 0; /* proto3 leaves zero out */
    MC_TRY(mc_error_in(mc_value_read_double(percent, "value", out, error), error, "%s", field));
    return *out >= 0 && *out <= 100 ? MC_OK : mc_error_set(error, MC_EINVAL, field, "must be between 0 and 100");
}

mc_status mc_read_tri(const mc_value *object, const char *field, int8_t *out, mc_error *error) {
    bool on = false;
    MC_TRY(mc_value_read_bool(object, field, &on, error));
    *out = mc_value_get(object, field) == NULL ? -1 : (int8_t)on;
    return MC_OK;
}

mc_status mc_read_texts(mc_arena *arena, const mc_value *object, const char *field, const mc_slice **out,
                        uint32_t *count, mc_error *error) {
    const mc_value *items;
    size_t n;
    MC_TRY(mc_value_read_list(object, field, &items, &n, error));
    *out = NULL;
    *count = (uint32_t)n;
    mc_slice *texts = n == 0 ? NULL : mc_arena_zalloc(arena, n * sizeof *texts);
    if (n > 0 && texts == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        if (items[i].kind != MC_STRING) {
            return mc_error_in(mc_error_set(error, MC_EINVAL, "", "must be a string"), error, "%s[%zu]", field, i);
        }
        MC_TRY(mc_arena_dup(arena, items[i].string, &texts[i]));
    }
    *out = texts;
    return MC_OK;
}

mc_slice mc_any_type(const mc_value *any) {
    const mc_value *url = mc_value_get(any, "@type");
    if (url == NULL || url->kind != MC_STRING) {
        return MC_SLICE("");
    }
    size_t start = url->string.n;
    while (start > 0 && url->string.p[start - 1] != '/') {
        start--;
    }
    return mc_slice_from(url->string, start);
}

mc_status mc_read_extension(const mc_value *object, const char *field, const mc_name_value *types,
                            const mc_value **config, uint64_t *type, mc_error *error) {
    MC_TRY(mc_value_read_object(object, field, config, error));
    mc_slice name = mc_any_type(*config);
    for (; types->name != NULL; types++) {
        if (mc_slice_eq(name, mc_slice_cstr(types->name))) {
            *type = types->value;
            return MC_OK;
        }
    }
    return mc_error_set(error, MC_EINVAL, field, "%.*s is not supported", MC_SLICE_ARG(name));
}
