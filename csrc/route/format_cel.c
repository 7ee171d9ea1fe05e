/* %CEL(expression)% and %TYPED_CEL(expression)%: an expression is compiled with the format; what it has no result for is absent. */
#include "route/compile.h"
#include "route/format_evals.h"

MC_FORMAT_PARSER(mc_format_parse_cel) {
    static const mc_cel_options none = {.string_conversion = false};
    mc_status status = mc_cel_compile_text(arena, argument, &none, &op->cel, error);
    if (status == MC_EINVAL) {
        char reason[sizeof error->reason];
        memcpy(reason, error->reason, sizeof reason);
        return mc_error_set(error, MC_EINVAL, "", "%%%s%% %s", op->command->name, reason);
    }
    return status;
}

MC_FORMAT_EVAL(mc_format_eval_cel) {
    mc_arena arena;
    mc_cel value;
    mc_arena_init(&arena, NULL);
    bool found = mc_cel_eval(op->cel, info, &arena, &value) == MC_OK && mc_cel_print(&value, out);
    mc_arena_fini(&arena);
    return found ? MC_FORMAT_SOME : MC_FORMAT_NOTHING;
}

bool mc_format_is_typed_cel(const mc_format_op *op) { return op->cel != NULL && op->command->variant == MC_CEL_TYPED; }

bool mc_format_eval_typed_cel(const mc_format_op *op, const mc_stream_info *info, mc_text *out) {
    mc_arena arena;
    mc_cel cel;
    mc_value value;
    mc_arena_init(&arena, NULL);
    bool found = mc_cel_eval(op->cel, info, &arena, &cel) == MC_OK && mc_cel_to_json(&cel, &arena, &value) == MC_OK;
    if (found && op->has_length && value.kind == MC_STRING) {
        value.string = mc_slice_until(value.string, op->length);
    }
    if (found) {
        mc_text_value(out, &value);
    }
    mc_arena_fini(&arena);
    return found;
}

uint32_t mc_format_cel_reads(const mc_format_op *op) {
    static const struct {
        uint32_t cel, format;
    } parts[] = {{MC_CEL_READS_REQUEST, MC_READS_REQUEST},
                 {MC_CEL_READS_RESPONSE, MC_READS_RESPONSE},
                 {MC_CEL_READS_TRAILERS, MC_READS_TRAILERS},
                 {MC_CEL_READS_TLS, MC_READS_TLS},
                 {MC_CEL_READS_DYNAMIC_METADATA, MC_READS_DYNAMIC_METADATA},
                 {MC_CEL_READS_OTHER_METADATA, MC_READS_OTHER_METADATA},
                 {MC_CEL_READS_FILTER_STATE, MC_READS_FILTER_STATE},
                 {MC_CEL_READS_LOCAL, MC_READS_LOCAL},
                 {MC_CEL_READS_PLACE, MC_READS_PLACE}};
    uint32_t reads = 0;
    for (size_t i = 0; op->cel != NULL && i < sizeof parts / sizeof *parts; i++) {
        reads |= mc_cel_reads(op->cel) & parts[i].cel ? parts[i].format : 0;
    }
    return reads;
}
