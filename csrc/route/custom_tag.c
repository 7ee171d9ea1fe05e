#include "route/custom_tag.h"

#include <ctype.h>
#include <string.h>

#include "route/compile.h"
#include "route/format_evals.h"

/* What stands for itself in a format. */
static mc_status escaped(mc_arena *arena, mc_slice text, mc_slice *out) {
    char *copy = mc_arena_bytes(arena, 2 * text.n + 1);
    size_t n = 0;
    if (copy == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '%') {
            copy[n++] = '%';
        }
        copy[n++] = text.p[i];
    }
    *out = mc_slice_of(copy, n);
    return MC_OK;
}

static mc_status literal(mc_arena *arena, const mc_value *value, mc_slice *format, mc_error *error) {
    mc_slice text = MC_SLICE_NONE;
    MC_TRY(mc_value_read_string(value, "value", &text, error));
    return escaped(arena, text, format);
}

/* The control side has written the variable's value into the default, if there is one. */
static mc_status environment(const mc_value *value, mc_slice *format, mc_error *error) {
    mc_slice name = MC_SLICE_NONE;
    *format = MC_SLICE("");
    return mc_value_read_string(value, "name", &name, error);
}

static mc_status request_header(mc_arena *arena, const mc_value *value, mc_slice *format, mc_error *error) {
    mc_slice name = MC_SLICE_NONE;
    MC_TRY(mc_value_read_string(value, "name", &name, error));
    if (!mc_format_header_valid(name)) { /* no request has it */
        *format = MC_SLICE("");
        return MC_OK;
    }
    return mc_arena_concat(arena, (mc_slice[]){MC_SLICE("%REQ("), name, MC_SLICE(")%")}, 3, format);
}

/* A name as a JSON string, in which nothing stands that means something in a format. */
static mc_status quoted(mc_arena *arena, mc_slice name, mc_slice *out) {
    static const char digits[] = "0123456789abcdef";
    char *copy = mc_arena_bytes(arena, 6 * name.n + 2);
    size_t n = 0;
    if (copy == NULL) {
        return MC_ENOMEM;
    }
    copy[n++] = '"';
    for (size_t i = 0; i < name.n; i++) {
        const unsigned char c = (unsigned char)name.p[i];
        if (c >= 0x80 || isalnum(c)) {
            copy[n++] = (char)c;
        } else {
            memcpy(copy + n, "\\u00", 4);
            copy[n + 4] = digits[c >> 4];
            copy[n + 5] = digits[c & 15];
            n += 6;
        }
    }
    copy[n++] = '"';
    *out = mc_slice_of(copy, n);
    return MC_OK;
}

static mc_status metadata(mc_arena *arena, const mc_value *value, mc_slice *format, mc_error *error) {
    static const struct {
        const char *kind;
        mc_slice command;
    } kinds[] = {{"request", MC_SLICE_INIT("%DYNAMIC_METADATA(")},
                 {"route", MC_SLICE_INIT("%METADATA(ROUTE:")},
                 {"cluster", MC_SLICE_INIT("%CLUSTER_METADATA(")},
                 {"host", MC_SLICE_INIT("%UPSTREAM_METADATA(")}};
    const mc_value *kind, *key, *path;
    size_t length, which = 0;
    mc_slice name = MC_SLICE_NONE;
    MC_TRY(mc_value_read_object(value, "kind", &kind, error));
    MC_TRY(mc_value_read_object(value, "metadata_key", &key, error));
    MC_TRY(mc_value_read_string(key, "key", &name, error));
    MC_TRY(mc_value_read_list(key, "path", &path, &length, error));
    while (which < 4 && mc_value_get(kind, kinds[which].kind) == NULL) {
        which++;
    }
    if (which == 4 || name.n == 0) { /* as in Envoy, of nothing there is the default */
        *format = MC_SLICE("");
        return MC_OK;
    }
    mc_slice *parts = mc_arena_alloc(arena, (2 * length + 4) * sizeof *parts);
    if (parts == NULL) {
        return MC_ENOMEM;
    }
    size_t n = 0;
    parts[n++] = kinds[which].command;
    parts[n++] = MC_SLICE("[");
    MC_TRY(quoted(arena, name, &parts[n++]));
    for (size_t i = 0; i < length; i++) {
        mc_slice key = MC_SLICE_NONE;
        parts[n++] = MC_SLICE(",");
        MC_TRY(mc_value_read_string(&path[i], "key", &key, error));
        MC_TRY(quoted(arena, key, &parts[n++]));
    }
    parts[n++] = MC_SLICE("])%");
    return mc_arena_concat(arena, parts, n, format);
}

static mc_status compile_tag(mc_arena *arena, const mc_value *entry, mc_custom_tag *out, mc_error *error) {
    mc_slice format = MC_SLICE_NONE;
    const mc_value *kind;
    MC_TRY(mc_read_name(arena, entry, "tag", &out->name, error));
    if ((kind = mc_value_get(entry, "literal")) != NULL) {
        MC_TRY(mc_error_in(literal(arena, kind, &format, error), error, "literal"));
    } else if ((kind = mc_value_get(entry, "environment")) != NULL) {
        MC_TRY(mc_error_in(environment(kind, &format, error), error, "environment"));
    } else if ((kind = mc_value_get(entry, "request_header")) != NULL) {
        MC_TRY(mc_error_in(request_header(arena, kind, &format, error), error, "request_header"));
    } else if ((kind = mc_value_get(entry, "metadata")) != NULL) {
        out->keeps_empty = true;
        MC_TRY(mc_error_in(metadata(arena, kind, &format, error), error, "metadata"));
    } else if (mc_value_get(entry, "value") != NULL) {
        MC_TRY(mc_value_read_string(entry, "value", &format, error));
    } else {
        return mc_error_set(error, MC_EINVAL, "",
                            "must have one of literal, environment, request_header, metadata, value");
    }
    if (kind != NULL) {
        MC_TRY(mc_read_text(arena, kind, "default_value", &out->otherwise, error));
    }
    return mc_error_in(mc_format_compile_text(arena, format, true, &out->value, error), error, "value");
}

mc_status mc_custom_tags_compile(mc_arena *arena, const mc_value *object, mc_custom_tags *out, mc_error *error) {
    const mc_value *list;
    size_t count;
    *out = (mc_custom_tags){NULL, 0};
    MC_TRY(mc_value_read_list(object, "custom_tags", &list, &count, error));
    mc_custom_tag *items = count == 0 ? NULL : mc_arena_zalloc(arena, count * sizeof *items);
    if (count != 0 && items == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(compile_tag(arena, &list[i], &items[i], error), error, "custom_tags[%zu]", i));
    }
    *out = (mc_custom_tags){items, (uint32_t)count};
    return MC_OK;
}
