/* Expressions: any text, or a parsed expression in JSON (when the input begins with '{"'), compiled and evaluated over a request
 * made of the rest of the input. What compiles must evaluate to the same value twice, print, and be JSON again. */
#include "base/alloc.h"
#include "cel/cel.h"
#include "route/context.h"

static void fill(mc_stream_info *info, mc_headers *headers, mc_arena *arena, mc_slice data) {
    const mc_value *context;
    mc_error error;
    mc_slice line;
    mc_headers_init(headers, arena);
    for (mc_slice rest = data; rest.n > 0 && mc_slice_next(&rest, '\n', &line);) {
        size_t equals = mc_slice_find(line, '=');
        mc_slice name = mc_slice_until(line, equals);
        if (name.n > 0 && mc_headers_add(headers, name, mc_slice_from(line, equals + 1)) != MC_OK) {
            return;
        }
    }
    info->request = info->response = info->response_trailers = headers;
    info->start_ns = (uint64_t)data.n * 86400123456789u;
    info->at.now = info->at.request_end = data.n * 1000003u;
    if (data.n > 0 && mc_value_parse(arena, data, &context, &error) == MC_OK && context->kind == MC_OBJECT) {
        (void)!mc_stream_info_read(arena, context, info, &error);
    }
}

static void evaluate(const mc_cel_program *program, const mc_stream_info *info, mc_arena *arena, mc_text *out) {
    mc_cel value;
    mc_value json;
    if (mc_cel_eval(program, info, arena, &value) != MC_OK) {
        __builtin_trap();
    }
    if (mc_cel_print(&value, out) != (value.kind != MC_CEL_ERROR) || out->failed ||
        mc_cel_to_json(&value, arena, &json) == MC_ENOMEM) {
        __builtin_trap();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const mc_cel_options options = {.string_conversion = size & 1, .string_concat = size & 2, .string_functions = true};
    const mc_slice input = mc_slice_of(data, size);
    const size_t cut = mc_slice_find(input, '\0');
    const mc_slice text = mc_slice_until(input, cut);
    const mc_cel_program *program = NULL;
    const mc_value *tree;
    mc_headers headers;
    mc_stream_info info;
    mc_arena arena;
    mc_error error;
    mc_status status = MC_EINVAL;
    mc_arena_init(&arena, NULL);
    mc_stream_info_init(&info);
    fill(&info, &headers, &arena, mc_slice_from(input, cut + 1));
    if (!mc_slice_has_prefix(text, MC_SLICE("{\""))) {
        status = mc_cel_compile_text(&arena, text, &options, &program, &error);
    } else if (mc_value_parse(&arena, text, &tree, &error) == MC_OK) {
        status = mc_cel_compile_expr(&arena, tree, &options, &program, &error);
    }
    if (status == MC_OK) {
        mc_text once, again;
        mc_text_init(&once);
        mc_text_init(&again);
        evaluate(program, &info, &arena, &once);
        evaluate(program, &info, &arena, &again);
        if (!mc_slice_eq(mc_text_slice(&once), mc_text_slice(&again))) {
            __builtin_trap();
        }
        mc_text_fini(&once);
        mc_text_fini(&again);
    }
    mc_arena_fini(&arena);
    return 0;
}
