/* OpenTelemetry's LogRecord: the numbers are those of opentelemetry.proto.logs.v1 and opentelemetry.proto.common.v1. */
#include "base/alloc.h"
#include "base/wire.h"
#include "proxy/log_message.h"
#include "route/compile.h"

/* Of the same numbers as AnyValue's members. */
typedef enum any_kind { ANY_STRING = 1, ANY_ARRAY = 5, ANY_KVLIST = 6 } any_kind;

struct mc_any_format {
    any_kind kind;
    const mc_format *text; /* ANY_STRING */
    const mc_any_format *items;
    const mc_slice *names; /* ANY_KVLIST */
    uint32_t count;
};

/* --- compiling ----------------------------------------------------------------------------------------------------------------- */

static mc_status compile_any(mc_arena *arena, const mc_value *any, mc_any_format *out, unsigned depth, bool extended,
                             mc_error *error);

static mc_status compile_items(mc_arena *arena, const mc_value *list, mc_any_format *out, unsigned depth, bool extended,
                               mc_error *error) {
    const mc_value *values;
    size_t count;
    MC_TRY(mc_value_read_list(list, "values", &values, &count, error));
    mc_any_format *items = mc_arena_zalloc(arena, count * sizeof *items);
    mc_slice *names = mc_arena_zalloc(arena, count * sizeof *names);
    if (count > 0 && (items == NULL || names == NULL)) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        const mc_value *value = &values[i];
        if (out->kind == ANY_KVLIST) {
            MC_TRY(mc_error_in(mc_read_text(arena, value, "key", &names[i], error), error, "values[%zu]", i));
            value = mc_value_get(value, "value");
        }
        MC_TRY(mc_error_in(compile_any(arena, value, &items[i], depth + 1, extended, error), error,
                           out->kind == ANY_KVLIST ? "values[%zu].value" : "values[%zu]", i));
    }
    out->items = items;
    out->names = names;
    out->count = (uint32_t)count;
    return MC_OK;
}

static mc_status compile_any(mc_arena *arena, const mc_value *any, mc_any_format *out, unsigned depth, bool extended,
                             mc_error *error) {
    enum { DEPTH_MAX = 100 };
    const mc_value *list;
    mc_slice text = MC_SLICE_NONE;
    if (mc_value_get(any, "string_value") != NULL) {
        out->kind = ANY_STRING;
        MC_TRY(mc_value_read_string(any, "string_value", &text, error));
        return mc_error_in(mc_format_compile_extended(arena, text, false, extended, &out->text, error), error,
                           "string_value");
    }
    for (int i = 0; i < 2 && depth < DEPTH_MAX; i++) {
        const char *field = i == 0 ? "kvlist_value" : "array_value";
        MC_TRY(mc_value_read_object(any, field, &list, error));
        if (list != NULL) {
            out->kind = i == 0 ? ANY_KVLIST : ANY_ARRAY;
            return mc_error_in(compile_items(arena, list, out, depth, extended, error), error, "%s", field);
        }
    }
    return mc_error_set(error, MC_EINVAL, "", "must be a string, a list of keys and values, or an array");
}

mc_status mc_any_format_compile(mc_arena *arena, const mc_value *any, bool extended, const mc_any_format **out,
                                mc_error *error) {
    mc_any_format *made = mc_arena_zalloc(arena, sizeof *made);
    *out = made;
    return made == NULL ? MC_ENOMEM : compile_any(arena, any, made, 0, extended, error);
}

mc_status mc_any_format_compile_list(mc_arena *arena, const mc_value *list, bool extended, const mc_any_format **out,
                                     mc_error *error) {
    mc_any_format *made = mc_arena_zalloc(arena, sizeof *made);
    *out = made;
    if (made == NULL) {
        return MC_ENOMEM;
    }
    made->kind = ANY_KVLIST;
    return compile_items(arena, list, made, 0, extended, error);
}

void mc_any_format_tell_reads(const mc_any_format *any, mc_format_reads *reads) {
    if (any != NULL && any->text != NULL) {
        mc_format_tell_reads(any->text, reads);
    }
    for (uint32_t i = 0; any != NULL && i < any->count; i++) {
        mc_any_format_tell_reads(&any->items[i], reads);
    }
}

/* --- writing ------------------------------------------------------------------------------------------------------------------- */

static void wire_items(mc_text *out, uint32_t field, const mc_any_format *list, const mc_stream_info *info);

/* A string is there even when it is empty: it says which of AnyValue's members it is. */
static void wire_string(mc_text *out, mc_slice text) {
    if (text.n == 0) {
        mc_wire_end(out, mc_wire_begin(out, ANY_STRING));
    }
    mc_wire_text(out, ANY_STRING, text);
}

static void wire_any(mc_text *out, uint32_t field, const mc_any_format *any, const mc_stream_info *info) {
    enum { VALUES = 1 };
    const size_t mark = mc_wire_begin(out, field);
    if (any->kind == ANY_STRING) {
        mc_text text;
        mc_text_init(&text);
        mc_format_run(any->text, info, &text);
        wire_string(out, mc_text_slice(&text));
        out->failed = out->failed || text.failed;
        mc_text_fini(&text);
    } else {
        const size_t inner = mc_wire_begin(out, (uint32_t)any->kind);
        wire_items(out, VALUES, any, info);
        mc_wire_end(out, inner);
    }
    mc_wire_end(out, mark);
}

enum { KEY = 1, VALUE = 2 };

static void wire_items(mc_text *out, uint32_t field, const mc_any_format *list, const mc_stream_info *info) {
    for (uint32_t i = 0; i < list->count; i++) {
        if (list->kind == ANY_ARRAY) {
            wire_any(out, field, &list->items[i], info);
            continue;
        }
        const size_t mark = mc_wire_begin(out, field);
        mc_wire_text(out, KEY, list->names[i]);
        wire_any(out, VALUE, &list->items[i], info);
        mc_wire_end(out, mark);
    }
}

enum { ATTRIBUTES = 6 };

static void wire_attribute(mc_text *out, mc_slice name, mc_slice value) {
    const size_t mark = mc_wire_begin(out, ATTRIBUTES);
    mc_wire_text(out, KEY, name);
    const size_t inner = mc_wire_begin(out, VALUE);
    wire_string(out, value);
    mc_wire_end(out, inner);
    mc_wire_end(out, mark);
}

static unsigned hex_digit(char c) { return (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10); }

/* The id's bytes, widened by zeros to `size`; one that is longer, or of an odd length, is left out. */
static void wire_id(mc_text *out, uint32_t field, mc_slice hex, size_t size) {
    char bytes[16] = {0};
    const size_t n = hex.n / 2;
    if (hex.n == 0 || hex.n % 2 != 0 || n > size) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        bytes[size - n + i] = (char)(hex_digit(hex.p[2 * i]) << 4 | hex_digit(hex.p[2 * i + 1]));
    }
    mc_wire_bytes(out, field, mc_slice_of(bytes, size));
}

void mc_log_record_write(const mc_log_message *message, const mc_stream_info *info, mc_text *out) {
    enum { TIME = 1, BODY = 5, TRACE_ID = 9, SPAN_ID = 10, TRACE_BYTES = 16, SPAN_BYTES = 8 };
    mc_wire_fixed64(out, TIME, info->start_ns);
    if (message->body != NULL) {
        wire_any(out, BODY, message->body, info);
    }
    if (message->attributes != NULL) {
        wire_items(out, ATTRIBUTES, message->attributes, info);
    }
    mc_log_message_tags(message, info, out, wire_attribute);
    wire_id(out, TRACE_ID, info->trace_id, TRACE_BYTES);
    wire_id(out, SPAN_ID, info->span_id, SPAN_BYTES);
}
