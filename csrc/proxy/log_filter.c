/* Filters of access logs (AL-5): whether a record is wanted, decided on the worker before anything is copied. */
#include "cel/cel.h"
#include "http/flags.h"
#include "http/grpc.h"
#include "http/trace_context.h"
#include "proxy/access_log.h"
#include "route/compile.h"
#include "route/match_metadata.h"
#include "route/matcher.h"

typedef enum kind {
    STATUS_CODE,
    DURATION,
    NOT_HEALTH_CHECK,
    TRACEABLE,
    RUNTIME,
    AND,
    OR,
    HEADER,
    RESPONSE_FLAG,
    GRPC_STATUS,
    METADATA,
    LOG_TYPE,
    EXPRESSION,
} kind;
typedef enum comparison { EQ, GE, LE, NE } comparison;

struct mc_log_filter {
    kind kind;
    comparison op;
    uint32_t value; /* compared with */
    mc_slice runtime_key;
    mc_fraction fraction;
    bool independent, exclude, if_absent;
    uint64_t bits; /* flags, gRPC statuses or types */
    mc_matcher header;
    const mc_metadata_match *metadata; /* NULL: nothing to look for */
    const mc_cel_program *expression;
    const mc_log_filter **items;
    size_t count;
};

/* --- compiling -------------------------------------------------------------------------------------------------------------- */

static mc_status compile_comparison(mc_arena *arena, const mc_value *message, mc_log_filter *filter, mc_error *error) {
    static const mc_name_value ops[] = {{"EQ", EQ}, {"GE", GE}, {"LE", LE}, {"NE", NE}, {NULL, 0}};
    const mc_value *compare, *value;
    uint64_t op = EQ;
    MC_TRY(mc_value_read_object(message, "comparison", &compare, error));
    if (compare == NULL) {
        return mc_error_set(error, MC_EINVAL, "comparison", "is required");
    }
    MC_TRY(mc_error_in(mc_read_enum(compare, "op", ops, &op, error), error, "comparison"));
    MC_TRY(mc_value_read_object(compare, "value", &value, error));
    filter->op = (comparison)op;
    MC_TRY(mc_value_read_u32(value, "default_value", &filter->value, error));
    return mc_read_text(arena, value, "runtime_key", &filter->runtime_key, error);
}

static mc_status compile_runtime(mc_arena *arena, const mc_value *message, mc_log_filter *filter, mc_error *error) {
    const mc_value *percent;
    filter->fraction = (mc_fraction){0, 100, MC_SLICE_NONE};
    MC_TRY(mc_read_name(arena, message, "runtime_key", &filter->fraction.runtime_key, error));
    MC_TRY(mc_value_read_bool(message, "use_independent_randomness", &filter->independent, error));
    MC_TRY(mc_value_read_object(message, "percent_sampled", &percent, error));
    return percent == NULL ? MC_OK : mc_fraction_read_percent(percent, &filter->fraction, error);
}

static mc_status compile_filters(mc_arena *arena, const mc_value *message, mc_log_filter *filter, mc_error *error) {
    const mc_value *items;
    MC_TRY(mc_value_read_list(message, "filters", &items, &filter->count, error));
    if (filter->count < 2) {
        return mc_error_set(error, MC_EINVAL, "filters", "must have at least 2 entries");
    }
    filter->items = mc_arena_alloc(arena, filter->count * sizeof *filter->items);
    if (filter->items == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < filter->count; i++) {
        MC_TRY(
            mc_error_in(mc_log_filter_compile(arena, &items[i], &filter->items[i], error), error, "filters[%zu]", i));
    }
    return MC_OK;
}

/* A list of names as bits; `bit` gives UINT64_MAX for no such name. */
static mc_status compile_names(const mc_value *message, const char *field, uint64_t (*bit)(mc_slice name),
                               mc_log_filter *filter, mc_error *error) {
    const mc_value *items;
    size_t count;
    MC_TRY(mc_value_read_list(message, field, &items, &count, error));
    for (size_t i = 0; i < count; i++) {
        uint64_t found = items[i].kind == MC_STRING ? bit(items[i].string) : UINT64_MAX;
        if (found == UINT64_MAX) {
            char path[48];
            snprintf(path, sizeof path, "%s[%zu]", field, i);
            return mc_error_set(error, MC_EINVAL, path, "is not known");
        }
        filter->bits |= found;
    }
    return mc_value_read_bool(message, "exclude", &filter->exclude, error);
}

static uint64_t flag_bit(mc_slice name) {
    uint64_t flag = mc_flag_by_name(name);
    return flag == 0 ? UINT64_MAX : flag;
}

static uint64_t type_bit(mc_slice name) {
    for (unsigned i = 0; i < MC_LOG_TYPE_COUNT; i++) {
        if (mc_slice_eq(mc_log_type_name(i), name)) {
            return UINT64_C(1) << i;
        }
    }
    return UINT64_MAX;
}

static uint64_t grpc_bit(mc_slice name) {
    for (unsigned i = 0; i <= 16; i++) {
        mc_slice known = mc_grpc_status_name(i, true);
        if (mc_slice_eq(known, name) || (i == 1 && mc_slice_eq(name, MC_SLICE("CANCELED")))) {
            return UINT64_C(1) << i;
        }
    }
    return UINT64_MAX;
}

static mc_status compile_header(mc_arena *arena, const mc_value *message, mc_log_filter *filter, mc_error *error) {
    const mc_value *header;
    MC_TRY(mc_value_read_object(message, "header", &header, error));
    if (header == NULL) {
        return mc_error_set(error, MC_EINVAL, "header", "is required");
    }
    return mc_error_in(mc_match_header_compile(arena, header, &filter->header, error), error, "header");
}

static mc_status compile_metadata(mc_arena *arena, const mc_value *message, mc_log_filter *filter, mc_error *error) {
    const mc_value *matcher;
    filter->if_absent = true;
    MC_TRY(mc_value_read_bool(message, "match_if_key_not_found", &filter->if_absent, error));
    MC_TRY(mc_value_read_object(message, "matcher", &matcher, error));
    if (matcher == NULL) {
        return MC_OK;
    }
    mc_metadata_match *match = mc_arena_zalloc(arena, sizeof *match);
    if (match == NULL) {
        return MC_ENOMEM;
    }
    filter->metadata = match;
    MC_TRY(mc_error_in(mc_metadata_match_compile(arena, matcher, match, error), error, "matcher"));
    match->invert = false; /* as in Envoy, which does not read it here */
    return MC_OK;
}

static mc_status compile_expression(mc_arena *arena, const mc_value *message, mc_log_filter *filter, mc_error *error) {
    static const mc_name_value types[] = {{"envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter", 0},
                                          {NULL, 0}};
    const mc_value *config;
    uint64_t type;
    mc_slice text = MC_SLICE_NONE;
    mc_cel_options options;
    MC_TRY(mc_read_extension(message, "typed_config", types, &config, &type, error));
    mc_status status = mc_cel_options_read(config, "cel_config", &options, error);
    if (status == MC_OK) {
        status = mc_value_read_string(config, "expression", &text, error);
    }
    if (status == MC_OK) {
        status =
            mc_error_in(mc_cel_compile_text(arena, text, &options, &filter->expression, error), error, "expression");
    }
    return mc_error_in(status, error, "typed_config");
}

static mc_status compile_kind(mc_arena *arena, const mc_value *message, mc_log_filter *filter, mc_error *error) {
    switch (filter->kind) {
    case STATUS_CODE:
    case DURATION: return compile_comparison(arena, message, filter, error);
    case RUNTIME: return compile_runtime(arena, message, filter, error);
    case AND:
    case OR: return compile_filters(arena, message, filter, error);
    case HEADER: return compile_header(arena, message, filter, error);
    case RESPONSE_FLAG: return compile_names(message, "flags", flag_bit, filter, error);
    case GRPC_STATUS: return compile_names(message, "statuses", grpc_bit, filter, error);
    case LOG_TYPE: return compile_names(message, "types", type_bit, filter, error);
    case METADATA: return compile_metadata(arena, message, filter, error);
    case EXPRESSION: return compile_expression(arena, message, filter, error);
    case NOT_HEALTH_CHECK:
    case TRACEABLE: return MC_OK;
    }
    return MC_EINVAL;
}

mc_status mc_log_filter_compile(mc_arena *arena, const mc_value *value, const mc_log_filter **out, mc_error *error) {
    static const struct {
        const char *field;
        kind kind;
    } kinds[] = {{"status_code_filter", STATUS_CODE},
                 {"duration_filter", DURATION},
                 {"not_health_check_filter", NOT_HEALTH_CHECK},
                 {"traceable_filter", TRACEABLE},
                 {"runtime_filter", RUNTIME},
                 {"and_filter", AND},
                 {"or_filter", OR},
                 {"header_filter", HEADER},
                 {"response_flag_filter", RESPONSE_FLAG},
                 {"grpc_status_filter", GRPC_STATUS},
                 {"metadata_filter", METADATA},
                 {"log_type_filter", LOG_TYPE},
                 {"extension_filter", EXPRESSION}};
    mc_log_filter *filter = mc_arena_zalloc(arena, sizeof *filter);
    if (filter == NULL) {
        return MC_ENOMEM;
    }
    *out = filter;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const mc_value *message;
        MC_TRY(mc_value_read_object(value, kinds[i].field, &message, error));
        if (message != NULL) {
            filter->kind = kinds[i].kind;
            return mc_error_in(compile_kind(arena, message, filter, error), error, "%s", kinds[i].field);
        }
    }
    return mc_error_set(error, MC_EINVAL, "", "must name a filter that is known here");
}

/* --- deciding ----------------------------------------------------------------------------------------------------------------- */

static bool compare(const mc_log_filter *filter, uint64_t left, const mc_runtime *runtime) {
    uint64_t right =
        filter->runtime_key.n == 0 ? filter->value : mc_runtime_u64(runtime, filter->runtime_key, filter->value);
    switch (filter->op) {
    case EQ: return left == right;
    case GE: return left >= right;
    case LE: return left <= right;
    case NE: return left != right;
    }
    return false;
}

/* A try has no id of its own. */
static bool request_id_number(const mc_stream_info *info, uint64_t *out) {
    return info->request != NULL && info->stream_id_text.p == NULL &&
           mc_request_id_number(mc_headers_get_known(info->request, MC_H_X_REQUEST_ID), out);
}

/* A value at run time is a number of the configured denominator's parts, not a percentage as elsewhere. */
static bool sampled(const mc_log_filter *filter, const mc_stream_info *info, const mc_runtime *runtime,
                    mc_random *random) {
    const mc_fraction *fraction = &filter->fraction;
    uint64_t draw;
    if (filter->independent || !request_id_number(info, &draw)) {
        draw = mc_random_next(random);
    }
    return draw % fraction->denominator < mc_runtime_u64(runtime, fraction->runtime_key, fraction->numerator);
}

static bool service_forced(const mc_stream_info *info) {
    return !info->health_check && info->trace_reason == MC_TRACE_SERVICE_FORCED;
}

enum { NO_GRPC_STATUS = 63 }; /* no name has it */

static uint64_t grpc_status(const mc_stream_info *info) {
    const mc_headers *maps[] = {info->response_trailers, info->response};
    uint64_t status;
    for (int i = 0; i < 2; i++) {
        mc_slice text = maps[i] == NULL ? MC_SLICE_NONE : mc_headers_get_known(maps[i], MC_H_GRPC_STATUS);
        if (text.p != NULL) {
            return mc_slice_number(text, 16, &status) == MC_OK ? status : NO_GRPC_STATUS;
        }
    }
    return info->status == 0 ? 2 : mc_grpc_from_http(info->status);
}

static bool header_holds(const mc_log_filter *filter, const mc_headers *headers) {
    mc_headers none;
    mc_headers_init(&none, NULL);
    headers = headers == NULL ? &none : headers; /* of a connection: they are empty */
    const mc_route_request request = {.headers = headers, .arena = headers->arena};
    const mc_match_input in = {.request = &request};
    return filter->header.match(filter->header.self, &in) == 1;
}

static bool metadata_holds(const mc_log_filter *filter, const mc_stream_info *info) {
    if (filter->metadata == NULL || mc_metadata_find(info->dynamic_metadata, &filter->metadata->place) == NULL) {
        return filter->if_absent;
    }
    return mc_metadata_match_test(filter->metadata, info->dynamic_metadata) == 1;
}

static bool expression_holds(const mc_log_filter *filter, const mc_stream_info *info) {
    mc_arena arena;
    mc_arena_init(&arena, NULL);
    bool holds = mc_cel_holds(filter->expression, info, &arena) == 1;
    mc_arena_fini(&arena);
    return holds;
}

static bool all_or_any(const mc_log_filter *filter, const mc_stream_info *info, const mc_runtime *runtime,
                       mc_random *random) {
    for (size_t i = 0; i < filter->count; i++) {
        if (mc_log_filter_holds(filter->items[i], info, runtime, random) != (filter->kind == AND)) {
            return filter->kind == OR;
        }
    }
    return filter->kind == AND;
}

bool mc_log_filter_holds(const mc_log_filter *filter, const mc_stream_info *info, const mc_runtime *runtime,
                         mc_random *random) {
    switch (filter->kind) {
    case STATUS_CODE: return compare(filter, info->status, runtime);
    case DURATION: return info->at.now != MC_NO_TIME && compare(filter, info->at.now / 1000000, runtime);
    case NOT_HEALTH_CHECK: return !info->health_check;
    case TRACEABLE: return service_forced(info);
    case RUNTIME: return sampled(filter, info, runtime, random);
    case AND:
    case OR: return all_or_any(filter, info, runtime, random);
    case HEADER: return header_holds(filter, info->request);
    case RESPONSE_FLAG: return filter->bits == 0 ? info->flags != 0 : (info->flags & filter->bits) != 0;
    case GRPC_STATUS: return ((filter->bits >> grpc_status(info)) & 1) != filter->exclude;
    case METADATA: return metadata_holds(filter, info);
    case LOG_TYPE: return ((filter->bits >> info->log_type) & 1) != filter->exclude;
    case EXPRESSION: return expression_holds(filter, info);
    }
    return false;
}

uint32_t mc_log_filter_needs(const mc_log_filter *filter) {
    const uint32_t reads = filter->expression == NULL ? 0 : mc_cel_reads(filter->expression);
    uint32_t needs =
        (reads & MC_CEL_READS_LOCAL ? MC_READS_LOCAL : 0) | (reads & MC_CEL_READS_PLACE ? MC_READS_PLACE : 0);
    for (size_t i = 0; i < filter->count; i++) {
        needs |= mc_log_filter_needs(filter->items[i]);
    }
    return needs;
}
