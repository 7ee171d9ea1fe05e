/* Formats: any text, or any JSON tree (when the input begins with '{'), compiled and run over a request made of the rest of the
 * input. What compiles must run; a line of JSON must be JSON again. */
#include "base/alloc.h"
#include "http/flags.h"
#include "route/context.h"
#include "route/format.h"

static void fill(mc_stream_info *info, mc_headers maps[3], mc_arena *arena, mc_slice data) {
    mc_slice line;
    unsigned which = 0;
    for (int i = 0; i < 3; i++) {
        mc_headers_init(&maps[i], arena);
    }
    for (mc_slice rest = data; rest.n > 0 && mc_slice_next(&rest, '\n', &line); which++) {
        size_t colon = mc_slice_find(line, '=');
        mc_slice name = mc_slice_until(line, colon), value = mc_slice_from(line, colon + 1);
        if (name.n > 0 && mc_headers_add(&maps[which % 3], name, value) != MC_OK) {
            return;
        }
    }
    info->request = &maps[0];
    info->response = &maps[1];
    info->response_trailers = &maps[2];
    info->requested_server_name = info->route_name = info->response_code_details = data;
    info->flags = (uint64_t)data.n << 3;
    info->status = (uint16_t)data.n;
    info->start_ns = (uint64_t)data.n * 86400123456789u;
    info->at.now = info->at.request_end = data.n * 1000003u;
}

/* A second reading of the input: a context in JSON. */
static void read_context(mc_arena *arena, mc_slice data, mc_stream_info *info) {
    const mc_value *value;
    mc_error error;
    if (data.n > 0 && mc_value_parse(arena, data, &value, &error) == MC_OK && value->kind == MC_OBJECT) {
        (void)!mc_stream_info_read(arena, value, info, &error);
    }
}

static void check_line(const mc_format *format, const mc_stream_info *info, mc_arena *arena, bool json) {
    mc_text out;
    const mc_value *again;
    mc_error error;
    mc_text_init(&out);
    mc_format_run(format, info, &out);
    if (out.failed) {
        __builtin_trap();
    }
    if (json && mc_value_parse(arena, mc_text_slice(&out), &again, &error) != MC_OK) {
        __builtin_trap();
    }
    mc_text_fini(&out);
}

static void note(void *ctx, mc_header_map map, mc_slice name) {
    if (map >= MC_MAP_COUNT || name.n == 0) {
        __builtin_trap();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const mc_slice input = mc_slice_of(data, size);
    const size_t cut = mc_slice_find(input, '\0');
    const mc_slice text = mc_slice_until(input, cut), rest = mc_slice_from(input, cut + 1);
    const bool json = text.n > 0 && text.p[0] == '{';
    const mc_format *format = NULL;
    const mc_value *tree;
    mc_headers maps[3];
    mc_stream_info info;
    mc_arena arena;
    mc_error error;
    mc_arena_init(&arena, NULL);
    mc_stream_info_init(&info);
    fill(&info, maps, &arena, rest);
    read_context(&arena, rest, &info);
    mc_status status = MC_EINVAL;
    if (!json) {
        status = mc_format_compile_text(&arena, text, size & 1, &format, &error);
    } else if (mc_value_parse(&arena, text, &tree, &error) == MC_OK && tree->kind == MC_OBJECT) {
        status = mc_format_compile_json(&arena, tree, size & 1, &format, &error);
    }
    if (status == MC_OK) {
        mc_format_reads reads = {0, note, NULL};
        mc_format_tell_reads(format, &reads);
        check_line(format, &info, &arena, json);
    }
    mc_arena_fini(&arena);
    return 0;
}
