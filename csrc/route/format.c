#include "route/format.h"

#include "route/compile.h"
#include "route/format_program.h"

const char mc_format_default[] =
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% "
    "%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" "
    "\"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\"\n";

/* --- compiling --------------------------------------------------------------------------------------------------------- */

/* One operator, cut up: %COMMAND(ARGUMENT):LENGTH%. */
typedef struct parts {
    mc_slice command, argument;
    bool has_argument, has_length;
    size_t length;
    size_t size; /* of all, both percent signs included */
} parts;

static bool is_command_char(char c) { return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'; }

/* [':' digits] '%' at the start of `s`. */
static bool cut_tail(mc_slice s, parts *out, size_t *size) {
    size_t n = 0;
    out->has_length = false;
    if (s.n > 0 && s.p[0] == ':') {
        for (n = 1; n < s.n && s.p[n] >= '0' && s.p[n] <= '9'; n++) {
        }
        uint64_t length;
        if (mc_slice_u64(mc_slice_of(s.p + 1, n - 1), &length) != MC_OK) {
            return false;
        }
        out->has_length = true;
        out->length = (size_t)length;
    }
    *size = n + 1;
    return n < s.n && s.p[n] == '%';
}

/* The argument ends at the first ')' behind which the operator can end. */
static bool cut(mc_slice s, parts *out) {
    size_t n = 1, tail;
    for (; n < s.n && is_command_char(s.p[n]); n++) {
    }
    out->command = mc_slice_of(s.p + 1, n - 1);
    out->has_argument = n < s.n && s.p[n] == '(';
    if (out->command.n == 0) {
        return false;
    }
    if (!out->has_argument) {
        out->argument = MC_SLICE_NONE;
        bool ends = cut_tail(mc_slice_from(s, n), out, &tail);
        out->size = n + tail;
        return ends;
    }
    for (size_t i = n + 1; i < s.n && s.p[i] != '\n'; i++) {
        if (s.p[i] == ')' && cut_tail(mc_slice_from(s, i + 1), out, &tail)) {
            out->argument = mc_slice_of(s.p + n + 1, i - n - 1);
            out->size = i + 1 + tail;
            return true;
        }
    }
    return false;
}

mc_status mc_format_bind(mc_arena *arena, const mc_format_command *command, mc_slice argument, mc_format_op *op,
                         mc_error *error) {
    if ((command->syntax & (MC_SYNTAX_ARGUMENT | MC_SYNTAX_OPTIONAL | MC_SYNTAX_LENGTH)) == 0 &&
        (argument.n > 0 || op->has_length)) {
        return mc_error_set(error, MC_EINVAL, "", "%%%s%% does not take any parameters or length", command->name);
    }
    if ((command->syntax & MC_SYNTAX_ARGUMENT) && argument.n == 0) {
        return mc_error_set(error, MC_EINVAL, "", "%%%s%% requires parameters", command->name);
    }
    if (op->has_length && !(command->syntax & MC_SYNTAX_LENGTH)) {
        return mc_error_set(error, MC_EINVAL, "", "%%%s%% does not allow length to be specified", command->name);
    }
    op->command = command;
    return command->parse == NULL ? MC_OK : command->parse(arena, op, argument, error);
}

static mc_status compile_operator(mc_arena *arena, const parts *cut, bool extended, mc_format_op *op, mc_error *error) {
    const mc_format_command *command = mc_format_find(cut->command);
    mc_slice argument = MC_SLICE_NONE;
    if (command == NULL || ((command->syntax & MC_SYNTAX_EXTENSION) && !extended)) {
        return mc_error_set(error, MC_EINVAL, "", "%%%.*s%% is not a known operator", MC_SLICE_ARG(cut->command));
    }
    op->has_length = cut->has_length;
    op->length = cut->length;
    MC_TRY(mc_arena_dup(arena, cut->argument, &argument));
    return mc_format_bind(arena, command, argument, op, error);
}

/* Literal text up to the next operator, "%%" written as '%'; returns the end in `text`. */
static mc_status take_literal(mc_arena *arena, mc_slice text, size_t from, size_t *end, mc_slice *out) {
    size_t i = from, n = 0;
    for (; i < text.n && (text.p[i] != '%' || (i + 1 < text.n && text.p[i + 1] == '%')); i++, n++) {
        i += text.p[i] == '%';
    }
    *end = i;
    char *copy = mc_arena_bytes(arena, n);
    if (copy == NULL) {
        return MC_ENOMEM;
    }
    for (size_t j = from, k = 0; j < i; j++) {
        j += text.p[j] == '%';
        copy[k++] = text.p[j];
    }
    *out = mc_slice_of(copy, n);
    return MC_OK;
}

mc_status mc_format_parse(mc_arena *arena, mc_slice text, bool extended, mc_format_ops *out, mc_error *error) {
    size_t most = 1;
    for (size_t i = 0; i < text.n; i++) {
        most += text.p[i] == '%';
    }
    mc_format_op *ops = mc_arena_zalloc(arena, most * sizeof *ops);
    uint32_t count = 0;
    if (ops == NULL) {
        return MC_ENOMEM;
    }
    for (size_t at = 0; at < text.n;) {
        parts operator;
        if (text.p[at] != '%' || (at + 1 < text.n && text.p[at + 1] == '%')) {
            MC_TRY(take_literal(arena, text, at, &at, &ops[count++].text));
            continue;
        }
        if (!cut(mc_slice_from(text, at), &operator)) {
            return mc_error_set(error, MC_EINVAL, "", "has no valid operator at position %zu: %.*s", at,
                                MC_SLICE_ARG(text));
        }
        MC_TRY(compile_operator(arena, &operator, extended, &ops[count++], error));
        at += operator.size;
    }
    if (count == 0) {
        ops[count++].text = mc_slice_of("", 0);
    }
    *out = (mc_format_ops){ops, count};
    return MC_OK;
}

mc_status mc_format_compile_extended(mc_arena *arena, mc_slice text, bool omit_empty, bool extended,
                                     const mc_format **out, mc_error *error) {
    mc_format *format = mc_arena_zalloc(arena, sizeof *format);
    if (format == NULL) {
        return MC_ENOMEM;
    }
    format->omit_empty = omit_empty;
    MC_TRY(mc_format_parse(arena, text, extended, &format->ops, error));
    *out = format;
    return MC_OK;
}

mc_status mc_format_compile_text(mc_arena *arena, mc_slice text, bool omit_empty, const mc_format **out,
                                 mc_error *error) {
    return mc_format_compile_extended(arena, text, omit_empty, false, out, error);
}

mc_status mc_format_read_formatters(const mc_value *message, bool *extended, mc_error *error) {
    static const char without_query[] = "/envoy.extensions.formatter.req_without_query.v3.ReqWithoutQuery";
    const mc_value *items;
    size_t count;
    MC_TRY(mc_value_read_list(message, "formatters", &items, &count, error));
    for (size_t i = 0; i < count; i++) {
        const mc_value *config = mc_value_get(&items[i], "typed_config");
        mc_slice type = MC_SLICE_NONE;
        MC_TRY(mc_value_read_string(config, "@type", &type, error));
        *extended = *extended || mc_slice_has_suffix(type, mc_slice_cstr(without_query));
    }
    return MC_OK;
}

mc_status mc_format_compile(mc_arena *arena, const mc_value *message, const mc_format **out, mc_error *error) {
    const mc_value *json;
    mc_slice text = MC_SLICE_NONE;
    bool omit_empty = false, extended = false;
    MC_TRY(mc_value_read_bool(message, "omit_empty_values", &omit_empty, error));
    MC_TRY(mc_format_read_formatters(message, &extended, error));
    MC_TRY(mc_value_read_object(message, "json_format", &json, error));
    if (json != NULL) {
        return mc_error_in(mc_format_json(arena, json, omit_empty, extended, out, error), error, "json_format");
    }
    if (mc_value_get(message, "text_format_source") != NULL) {
        MC_TRY(mc_read_data_source(arena, message, "text_format_source", &text, error));
        return mc_error_in(mc_format_compile_extended(arena, text, omit_empty, extended, out, error), error,
                           "text_format_source.inline_string");
    }
    if (mc_value_get(message, "text_format") == NULL) {
        return mc_error_set(error, MC_EINVAL, "", "must have text_format, text_format_source or json_format");
    }
    MC_TRY(mc_value_read_string(message, "text_format", &text, error));
    return mc_error_in(mc_format_compile_extended(arena, text, omit_empty, extended, out, error), error, "text_format");
}

mc_status mc_format_content_type(mc_arena *arena, const mc_value *message, mc_slice *out, mc_error *error) {
    *out = MC_SLICE_NONE;
    MC_TRY(mc_read_text(arena, message, "content_type", out, error));
    if (out->n == 0) {
        *out = mc_value_get(message, "json_format") != NULL ? MC_SLICE("application/json") : MC_SLICE("text/plain");
    }
    return MC_OK;
}

/* --- running ------------------------------------------------------------------------------------------------------------ */

void mc_format_cut(const mc_format_op *op, size_t start, mc_text *out) {
    if (op->has_length && out->n - start > op->length) {
        out->n = start + op->length;
    }
}

mc_format_result mc_format_eval(const mc_format_op *op, const mc_stream_info *info, mc_text *out) {
    const size_t start = out->n;
    mc_format_result result = op->command->eval(op, info, out);
    if (result.kind == MC_FORMAT_TEXT) {
        mc_format_cut(op, start, out);
    }
    return result;
}

bool mc_format_null(const mc_format_op *op, mc_text *out) {
    const mc_slice text = MC_SLICE("null");
    if (!op->has_length || op->length >= text.n) {
        return false;
    }
    mc_text_add(out, mc_slice_until(text, op->length));
    return true;
}

bool mc_format_eval_text(const mc_format_op *op, const mc_stream_info *info, mc_text *out) {
    const size_t start = out->n;
    mc_format_result result = mc_format_eval(op, info, out);
    switch (result.kind) {
    case MC_FORMAT_ABSENT: return false;
    case MC_FORMAT_TEXT: return true;
    case MC_FORMAT_NUMBER: mc_text_u64(out, result.number); break;
    case MC_FORMAT_VALUE:
        if (result.value->kind == MC_NULL) {
            return mc_format_null(op, out);
        }
        if (result.value->kind == MC_STRING && !result.typed) {
            mc_text_add(out, result.value->string);
        } else {
            mc_text_value(out, result.in_text == NULL ? result.value : result.in_text);
        }
        if (result.limited != NULL) {
            mc_format_cut(result.limited, start, out);
        }
        break;
    }
    mc_format_cut(op, start, out);
    return true;
}

void mc_format_run(const mc_format *format, const mc_stream_info *info, mc_text *out) {
    if (format->json != NULL) {
        mc_format_run_json(format, info, out);
        return;
    }
    for (uint32_t i = 0; i < format->ops.count; i++) {
        const mc_format_op *op = &format->ops.items[i];
        if (op->command == NULL) {
            mc_text_add(out, op->text);
        } else if (!mc_format_eval_text(op, info, out) && !format->omit_empty) {
            mc_text_lit(out, "-");
        }
    }
}

bool mc_format_run_present(const mc_format *format, const mc_stream_info *info, mc_text *out) {
    bool present = false;
    for (uint32_t i = 0; i < format->ops.count; i++) {
        const mc_format_op *op = &format->ops.items[i];
        if (op->command != NULL) {
            present = mc_format_eval_text(op, info, out) || present;
        } else {
            mc_text_add(out, op->text);
            present = present || op->text.n > 0;
        }
    }
    return present;
}

mc_status mc_format_run_arena(const mc_format *format, const mc_stream_info *info, mc_arena *arena, mc_slice *out) {
    if (mc_format_literal(format, out)) {
        return MC_OK;
    }
    mc_text text;
    mc_text_init(&text);
    mc_format_run(format, info, &text);
    mc_status status = text.failed ? MC_ENOMEM : mc_arena_dup(arena, mc_text_slice(&text), out);
    mc_text_fini(&text);
    return status;
}

bool mc_format_literal(const mc_format *format, mc_slice *out) {
    if (format->json != NULL || format->ops.count != 1 || format->ops.items[0].command != NULL) {
        return false;
    }
    *out = format->ops.items[0].text;
    return true;
}

uint32_t mc_format_parts(const mc_format *format) { return format->ops.count; }

void mc_format_tell_reads(const mc_format *format, mc_format_reads *reads) {
    if (format->json != NULL) {
        mc_format_tell_json(format->json, reads);
    }
    for (uint32_t i = 0; i < format->ops.count; i++) {
        mc_format_tell_op(&format->ops.items[i], reads);
    }
}
