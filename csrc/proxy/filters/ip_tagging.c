/* ip_tagging (FL-57): requests marked with the names of the ranges that their client's address is in. */
#include "base/cidr.h"
#include "proxy/filters/kind.h"
#include "proxy/stream.h"

typedef struct tag {
    mc_slice name;
    mc_cidrs ranges;
    mc_stat hit;
} tag;

typedef enum scope { BOTH, INTERNAL, EXTERNAL } scope;

typedef struct config {
    scope scope;
    tag *tags;
    uint32_t count;
    mc_slice header; /* lower-case; empty: x-envoy-ip-tags */
    bool append;     /* to the values that `header` has */
    mc_stat no_hit, total;
} config;

/* The names of all ranges, joined; p == NULL: none. */
static mc_status find_tags(mc_filter *filter, const config *config, mc_slice *out) {
    const mc_address *remote = mc_filter_remote(filter);
    *out = MC_SLICE_NONE;
    for (uint32_t i = 0; i < config->count; i++) {
        const tag *tag = &config->tags[i];
        if (!mc_cidrs_contain(&tag->ranges, remote)) {
            continue;
        }
        mc_slice parts[] = {*out, out->p == NULL ? MC_SLICE_NONE : MC_SLICE(","), tag->name};
        MC_TRY(mc_arena_concat(mc_filter_arena(filter), parts, 3, out));
        mc_counter_inc(mc_filter_slab(filter), tag->hit);
    }
    return MC_OK;
}

static mc_status set_tags(mc_filter *filter, const config *config, mc_headers *headers, mc_slice tags) {
    if (config->header.n == 0) {
        if (tags.p != NULL) {
            mc_filter_clear_route(filter);
            return mc_headers_append_value(headers, MC_H_X_ENVOY_IP_TAGS, MC_SLICE(","), tags);
        }
        return MC_OK;
    }
    if (!config->append && mc_headers_remove(headers, config->header) > 0) {
        mc_filter_clear_route(filter);
    }
    if (tags.p == NULL) {
        return MC_OK;
    }
    mc_filter_clear_route(filter);
    uint32_t at = 0;
    const mc_header *there = config->append ? mc_headers_next(headers, config->header, &at) : NULL;
    if (there != NULL) {
        mc_slice parts[] = {there->value, there->value.n > 0 ? MC_SLICE(",") : MC_SLICE_NONE, tags};
        return mc_arena_concat(mc_filter_arena(filter), parts, 3, &headers->items[there - headers->items].value);
    }
    return mc_headers_add(headers, config->header, tags);
}

static mc_filter_status decode_headers(mc_filter *filter, mc_headers *headers, bool end_stream) {
    const config *config = mc_filter_get_config(filter);
    const bool internal = mc_slice_eq(mc_headers_get_known(headers, MC_H_X_ENVOY_INTERNAL), MC_SLICE("true"));
    mc_slice tags;
    if (config->scope == (internal ? EXTERNAL : INTERNAL)) {
        return MC_FILTER_CONTINUE;
    }
    if (find_tags(filter, config, &tags) != MC_OK || set_tags(filter, config, headers, tags) != MC_OK) {
        return mc_filter_out_of_memory(filter);
    }
    if (tags.p == NULL) {
        mc_counter_inc(mc_filter_slab(filter), config->no_hit);
    }
    mc_counter_inc(mc_filter_slab(filter), config->total);
    return MC_FILTER_CONTINUE;
}

static mc_status read_tag(mc_filter_compile *c, const mc_value *value, tag *out) {
    MC_TRY(mc_read_text(c->arena, value, "ip_tag_name", &out->name, c->error));
    MC_TRY(mc_cidrs_read(c->arena, value, "ip_list", &out->ranges, c->error));
    mc_slice parts[] = {MC_SLICE("ip_tagging."), out->name, MC_SLICE(".")}, scope;
    MC_TRY(mc_arena_concat(c->arena, parts, 3, &scope));
    out->hit = mc_filter_stat(c, MC_COUNTER, scope, "hit");
    return MC_OK;
}

static mc_status read_header(mc_filter_compile *c, const mc_value *value, config *out) {
    static const mc_name_value actions[] = {{"SANITIZE", 0}, {"APPEND_IF_EXISTS_OR_ADD", 1}, {NULL, 0}};
    const mc_value *header;
    mc_slice name;
    uint64_t append = 0;
    MC_TRY(mc_value_read_object(value, "ip_tag_header", &header, c->error));
    if (header == NULL) {
        return MC_OK;
    }
    MC_TRY(mc_error_in(mc_read_name(c->arena, header, "header", &name, c->error), c->error, "ip_tag_header"));
    MC_TRY(mc_error_in(mc_read_enum(header, "action", actions, &append, c->error), c->error, "ip_tag_header"));
    out->append = append == 1;
    return mc_dup_lower(c->arena, name, &out->header);
}

static mc_status compile(mc_filter_compile *c, const mc_value *value, void **out) {
    static const mc_name_value scopes[] = {{"BOTH", BOTH}, {"INTERNAL", INTERNAL}, {"EXTERNAL", EXTERNAL}, {NULL, 0}};
    const mc_value *list;
    size_t count;
    uint64_t scope = BOTH;
    config *config = mc_arena_zalloc(c->arena, sizeof *config);
    *out = config;
    if (config == NULL) {
        return MC_ENOMEM;
    }
    MC_TRY(mc_read_enum(value, "request_type", scopes, &scope, c->error));
    config->scope = (enum scope)scope;
    MC_TRY(mc_value_read_list(value, "ip_tags", &list, &count, c->error));
    config->tags = mc_arena_zalloc(c->arena, count * sizeof *config->tags);
    if (config->tags == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(read_tag(c, &list[i], &config->tags[config->count++]), c->error, "ip_tags[%zu]", i));
    }
    config->no_hit = mc_filter_stat(c, MC_COUNTER, MC_SLICE("ip_tagging."), "no_hit");
    config->total = mc_filter_stat(c, MC_COUNTER, MC_SLICE("ip_tagging."), "total");
    return read_header(c, value, config);
}

static const mc_filter_type filter_type = {.name = "envoy.filters.http.ip_tagging", .decode_headers = decode_headers};

const mc_filter_kind mc_filter_kind_ip_tagging = {
    .type = "envoy.extensions.filters.http.ip_tagging.v3.IPTagging", .filter = &filter_type, .compile = compile};
