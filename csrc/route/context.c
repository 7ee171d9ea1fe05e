#include "route/context.h"

#include <stddef.h>
#include <stdio.h>

#include "http/flags.h"
#include "route/context_tls.h"
#include "route/format_evals.h"

/* --- what is no operator, or not one field ----------------------------------------------------------------------------------------- */

static mc_status read_flags(const mc_context_reader *r, const mc_value *value) {
    if (value->kind == MC_NUMBER) {
        return mc_context_u64(r, value, &r->info->flags);
    }
    for (size_t i = 0; i < (value->kind == MC_LIST ? value->count : 1); i++) {
        mc_slice rest, name;
        MC_TRY(mc_context_text(r, value->kind == MC_LIST ? &value->items[i] : value, &rest));
        while (mc_slice_next(&rest, ',', &name)) {
            uint64_t flag = mc_flag_by_name(name);
            if (flag == 0 && name.n > 0 && !mc_slice_eq(name, MC_SLICE("-"))) {
                return mc_error_set(r->error, MC_EINVAL, r->key, "names no response flag: %.*s", MC_SLICE_ARG(name));
            }
            r->info->flags |= flag;
        }
    }
    return MC_OK;
}

static mc_status read_log_type(const mc_context_reader *r, const mc_value *value) {
    mc_slice name = MC_SLICE_NONE;
    MC_TRY(mc_context_text(r, value, &name));
    for (uint8_t type = 0; type < MC_LOG_TYPE_COUNT; type++) {
        if (mc_slice_eq(mc_log_type_name(type), name)) {
            r->info->log_type = type;
            return MC_OK;
        }
    }
    return mc_context_refuse(r, "a type of access log record");
}

static mc_status read_hosts(const mc_context_reader *r, const mc_value *value) {
    if (value->kind != MC_LIST) {
        return mc_context_refuse(r, "a list of addresses");
    }
    const mc_address **hosts = mc_arena_zalloc(r->arena, value->count * sizeof *hosts);
    if (hosts == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < value->count; i++) {
        MC_TRY(mc_context_address(r, &value->items[i], &hosts[i]));
    }
    r->info->attempted_hosts = hosts;
    r->info->attempted_host_count = (uint32_t)value->count;
    return MC_OK;
}

static mc_status read_host_names(const mc_context_reader *r, const mc_value *value) {
    mc_slices names;
    MC_TRY(mc_context_texts(r, value, &names));
    r->info->attempted_host_names = names.items;
    if (r->info->attempted_hosts == NULL) { /* names alone: no address stands in for one */
        const mc_address **hosts = mc_arena_zalloc(r->arena, names.count * sizeof *hosts);
        if (hosts == NULL) {
            return MC_ENOMEM;
        }
        r->info->attempted_hosts = hosts;
        r->info->attempted_host_count = names.count;
    }
    return names.count < r->info->attempted_host_count ? mc_context_refuse(r, "as many as the attempted hosts") : MC_OK;
}

static mc_status read_connections(const mc_context_reader *r, const mc_value *value) {
    if (value->kind != MC_LIST) {
        return mc_context_refuse(r, "a list of numbers");
    }
    uint64_t *ids = mc_arena_zalloc(r->arena, value->count * sizeof *ids);
    if (ids == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < value->count; i++) {
        MC_TRY(mc_context_u64(r, &value->items[i], &ids[i]));
    }
    r->info->attempted_connections = ids;
    r->info->attempted_connection_count = (uint32_t)value->count;
    return MC_OK;
}

static mc_status read_points(const mc_context_reader *r, const mc_value *value) {
    if (value->kind != MC_OBJECT) {
        return mc_context_refuse(r, "a mapping of names to milliseconds after the start");
    }
    mc_time_point *points = mc_arena_zalloc(r->arena, value->count * sizeof *points);
    if (points == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < value->count; i++) {
        points[i].name = value->names[i];
        MC_TRY(mc_context_ms(r, &value->items[i], &points[i].ns));
        uint64_t *known = mc_format_point_by_name(r->info, points[i].name);
        if (known != NULL) {
            *known = points[i].ns;
        }
    }
    r->info->points = points;
    r->info->point_count = (uint32_t)value->count;
    return MC_OK;
}

static mc_status read_field(const mc_context_reader *r, mc_info_field kind, unsigned variant, void *field,
                            const mc_value *value) {
    double number = 0;
    switch (kind) {
    case MC_INFO_SLICE: return mc_context_text(r, value, field);
    case MC_INFO_U64: return mc_context_u64(r, value, field);
    case MC_INFO_POINT: return mc_context_ms(r, value, field);
    case MC_INFO_ADDRESS: return mc_context_address(r, value, field);
    case MC_INFO_TLS: return mc_context_tls_field(r, variant, value, field);
    case MC_INFO_VALUE: return mc_context_object(r, value, field);
    case MC_INFO_U32:
        MC_TRY(mc_context_number(r, value, UINT32_MAX, &number));
        *(uint32_t *)field = (uint32_t)number;
        return MC_OK;
    case MC_INFO_U16:
        MC_TRY(mc_context_number(r, value, UINT16_MAX, &number));
        *(uint16_t *)field = (uint16_t)number;
        return MC_OK;
    case MC_INFO_OTHER: break;
    }
    return mc_error_set(r->error, MC_EINVAL, r->key, "is not known of a request");
}

/* --- fields of their own ---------------------------------------------------------------------------------------------------------- */

static mc_status read_downstream_tls(const mc_context_reader *r, const mc_value *value) {
    return mc_context_tls(r, value, &r->info->downstream_tls);
}

static mc_status read_upstream_tls(const mc_context_reader *r, const mc_value *value) {
    return mc_context_tls(r, value, &r->info->upstream_tls);
}

static mc_status read_health_check(const mc_context_reader *r, const mc_value *value) {
    return mc_context_flag(r, value, &r->info->health_check);
}

/* Told from the first byte out of the upstream on, which must be known. */
static mc_status read_response_tx(const mc_context_reader *r, const mc_value *value) {
    mc_stream_info *info = r->info;
    uint64_t ns = 0;
    MC_TRY(mc_context_ms(r, value, &ns));
    info->at.upstream_receive_begin =
        info->at.upstream_receive_begin == MC_NO_TIME ? 0 : info->at.upstream_receive_begin;
    info->at.response_end = info->at.upstream_receive_begin + ns;
    return MC_OK;
}

static const struct {
    const char *key;
    mc_status (*read)(const mc_context_reader *r, const mc_value *value);
} READERS[] = {
    {"response_flags", read_flags},
    {"access_log_type", read_log_type},
    {"upstream_hosts_attempted", read_hosts},
    {"upstream_host_names_attempted", read_host_names},
    {"upstream_connection_ids_attempted", read_connections},
    {"time_points", read_points},
    {"tls", read_downstream_tls},
    {"downstream_tls", read_downstream_tls},
    {"upstream_tls", read_upstream_tls},
    {"health_check", read_health_check},
    {"response_tx_duration", read_response_tx},
};

#define AT(member) offsetof(mc_stream_info, member)
static const struct {
    const char *key;
    mc_info_field kind;
    size_t offset;
} FIELDS[] = {
    {"route_metadata", MC_INFO_VALUE, AT(route_metadata)},
    {"virtual_host_metadata", MC_INFO_VALUE, AT(virtual_host_metadata)},
    {"listener_metadata", MC_INFO_VALUE, AT(listener_metadata)},
    {"filter_chain_metadata", MC_INFO_VALUE, AT(filter_chain_metadata)},
    {"node", MC_INFO_VALUE, AT(node)},
    {"upstream_locality", MC_INFO_VALUE, AT(upstream_locality)},
    {"virtual_host_name", MC_INFO_SLICE, AT(virtual_host_name)},
    {"requested_server_name", MC_INFO_SLICE, AT(requested_server_name)},
    {"upstream_host_name", MC_INFO_SLICE, AT(upstream_host_name)},
    {"start_time", MC_INFO_U64, AT(start_ns)},
    {"random", MC_INFO_U64, AT(stream_id)},
};
#undef AT

/* *found: whether the key is one of these. */
static mc_status read_special(const mc_context_reader *r, const mc_value *value, bool *found) {
    *found = true;
    for (size_t i = 0; i < sizeof READERS / sizeof *READERS; i++) {
        if (strcmp(r->key, READERS[i].key) == 0) {
            return READERS[i].read(r, value);
        }
    }
    for (size_t i = 0; i < sizeof FIELDS / sizeof *FIELDS; i++) {
        if (strcmp(r->key, FIELDS[i].key) == 0) {
            return read_field(r, FIELDS[i].kind, 0, (char *)r->info + FIELDS[i].offset, value);
        }
    }
    *found = false;
    return MC_OK;
}

const char *mc_stream_info_operator(size_t i) {
    const mc_format_command *command = NULL;
    for (size_t c = 0; (command = mc_format_command_at(c)) != NULL; c++) {
        if (command->field != MC_INFO_OTHER && i-- == 0) {
            return command->name;
        }
    }
    return NULL;
}

mc_status mc_stream_info_read(mc_arena *arena, const mc_value *object, mc_stream_info *info, mc_error *error) {
    mc_context_reader r = {arena, info, error, ""};
    if (object->kind != MC_OBJECT) {
        return mc_context_refuse(&r, "a mapping");
    }
    for (size_t i = 0; i < object->count; i++) {
        char key[64], name[64];
        bool found;
        if (object->items[i].kind == MC_NULL) {
            continue;
        }
        snprintf(key, sizeof key, "%.*s", MC_SLICE_ARG(object->names[i]));
        for (size_t c = 0; c < sizeof name; c++) {
            name[c] = key[c] >= 'a' && key[c] <= 'z' ? (char)(key[c] - 0x20) : key[c];
            if (key[c] == '\0') {
                break;
            }
        }
        r.key = key;
        MC_TRY(read_special(&r, &object->items[i], &found));
        if (found) {
            continue;
        }
        const mc_format_command *command = mc_format_find(mc_slice_cstr(name));
        if (command == NULL) {
            return mc_error_set(error, MC_EINVAL, key, "is not known of a request");
        }
        MC_TRY(read_field(&r, command->field, command->variant, (char *)info + command->offset, &object->items[i]));
    }
    return MC_OK;
}
