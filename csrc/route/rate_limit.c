#include "route/rate_limit.h"

#include "route/compile.h"
#include "route/format.h"
#include "route/metadata.h"
#include "route/rate_limit_action.h"

typedef struct limit_entry {
    uint32_t stage;
    bool stream_done;
    mc_slice disable_key;
    const mc_rate_limit_actions *actions;
    bool has_override;
    mc_metadata_place override;
    bool has_limit; /* limit.rate_limit */
    uint32_t requests_per_unit;
    mc_rate_limit_unit unit;
    bool has_hits, gives_back;
    uint64_t hits;
    const mc_format *hits_format;
    mc_rate_limit_headers headers;
} limit_entry;

struct mc_rate_limits {
    const limit_entry *items;
    uint32_t count;
};

/* --- compiling --- */

static const mc_name_value units[] = {{"UNKNOWN", MC_RATE_UNIT_UNKNOWN},
                                      {"SECOND", MC_RATE_SECOND},
                                      {"MINUTE", MC_RATE_MINUTE},
                                      {"HOUR", MC_RATE_HOUR},
                                      {"DAY", MC_RATE_DAY},
                                      {"MONTH", MC_RATE_MONTH},
                                      {"YEAR", MC_RATE_YEAR},
                                      {"WEEK", MC_RATE_WEEK},
                                      {NULL, 0}};

static mc_status compile_override(mc_arena *arena, const mc_value *value, limit_entry *out, mc_error *error) {
    const mc_value *dynamic, *place, *fixed;
    uint64_t unit = 0;
    MC_TRY(mc_value_read_object(value, "rate_limit", &fixed, error));
    if (fixed != NULL) {
        out->has_limit = true;
        MC_TRY(mc_error_in(mc_value_read_u32(fixed, "requests_per_unit", &out->requests_per_unit, error), error,
                           "rate_limit"));
        MC_TRY(mc_error_in(mc_read_enum(fixed, "unit", units, &unit, error), error, "rate_limit"));
        out->unit = (mc_rate_limit_unit)unit;
        return MC_OK;
    }
    MC_TRY(mc_value_read_object(value, "dynamic_metadata", &dynamic, error));
    if (dynamic == NULL) {
        return mc_error_set(error, MC_EINVAL, "", "must have one of dynamic_metadata, rate_limit");
    }
    MC_TRY(mc_error_in(mc_value_read_object(dynamic, "metadata_key", &place, error), error, "dynamic_metadata"));
    if (place == NULL) {
        return mc_error_set(error, MC_EINVAL, "dynamic_metadata.metadata_key", "is required");
    }
    out->has_override = true;
    return mc_error_in(mc_metadata_place_read(arena, place, "key", &out->override, error), error,
                       "dynamic_metadata.metadata_key");
}

enum { MC_MAX_HITS = 1000000000 };

static mc_status compile_hits(mc_arena *arena, const mc_value *value, limit_entry *out, mc_error *error) {
    mc_slice text = MC_SLICE_NONE;
    out->has_hits = mc_value_get(value, "number") != NULL;
    MC_TRY(mc_value_read_u64(value, "number", &out->hits, error));
    MC_TRY(mc_value_read_bool(value, "is_negative_hits", &out->gives_back, error));
    if (out->hits > MC_MAX_HITS) {
        return mc_error_set(error, MC_EINVAL, "number", "must be at most %d", MC_MAX_HITS);
    }
    MC_TRY(mc_value_read_string(value, "format", &text, error));
    if (text.n == 0) {
        return MC_OK;
    }
    if (out->has_hits) {
        return MC_OK; /* the number counts */
    }
    if (text.p[0] != '%' || text.p[text.n - 1] != '%') {
        return mc_error_set(error, MC_EINVAL, "format", "must begin and end with %%");
    }
    return mc_error_in(mc_format_compile_text(arena, text, true, &out->hits_format, error), error, "format");
}

static mc_status compile_entry(mc_arena *arena, const mc_value *value, limit_entry *out, mc_error *error) {
    static const mc_name_value headers[] = {{"UNSPECIFIED", MC_RATE_HEADERS_UNSPECIFIED},
                                            {"OFF", MC_RATE_HEADERS_OFF},
                                            {"DRAFT_VERSION_03", MC_RATE_HEADERS_DRAFT_03},
                                            {NULL, 0}};
    const mc_value *sub;
    uint64_t option = MC_RATE_HEADERS_UNSPECIFIED;
    MC_TRY(mc_read_enum(value, "x_ratelimit_option", headers, &option, error));
    out->headers = (mc_rate_limit_headers)option;
    MC_TRY(mc_value_read_u32(value, "stage", &out->stage, error));
    if (out->stage > 10) {
        return mc_error_set(error, MC_EINVAL, "stage", "must be at most 10");
    }
    MC_TRY(mc_value_read_bool(value, "apply_on_stream_done", &out->stream_done, error));
    MC_TRY(mc_read_text(arena, value, "disable_key", &out->disable_key, error));
    MC_TRY(mc_rate_limit_actions_compile(arena, value, &out->actions, error));
    MC_TRY(mc_value_read_object(value, "limit", &sub, error));
    if (sub != NULL) {
        MC_TRY(mc_error_in(compile_override(arena, sub, out, error), error, "limit"));
    }
    MC_TRY(mc_value_read_object(value, "hits_addend", &sub, error));
    return sub == NULL ? MC_OK : mc_error_in(compile_hits(arena, sub, out, error), error, "hits_addend");
}

mc_status mc_rate_limits_compile(mc_arena *arena, const mc_value *object, const char *field, const mc_rate_limits **out,
                                 mc_error *error) {
    const mc_value *items;
    size_t count;
    *out = NULL;
    MC_TRY(mc_value_read_list(object, field, &items, &count, error));
    if (count == 0) {
        return MC_OK;
    }
    mc_rate_limits *limits = mc_arena_alloc(arena, sizeof *limits);
    limit_entry *entries = mc_arena_zalloc(arena, count * sizeof *entries);
    if (limits == NULL || entries == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(compile_entry(arena, &items[i], &entries[i], error), error, "%s[%zu]", field, i));
    }
    *limits = (mc_rate_limits){entries, (uint32_t)count};
    *out = limits;
    return MC_OK;
}

bool mc_rate_limits_empty(const mc_rate_limits *limits) { return limits == NULL || limits->count == 0; }

/* --- describing --- */

static void take_override(const mc_rate_limit_scene *s, const limit_entry *entry, mc_rate_limit_descriptor *out) {
    out->has_limit = entry->has_limit;
    out->requests_per_unit = entry->requests_per_unit;
    out->unit = entry->unit;
    if (!entry->has_override) {
        return;
    }
    const mc_value *override = mc_metadata_find(s->metadata, &entry->override);
    const mc_value *requests = mc_value_get(override, "requests_per_unit"), *unit = mc_value_get(override, "unit");
    if (requests == NULL || requests->kind != MC_NUMBER || unit == NULL || unit->kind != MC_STRING) {
        return;
    }
    for (const mc_name_value *at = units; at->name != NULL; at++) {
        /* Envoy: a week is a unit of configurations alone. */
        if (at->value != MC_RATE_WEEK && mc_slice_eq(unit->string, mc_slice_cstr(at->name))) {
            out->has_limit = true;
            out->requests_per_unit = requests->number > 0 ? (uint32_t)requests->number : 0;
            out->unit = (mc_rate_limit_unit)at->value;
        }
    }
}

static mc_status take_hits(const mc_rate_limit_scene *s, const limit_entry *entry, mc_rate_limit_descriptor *out) {
    out->has_hits = entry->has_hits;
    out->gives_back = entry->gives_back;
    out->hits_addend = entry->hits;
    if (entry->hits_format != NULL && s->request->info != NULL) {
        mc_slice text;
        MC_TRY(mc_format_run_arena(entry->hits_format, s->request->info, s->arena, &text));
        out->has_hits = mc_slice_u64(text, &out->hits_addend) == MC_OK && out->hits_addend <= MC_MAX_HITS;
        out->bad_hits = !out->has_hits;
    }
    return MC_OK;
}

static mc_status append(mc_rate_limit_descriptors *list, const mc_rate_limit_descriptor *descriptor, mc_arena *arena) {
    if (list->count == list->cap) {
        uint32_t cap = list->cap == 0 ? 4 : 2 * list->cap;
        mc_rate_limit_descriptor *grown = mc_arena_alloc(arena, cap * sizeof *grown);
        if (grown == NULL) {
            return MC_ENOMEM;
        }
        if (list->count > 0) {
            memcpy(grown, list->items, list->count * sizeof *grown);
        }
        list->items = grown;
        list->cap = cap;
    }
    list->items[list->count++] = *descriptor;
    return MC_OK;
}

static mc_status add_descriptor(const mc_rate_limit_scene *s, const limit_entry *entry,
                                mc_rate_limit_descriptors *out) {
    mc_rate_limit_descriptor made = {.disable_key = entry->disable_key, .headers = entry->headers};
    int holds = mc_rate_limit_actions_describe(entry->actions, s, &made);
    if (holds != 1) {
        return (mc_status)holds;
    }
    take_override(s, entry, &made);
    MC_TRY(take_hits(s, entry, &made));
    return append(out, &made, s->arena);
}

mc_status mc_rate_limits_descriptors(const mc_rate_limits *limits, uint32_t stage, bool stream_done,
                                     const mc_rate_limit_context *context, mc_rate_limit_descriptors *out) {
    mc_slice path = mc_headers_get_known(context->request->headers, MC_H_PATH);
    path = mc_slice_until(path, mc_slice_find(path, '#'));
    const mc_route_request *request = context->request;
    const mc_rate_limit_scene s = {
        .context = context,
        .request = request,
        .arena = request->arena,
        .metadata = request->info == NULL ? NULL : request->info->dynamic_metadata,
        .query = mc_slice_from(path, mc_slice_find(path, '?') + 1),
    };
    for (uint32_t i = 0; limits != NULL && i < limits->count; i++) {
        const limit_entry *entry = &limits->items[i];
        if (entry->stage == stage && entry->stream_done == stream_done) {
            MC_TRY(add_descriptor(&s, entry, out));
        }
    }
    return MC_OK;
}

mc_status mc_route_rate_limits(const mc_route_match *match, const mc_route_request *request, mc_slice local_cluster,
                               uint32_t stage, bool stream_done, mc_vh_rate_limits option,
                               mc_rate_limit_descriptors *out) {
    const mc_route *route = match->route;
    if (route == NULL || route->action != MC_ROUTE_TO_CLUSTER) {
        return MC_OK;
    }
    const mc_rate_limit_context context = {request, route, match->cluster, local_cluster};
    MC_TRY(mc_rate_limits_descriptors(route->rate_limits, stage, stream_done, &context, out));
    bool include = route->include_virtual_host_rate_limits || option == MC_VH_RATE_LIMITS_INCLUDE ||
                   (option == MC_VH_RATE_LIMITS_OVERRIDE && mc_rate_limits_empty(route->rate_limits));
    return include ? mc_rate_limits_descriptors(match->virtual_host->rate_limits, stage, stream_done, &context, out)
                   : MC_OK;
}
