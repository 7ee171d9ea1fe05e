#include "proxy/local_reply.h"

#include "base/read.h"
#include "proxy/access_log.h"
#include "route/format.h"
#include "route/mutate.h"

typedef struct body_format {
    const mc_format *format; /* NULL: none */
    mc_slice content_type;
} body_format;

typedef struct mapper {
    const mc_log_filter *filter;
    bool has_body;
    uint16_t status; /* 0: as it is */
    mc_slice body;
    body_format format;
    const mc_header_mutations *headers;
} mapper;

struct mc_local_replies {
    const mapper *mappers;
    uint32_t count;
    body_format format;
};

/* --- compile ----------------------------------------------------------------------------------------------------------- */

static mc_status read_format(mc_arena *arena, const mc_value *object, const char *field, body_format *out,
                             mc_error *error) {
    const mc_value *message;
    MC_TRY(mc_value_read_object(object, field, &message, error));
    if (message == NULL) {
        return MC_OK;
    }
    mc_status status = mc_format_compile(arena, message, &out->format, error);
    if (status == MC_OK) {
        status = mc_format_content_type(arena, message, &out->content_type, error);
    }
    return mc_error_in(status, error, "%s", field);
}

static mc_status read_mapper(mc_arena *arena, const mc_value *value, mapper *out, mc_error *error) {
    enum { FIRST = 200, LAST = 599 };
    const mc_value *filter;
    uint32_t status = 0;
    MC_TRY(mc_value_read_object(value, "filter", &filter, error));
    if (filter == NULL) {
        return mc_error_set(error, MC_EINVAL, "filter", "is required");
    }
    MC_TRY(mc_error_in(mc_log_filter_compile(arena, filter, &out->filter, error), error, "filter"));
    MC_TRY(mc_value_read_u32(value, "status_code", &status, error));
    if (mc_value_get(value, "status_code") != NULL && (status < FIRST || status > LAST)) {
        return mc_error_set(error, MC_EINVAL, "status_code", "must be at least %d and less than %d", FIRST, LAST + 1);
    }
    out->status = (uint16_t)status;
    out->has_body = mc_value_get(value, "body") != NULL;
    MC_TRY(mc_read_data_source(arena, value, "body", &out->body, error));
    MC_TRY(read_format(arena, value, "body_format_override", &out->format, error));
    return mc_header_options_compile(arena, value, "headers_to_add", MC_HEADERS_OF_RESPONSE, &out->headers, error);
}

mc_status mc_local_replies_compile(mc_arena *arena, const mc_value *config, const mc_local_replies **out,
                                   mc_error *error) {
    const mc_value *list;
    size_t count;
    *out = NULL;
    if (config == NULL) {
        return MC_OK;
    }
    MC_TRY(mc_value_read_list(config, "mappers", &list, &count, error));
    mc_local_replies *replies = mc_arena_zalloc(arena, sizeof *replies);
    mapper *mappers = mc_arena_zalloc(arena, (count + 1) * sizeof *mappers);
    if (replies == NULL || mappers == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(read_mapper(arena, &list[i], &mappers[i], error), error, "mappers[%zu]", i));
    }
    replies->mappers = mappers;
    replies->count = (uint32_t)count;
    MC_TRY(read_format(arena, config, "body_format", &replies->format, error));
    *out = replies;
    return MC_OK;
}

/* --- apply -------------------------------------------------------------------------------------------------------------- */

static mc_status map(const mapper *mapper, mc_stream_info *info, mc_local_reply *reply) {
    char digits[20];
    if (mapper->has_body) {
        reply->body = mapper->body;
    }
    info->local_reply_body = MC_SLICE_NONE; /* which is for bodies */
    MC_TRY(mc_header_mutations_apply(mapper->headers, reply->headers, info));
    info->local_reply_body = reply->body;
    if (mapper->status == 0 || mapper->status == reply->status) {
        return MC_OK;
    }
    info->status = reply->status = mapper->status;
    return mc_headers_set_known(reply->headers, MC_H_STATUS,
                                mc_slice_of(digits, mc_format_u64(digits, mapper->status)));
}

mc_status mc_local_replies_apply(const mc_local_replies *replies, mc_stream_info *info, const mc_runtime *runtime,
                                 mc_random *random, mc_local_reply *reply) {
    const body_format *format = &replies->format;
    info->status = reply->status;
    info->local_reply_body = reply->body;
    for (uint32_t i = 0; i < replies->count; i++) {
        const mapper *mapper = &replies->mappers[i];
        if (mc_log_filter_holds(mapper->filter, info, runtime, random)) {
            MC_TRY(map(mapper, info, reply));
            format = mapper->format.format != NULL ? &mapper->format : format;
            break;
        }
    }
    if (format->format == NULL) {
        return MC_OK;
    }
    reply->content_type = format->content_type;
    return mc_format_run_arena(format->format, info, reply->headers->arena, &reply->body);
}
