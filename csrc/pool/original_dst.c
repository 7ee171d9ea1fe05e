#include "pool/original_dst.h"

#include "base/defaults.h"

static mc_status read_metadata_key(const mc_value *config, mc_arena *arena, mc_original_dst *out, mc_error *error) {
    const mc_value *key, *items;
    size_t count;
    mc_slice name = MC_SLICE_NONE;
    mc_status status;
    if ((status = mc_value_read_object(config, "metadata_key", &key, error)) != MC_OK || key == NULL ||
        (status = mc_value_read_string(key, "key", &name, error)) != MC_OK ||
        (status = mc_value_read_list(key, "path", &items, &count, error)) != MC_OK ||
        (status = mc_arena_dup(arena, name, &out->metadata)) != MC_OK) {
        return status;
    }
    mc_slice *path = mc_arena_alloc(arena, count * sizeof *path);
    for (size_t i = 0; path != NULL && i < count; i++) {
        mc_slice segment = MC_SLICE_NONE;
        if ((status = mc_value_read_string(&items[i], "key", &segment, error)) != MC_OK ||
            (status = mc_arena_dup(arena, segment, &path[i])) != MC_OK) {
            return status;
        }
    }
    out->path = path;
    out->path_count = (uint32_t)count;
    return path == NULL ? MC_ENOMEM : MC_OK;
}

mc_status mc_original_dst_compile(const mc_value *cluster, mc_arena *arena, mc_original_dst **out, mc_error *error) {
    const mc_value *config;
    mc_slice type = MC_SLICE_NONE, header = MC_SLICE("x-envoy-original-dst-host");
    mc_status status = mc_value_read_string(cluster, "type", &type, error);
    *out = NULL;
    if (status != MC_OK || !mc_slice_eq(type, MC_SLICE("ORIGINAL_DST"))) {
        return status;
    }
    mc_original_dst *d = mc_arena_zalloc(arena, sizeof *d);
    if (d == NULL) {
        return MC_ENOMEM;
    }
    d->cleanup_ms = MC_DEFAULT_ORIGINAL_DST_CLEANUP;
    if ((status = mc_value_read_duration_ms(cluster, "cleanup_interval", &d->cleanup_ms, error)) != MC_OK ||
        (status = mc_value_read_object(cluster, "original_dst_lb_config", &config, error)) != MC_OK) {
        return status;
    }
    if ((status = mc_value_read_bool(config, "use_http_header", &d->use_header, error)) != MC_OK ||
        (status = mc_value_read_string(config, "http_header_name", &header, error)) != MC_OK ||
        (status = mc_value_read_u32(config, "upstream_port_override", &d->port, error)) != MC_OK ||
        (status = read_metadata_key(config, arena, d, error)) != MC_OK ||
        (status = mc_arena_dup(arena, header.n > 0 ? header : MC_SLICE("x-envoy-original-dst-host"), &d->header)) !=
            MC_OK) {
        mc_error_under(error, "original_dst_lb_config");
        return status;
    }
    *out = d;
    return MC_OK;
}

/* "ip:port", IPv6 in brackets. */
static bool parse(mc_slice text, mc_address *out) {
    size_t colon = text.n;
    uint64_t port;
    while (colon > 0 && text.p[colon - 1] != ':') {
        colon--;
    }
    if (colon < 2 || mc_slice_u64(mc_slice_of(text.p + colon, text.n - colon), &port) != MC_OK || port > UINT16_MAX) {
        return false;
    }
    mc_slice ip = mc_slice_of(text.p, colon - 1);
    const bool brackets = ip.n > 2 && ip.p[0] == '[' && ip.p[ip.n - 1] == ']';
    if (brackets) {
        ip = mc_slice_of(ip.p + 1, ip.n - 2);
    }
    return mc_address_parse(out, ip, (uint16_t)port) == MC_OK && (out->any.sa_family == AF_INET6) == brackets;
}

static bool take(mc_slice text, mc_address *out, uint32_t *invalid) {
    if (text.p == NULL) {
        return false;
    }
    if (!parse(text, out)) {
        ++*invalid;
        return false;
    }
    return true;
}

static mc_slice metadata_text(const mc_original_dst *config, const mc_value *metadata) {
    const mc_value *at = NULL;
    for (size_t i = 0; metadata != NULL && i < metadata->count; i++) {
        if (mc_slice_eq(metadata->names[i], config->metadata)) {
            at = &metadata->items[i];
        }
    }
    for (uint32_t i = 0; at != NULL && i < config->path_count; i++) {
        const mc_value *below = NULL;
        for (size_t j = 0; at->kind == MC_OBJECT && j < at->count; j++) {
            if (mc_slice_eq(at->names[j], config->path[i])) {
                below = &at->items[j];
            }
        }
        at = below;
    }
    return at != NULL && at->kind == MC_STRING ? at->string : MC_SLICE_NONE;
}

static bool from_state(const mc_value *state, mc_address *out) {
    const mc_value *value = mc_value_get(state, "envoy.network.transport_socket.original_dst_address");
    return value != NULL && value->kind == MC_STRING && parse(value->string, out);
}

bool mc_original_dst_address(const mc_original_dst *config, const mc_headers *request, const mc_value *metadata,
                             const mc_value *filter_state, const mc_address *restored, mc_address *out,
                             uint32_t *invalid) {
    *invalid = 0;
    bool found = (MC_UNLIKELY(filter_state != NULL) && from_state(filter_state, out)) ||
                 (config->metadata.n > 0 && take(metadata_text(config, metadata), out, invalid)) ||
                 (config->use_header && take(mc_headers_get(request, config->header), out, invalid));
    if (!found && restored != NULL) {
        *out = *restored;
        found = true;
    }
    if (found && config->port != 0) {
        in_port_t *port = out->any.sa_family == AF_INET6 ? &out->v6.sin6_port : &out->v4.sin_port;
        *port = htons((uint16_t)config->port);
    }
    return found;
}
