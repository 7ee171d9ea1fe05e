/* Operators of time: START_TIME and its kin, and the durations. */
#include <stddef.h>

#include "route/compile.h"
#include "route/format_evals.h"

MC_FORMAT_PARSER(mc_format_parse_start_time) {
    const bool local = op->command->reads == 0 && op->command->variant == 1; /* certificates' times are in UTC */
    return mc_time_format_compile(arena, argument, local, &op->time, error);
}

MC_FORMAT_EVAL(mc_format_eval_start_time) {
    mc_time_format_run(op->time, info->start_ns, out);
    return MC_FORMAT_SOME;
}

MC_FORMAT_EVAL(mc_format_eval_emit_time) {
    mc_time_format_run(op->time, info->start_ns + (info->at.now == MC_NO_TIME ? 0 : info->at.now), out);
    return MC_FORMAT_SOME;
}

MC_FORMAT_EVAL(mc_format_eval_point) {
    uint64_t point = MC_FORMAT_FIELD(uint64_t, op, info);
    return point == MC_NO_TIME ? MC_FORMAT_NOTHING : MC_FORMAT_COUNT(point / 1000000);
}

MC_FORMAT_EVAL(mc_format_eval_response_tx) {
    uint64_t from = info->at.upstream_receive_begin, to = info->at.response_end;
    if (from == MC_NO_TIME || to == MC_NO_TIME || to < from) {
        return MC_FORMAT_NOTHING;
    }
    return MC_FORMAT_COUNT((to - from) / 1000000);
}

/* --- COMMON_DURATION(S:E[:unit]) ----------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    uint16_t offset;
} points[] = {
#define POINT(name, field) {name, offsetof(mc_stream_info, at.field)}
    POINT("DS_RX_END", request_end),
    POINT("US_CX_BEG", upstream_connect_begin),
    POINT("US_CX_END", upstream_connect_end),
    POINT("US_HS_END", upstream_handshake_end),
    POINT("US_TX_BEG", upstream_send_begin),
    POINT("US_TX_END", upstream_send_end),
    POINT("US_RX_BEG", upstream_receive_begin),
    POINT("US_RX_BODY_BEG", upstream_body_begin),
    POINT("US_RX_END", upstream_receive_end),
    POINT("DS_TX_BEG", response_begin),
    POINT("DS_TX_END", response_end),
#undef POINT
};

uint64_t *mc_format_point_by_name(mc_stream_info *info, mc_slice name) {
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        if (mc_slice_eq(mc_slice_cstr(points[i].name), name)) {
            return (uint64_t *)((char *)info + points[i].offset);
        }
    }
    return NULL;
}

/* Any other name is one that somebody may give a point of time at run time. What begins the request is the start, unless
 * somebody says otherwise. */
static uint64_t point_at(const mc_stream_info *info, mc_slice name) {
    for (size_t i = 0; i < sizeof points / sizeof *points; i++) {
        if (mc_slice_eq(mc_slice_cstr(points[i].name), name)) {
            return *(const uint64_t *)((const char *)info + points[i].offset);
        }
    }
    for (uint32_t i = 0; i < info->point_count; i++) {
        if (mc_slice_eq(info->points[i].name, name)) {
            return info->points[i].ns;
        }
    }
    return mc_slice_eq(name, MC_SLICE("DS_RX_BEG")) ? 0 : MC_NO_TIME;
}

MC_FORMAT_PARSER(mc_format_parse_common_duration) {
    static const mc_slice units[] = {MC_SLICE_INIT("ms"), MC_SLICE_INIT("us"), MC_SLICE_INIT("ns")};
    size_t first = mc_slice_find(argument, ':');
    mc_slice rest = mc_slice_from(argument, first + 1);
    size_t second = mc_slice_find(rest, ':');
    op->text = mc_slice_until(argument, first);
    op->second = mc_slice_until(rest, second);
    mc_slice unit = mc_slice_from(rest, second + 1);
    if (first == argument.n || mc_slice_find(unit, ':') < unit.n) {
        return mc_error_set(error, MC_EINVAL, "", "%%COMMON_DURATION%% takes START:END or START:END:UNIT: %.*s",
                            MC_SLICE_ARG(argument));
    }
    if (second == rest.n) {
        return MC_OK;
    }
    for (uint8_t i = 0; i < 3; i++) {
        if (mc_slice_eq(units[i], unit)) {
            op->mode = i;
            return MC_OK;
        }
    }
    return mc_error_set(error, MC_EINVAL, "", "%%COMMON_DURATION%% unit '%.*s' is not one of ms, us, ns",
                        MC_SLICE_ARG(unit));
}

MC_FORMAT_EVAL(mc_format_eval_common_duration) {
    static const uint32_t unit_ns[] = {1000000, 1000, 1};
    uint64_t from = point_at(info, op->text), to = point_at(info, op->second);
    /* A connection that was there before the request has its points before the start: numbers below zero. */
    if (from == MC_NO_TIME || to == MC_NO_TIME || (int64_t)to < (int64_t)from) {
        return MC_FORMAT_NOTHING;
    }
    return MC_FORMAT_COUNT((to - from) / unit_ns[op->mode]);
}
