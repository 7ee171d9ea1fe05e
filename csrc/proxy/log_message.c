#include "proxy/log_message.h"

#include "base/read.h"
#include "base/wire.h"
#include "route/compile.h"

static mc_status read_names(mc_arena *arena, const mc_value *object, const char *field, bool lower, mc_slices *out,
                            mc_error *error) {
    const mc_value *list;
    size_t count;
    MC_TRY(mc_value_read_list(object, field, &list, &count, error));
    mc_slice *items = mc_arena_alloc(arena, count * sizeof *items);
    if (count > 0 && items == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        if (list[i].kind != MC_STRING) {
            return mc_error_set(error, MC_EINVAL, field, "must be a list of strings");
        }
        MC_TRY(lower ? mc_dup_lower(arena, list[i].string, &items[i]) : mc_arena_dup(arena, list[i].string, &items[i]));
    }
    *out = (mc_slices){items, (uint32_t)count};
    return MC_OK;
}

static mc_status read_common(mc_arena *arena, const mc_value *config, mc_log_message *out, mc_error *error) {
    MC_TRY(read_names(arena, config, "filter_state_objects_to_log", false, &out->filter_states, error));
    return mc_custom_tags_compile(arena, config, &out->tags, error);
}

static mc_status read_entry(mc_arena *arena, const mc_value *config, mc_log_message *out, mc_error *error) {
    const mc_value *common;
    MC_TRY(mc_value_read_object(config, "common_config", &common, error));
    MC_TRY(mc_error_in(read_common(arena, common, out, error), error, "common_config"));
    MC_TRY(read_names(arena, config, "additional_request_headers_to_log", true, &out->request_headers, error));
    MC_TRY(read_names(arena, config, "additional_response_headers_to_log", true, &out->response_headers, error));
    return read_names(arena, config, "additional_response_trailers_to_log", true, &out->response_trailers, error);
}

/* A record has its filter states among the attributes, as JSON. */
static mc_status states_as_tags(mc_arena *arena, mc_log_message *out, mc_error *error) {
    const uint32_t states = out->filter_states.count, count = states + out->tags.count;
    mc_custom_tag *items = mc_arena_zalloc(arena, count * sizeof *items);
    if (count > 0 && items == NULL) {
        return MC_ENOMEM;
    }
    for (uint32_t i = 0; i < states; i++) {
        const mc_slice key = out->filter_states.items[i];
        mc_slice format = MC_SLICE_NONE;
        MC_TRY(mc_arena_concat(arena, (mc_slice[]){MC_SLICE("%FILTER_STATE("), key, MC_SLICE(")%")}, 3, &format));
        MC_TRY(mc_error_in(mc_format_compile_text(arena, format, true, &items[i].value, error), error,
                           "filter_state_objects_to_log[%u]", i));
        items[i].name = key;
    }
    if (out->tags.count > 0) {
        memcpy(items + states, out->tags.items, out->tags.count * sizeof *items);
    }
    out->tags = (mc_custom_tags){items, count};
    return MC_OK;
}

static mc_status read_record(mc_arena *arena, const mc_value *config, mc_log_message *out, mc_error *error) {
    const mc_value *body, *attributes;
    bool extended = false;
    MC_TRY(mc_format_read_formatters(config, &extended, error));
    MC_TRY(mc_value_read_object(config, "body", &body, error));
    MC_TRY(mc_value_read_object(config, "attributes", &attributes, error));
    if (body != NULL && body->count > 0) {
        MC_TRY(mc_error_in(mc_any_format_compile(arena, body, extended, &out->body, error), error, "body"));
    }
    if (attributes != NULL) {
        MC_TRY(mc_error_in(mc_any_format_compile_list(arena, attributes, extended, &out->attributes, error), error,
                           "attributes"));
    }
    MC_TRY(read_common(arena, config, out, error));
    return states_as_tags(arena, out, error);
}

mc_status mc_log_message_compile(mc_arena *arena, mc_log_message_kind kind, const mc_value *config,
                                 const mc_log_message **out, mc_error *error) {
    mc_log_message *message = mc_arena_zalloc(arena, sizeof *message);
    if (message == NULL) {
        return MC_ENOMEM;
    }
    message->kind = kind;
    *out = message;
    return kind == MC_LOG_RECORD ? read_record(arena, config, message, error)
                                 : read_entry(arena, config, message, error);
}

static void tell_request(mc_format_reads *reads) {
    static const char *const names[] = {":method",         ":scheme",      ":authority",
                                        ":path",           "user-agent",   "referer",
                                        "x-forwarded-for", "x-request-id", "x-envoy-original-path"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        reads->header(reads->ctx, MC_MAP_REQUEST, mc_slice_cstr(names[i]));
    }
}

/* Of additional headers all values count, which names alone do not keep. */
void mc_log_message_tell_reads(const mc_log_message *message, mc_format_reads *reads) {
    if (message->kind != MC_LOG_RECORD) {
        tell_request(reads);
        reads->parts |= MC_READS_REQUEST_SIZE | MC_READS_RESPONSE_SIZE | MC_READS_LOCAL | MC_READS_TLS;
        reads->parts |= MC_READS_DYNAMIC_METADATA;
        reads->parts |= message->request_headers.count > 0 ? MC_READS_REQUEST : 0;
        reads->parts |= message->response_headers.count > 0 ? MC_READS_RESPONSE : 0;
        reads->parts |= message->response_trailers.count > 0 ? MC_READS_TRAILERS : 0;
    }
    reads->parts |= message->filter_states.count > 0 ? MC_READS_FILTER_STATE : 0;
    for (uint32_t i = 0; i < message->tags.count; i++) {
        mc_format_tell_reads(message->tags.items[i].value, reads);
    }
    mc_any_format_tell_reads(message->body, reads);
    mc_any_format_tell_reads(message->attributes, reads);
}

size_t mc_log_message_write(const mc_log_message *message, const mc_stream_info *info, mc_text *out) {
    enum { LOG_ENTRY = 1, LOG_RECORDS = 2 };
    const bool record = message->kind == MC_LOG_RECORD;
    const size_t mark = mc_wire_begin(out, record ? LOG_RECORDS : LOG_ENTRY);
    if (record) {
        mc_log_record_write(message, info, out);
    } else {
        mc_log_entry_write(message, info, out);
    }
    const size_t size = out->n - mark;
    mc_wire_end(out, mark);
    return size;
}

void mc_log_message_tags(const mc_log_message *message, const mc_stream_info *info, mc_text *out,
                         void (*tell)(mc_text *out, mc_slice name, mc_slice value)) {
    for (uint32_t i = 0; i < message->tags.count; i++) {
        const mc_custom_tag *tag = &message->tags.items[i];
        mc_text value;
        mc_text_init(&value);
        const bool present = mc_format_run_present(tag->value, info, &value);
        const mc_slice text = present ? mc_text_slice(&value) : tag->otherwise;
        if (text.n > 0 && !value.failed) {
            tell(out, tag->name, text);
        }
        mc_text_fini(&value);
    }
}
