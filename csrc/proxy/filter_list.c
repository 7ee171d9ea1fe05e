#include "proxy/filter_list.h"

#include "base/alloc.h"
#include "proxy/upstream_chain.h"

static const mc_filter_factory *find_factory(const mc_filter_list *list, mc_slice name) {
    for (size_t i = 0; i < list->factory_count; i++) {
        if (mc_slice_eq(list->factories[i].name, name)) {
            return &list->factories[i];
        }
    }
    return NULL;
}

/* A filter from outside the core: by the name in its configuration, else by the entry's. */
static mc_status read_factory(const mc_filter_list *list, const mc_value *typed, mc_filter_config *out,
                              mc_error *error) {
    mc_slice name = out->name;
    MC_TRY(mc_value_read_string(typed, "name", &name, error));
    const mc_filter_factory *factory = find_factory(list, name);
    if (factory == NULL) {
        return mc_error_set(error, MC_EINVAL, "name", "is no filter known here: %.*s", MC_SLICE_ARG(name));
    }
    out->type = factory->type;
    out->config = factory->config;
    return MC_OK;
}

static mc_status read_kind(mc_filter_compile *c, const mc_value *typed, mc_filter_config *out) {
    out->kind = mc_filter_kind_find(mc_any_type(typed));
    if (typed == NULL && mc_slice_eq(out->name, mc_slice_cstr(mc_router_filter.name))) {
        out->kind = &mc_filter_kind_router;
    }
    if (out->kind == NULL) {
        return MC_OK;
    }
    out->type = out->kind->filter;
    return out->kind->compile == NULL
               ? MC_OK
               : mc_error_in(out->kind->compile(c, typed, &out->config), c->error, "typed_config");
}

/* out->type stays NULL for an unknown filter that is optional. */
static mc_status read_filter(mc_filter_compile *c, const mc_filter_list *list, const mc_value *entry,
                             mc_filter_config *out) {
    const mc_value *typed;
    mc_error *error = c->error;
    bool is_optional = false;
    MC_TRY(mc_read_text(c->arena, entry, "name", &out->name, error));
    MC_TRY(mc_value_read_bool(entry, "is_optional", &is_optional, error));
    MC_TRY(mc_value_read_bool(entry, "disabled", &out->disabled, error));
    MC_TRY(mc_value_read_object(entry, "typed_config", &typed, error));
    MC_TRY(read_kind(c, typed, out));
    if (out->type == NULL && !(is_optional && find_factory(list, out->name) == NULL)) {
        MC_TRY(read_factory(list, typed, out, error));
    }
    if (out->type != NULL && out->type->terminal && out->disabled) {
        return mc_error_set(error, MC_EINVAL, "disabled", "must not be set for the last filter");
    }
    return MC_OK;
}

static const char *name_of(const mc_filter_type *last) {
    return last == &mc_router_filter ? "router" : "upstream codec";
}

/* Section 5: the last filter must be terminal, and only it; `last` is that one of this kind of chain. */
static mc_status check_order(const mc_filter_list *list, const mc_filter_chain *chain, const mc_filter_type *last,
                             const char *field, size_t count, mc_error *error) {
    for (uint32_t i = chain->begin; i < chain->end; i++) {
        const bool is_last = i + 1 == chain->end;
        const mc_filter_type *type = list->filters[i].type;
        if (is_last ? type != last : type->terminal) {
            mc_error_set(error, MC_EINVAL, "",
                         is_last ? "the last filter must be the %s" : "the %s must be the last filter", name_of(last));
            mc_error_under(error, "%s[%zu]", field,
                           chain->end - chain->begin == count ? (size_t)(i - chain->begin) : count - 1);
            return MC_EINVAL;
        }
    }
    return MC_OK;
}

mc_status mc_filter_list_init(mc_filter_list *list, size_t room, const char *field, mc_filter_compile *c) {
    if (room > UINT8_MAX) {
        return mc_error_set(c->error, MC_EINVAL, field, "must be at most %d", UINT8_MAX);
    }
    list->room = (uint32_t)room;
    list->filters = mc_arena_zalloc(c->arena, (room + 1) * sizeof *list->filters);
    return list->filters == NULL ? MC_ENOMEM : MC_OK;
}

mc_status mc_filter_list_read(mc_filter_compile *c, mc_filter_list *list, const mc_value *object, const char *field,
                              const mc_filter_type *last, mc_filter_chain *out) {
    const mc_value *entries;
    size_t count;
    MC_TRY(mc_value_read_list(object, field, &entries, &count, c->error));
    out->begin = list->count;
    for (size_t i = 0; i < count; i++) {
        mc_filter_config *filter = &list->filters[list->count];
        MC_TRY(mc_error_in(read_filter(c, list, &entries[i], filter), c->error, "%s[%zu]", field, i));
        if (filter->type != NULL) {
            list->count++;
        } else {
            *filter = (mc_filter_config){0};
        }
    }
    out->end = list->count;
    if (out->begin == out->end) {
        return mc_error_set(c->error, MC_EINVAL, field, "must end with the %s", name_of(last));
    }
    MC_TRY(check_order(list, out, last, field, count, c->error));
    if (last == &mc_router_filter) {
        out->router = *(const mc_router_options *)list->filters[out->end - 1].config;
    }
    return MC_OK;
}

mc_status mc_filter_list_read_tries(mc_filter_compile *c, mc_filter_list *list, const mc_value *object,
                                    const char *field, mc_filter_chain *out) {
    MC_TRY(mc_filter_list_read(c, list, object, field, &mc_upstream_codec_filter, out));
    for (uint32_t i = out->begin; i + 1 < out->end; i++) {
        const mc_filter_config *filter = &list->filters[i];
        if (filter->kind == NULL || filter->kind->in_tries == MC_TRY_NEVER) {
            return mc_error_set(c->error, MC_EINVAL, field, "holds a filter that cannot stand there: %.*s",
                                MC_SLICE_ARG(filter->name));
        }
    }
    return MC_OK;
}

/* --- of a cluster ------------------------------------------------------------------------------------------------- */

#define OPTIONS "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

mc_status mc_cluster_filters_compile(mc_cluster *cluster, const mc_value *config, mc_filter_compile *c) {
    static const char field[] = "http_filters";
    const mc_value *extensions = mc_value_get(config, "typed_extension_protocol_options");
    const mc_value *options = mc_value_get(extensions, OPTIONS), *entries;
    size_t count;
    MC_TRY(mc_value_read_list(options, field, &entries, &count, c->error));
    if (count == 0) {
        return MC_OK;
    }
    struct mc_cluster_filters *filters = mc_arena_zalloc(&cluster->arena, sizeof *filters);
    const mc_slice parts[] = {MC_SLICE("cluster."), cluster->stat_name, MC_SLICE(".")};
    if (filters == NULL) {
        return MC_ENOMEM;
    }
    c->arena = &cluster->arena;
    MC_TRY(mc_arena_concat(c->arena, parts, 3, &c->scope));
    c->stat_prefix = mc_slice_until(c->scope, c->scope.n - 1);
    MC_TRY(mc_filter_list_init(&filters->list, count, field, c));
    MC_TRY(mc_error_in(mc_filter_list_read_tries(c, &filters->list, options, field, &filters->chain), c->error,
                       "typed_extension_protocol_options." OPTIONS));
    cluster->filters = filters;
    return MC_OK;
}

void mc_cluster_filters_close(const struct mc_cluster_filters *filters, void **states) {
    for (uint32_t i = 0; states != NULL && i < filters->list.count; i++) {
        if (states[i] != NULL) {
            filters->list.filters[i].kind->worker_close(states[i]);
        }
    }
    mc_free(states);
}
