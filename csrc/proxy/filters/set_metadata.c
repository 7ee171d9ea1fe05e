/* set_metadata (FL-56): what a configuration says becomes dynamic metadata of the request. */
#include "base/value_edit.h"
#include "proxy/filters/kind.h"
#include "proxy/stream.h"

typedef struct entry {
    mc_slice space;
    const mc_value *value;
    bool allow_overwrite;
    bool typed; /* an Any, which takes the place of the one before */
} entry;

typedef struct config {
    entry *entries;
    uint32_t count;
    mc_stat overwrite_denied;
} config;

static mc_status put(mc_filter *filter, const entry *entry) {
    mc_stream *stream = mc_filter_stream(filter);
    return entry->typed ? mc_value_put(&stream->arena, stream->typed_metadata, entry->space, entry->value,
                                       &stream->typed_metadata)
                        : mc_filter_merge_metadata(filter, entry->space, entry->value);
}

static mc_status set(mc_filter *filter, const config *config) {
    const mc_stream *stream = mc_filter_stream(filter);
    for (uint32_t i = 0; i < config->count; i++) {
        const entry *entry = &config->entries[i];
        const mc_value *there = entry->typed ? stream->typed_metadata : stream->metadata;
        if (!entry->allow_overwrite && mc_value_find(there, entry->space) != NULL) {
            mc_counter_inc(mc_filter_slab(filter), config->overwrite_denied);
        } else {
            MC_TRY(put(filter, entry));
        }
    }
    return MC_OK;
}

/* What the route says comes behind what the filter says. */
static mc_filter_status decode_headers(mc_filter *filter, mc_headers *headers, bool end_stream) {
    const config *own = mc_filter_get_config(filter), *routes = mc_filter_route_config(filter);
    if (set(filter, own) != MC_OK || (routes != own && set(filter, routes) != MC_OK)) {
        return mc_filter_out_of_memory(filter);
    }
    return MC_FILTER_CONTINUE;
}

/* One that has no value sets nothing; one that has both is not typed. */
static mc_status read_entry(mc_filter_compile *c, const mc_value *value, config *config, bool overwrite) {
    const mc_value *metadata;
    entry *entry = &config->entries[config->count];
    entry->allow_overwrite = overwrite;
    MC_TRY(mc_read_name(c->arena, value, "metadata_namespace", &entry->space, c->error));
    MC_TRY(mc_value_read_bool(value, "allow_overwrite", &entry->allow_overwrite, c->error));
    MC_TRY(mc_value_read_object(value, "value", &metadata, c->error));
    if (metadata == NULL) {
        entry->typed = true;
        MC_TRY(mc_value_read_object(value, "typed_value", &metadata, c->error));
    }
    if (metadata == NULL) {
        return MC_OK;
    }
    config->count++;
    return mc_value_copy(c->arena, metadata, &entry->value);
}

static mc_status compile(mc_filter_compile *c, const mc_value *value, void **out) {
    const mc_value *list;
    size_t count;
    config *config = mc_arena_zalloc(c->arena, sizeof *config);
    *out = config;
    if (config == NULL) {
        return MC_ENOMEM;
    }
    const mc_slice prefix = MC_SLICE("set_metadata.");
    config->overwrite_denied = c->is_route ? mc_stats_scoped(c->stats, MC_COUNTER, prefix, MC_SLICE("overwrite_denied"))
                                           : mc_filter_stat(c, MC_COUNTER, prefix, "overwrite_denied");
    MC_TRY(mc_value_read_list(value, "metadata", &list, &count, c->error));
    config->entries = mc_arena_zalloc(c->arena, (count + 1) * sizeof *config->entries);
    if (config->entries == NULL) {
        return MC_ENOMEM;
    }
    if (mc_value_get(value, "metadata_namespace") != NULL) { /* the older spelling of one entry */
        MC_TRY(read_entry(c, value, config, true));
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(read_entry(c, &list[i], config, false), c->error, "metadata[%zu]", i));
    }
    return MC_OK;
}

static const mc_filter_type filter_type = {.name = "envoy.filters.http.set_metadata", .decode_headers = decode_headers};

const mc_filter_kind mc_filter_kind_set_metadata = {
    .type = "envoy.extensions.filters.http.set_metadata.v3.Config",
    .route_type = "envoy.extensions.filters.http.set_metadata.v3.Config",
    .filter = &filter_type,
    .compile = compile,
    .compile_route = compile,
};
