/* The table of filter kinds, and what a route table says about them (RT-57). */
#include "proxy/filters/kind.h"
#include "proxy/stream.h"
#include "route/matcher.h"

#define KINDS(X)                                                                                                       \
    X(adaptive_concurrency)                                                                                            \
    X(admission_control)                                                                                               \
    X(bandwidth_limit)                                                                                                 \
    X(buffer)                                                                                                          \
    X(compressor)                                                                                                      \
    X(cors)                                                                                                            \
    X(cpu_limit)                                                                                                       \
    X(csrf)                                                                                                            \
    X(decompressor)                                                                                                    \
    X(dynamic_forward_proxy)                                                                                           \
    X(fault)                                                                                                           \
    X(grpc_stats)                                                                                                      \
    X(header_mutation)                                                                                                 \
    X(header_to_metadata)                                                                                              \
    X(health_check)                                                                                                    \
    X(ip_tagging)                                                                                                      \
    X(local_ratelimit)                                                                                                 \
    X(on_demand)                                                                                                       \
    X(rbac)                                                                                                            \
    X(router)                                                                                                          \
    X(set_metadata)                                                                                                    \
    X(stateful_session)                                                                                                \
    X(upstream_codec)

#define DECLARE(name) extern const mc_filter_kind mc_filter_kind_##name;
KINDS(DECLARE)
#undef DECLARE

static const mc_filter_kind *const kinds[] = {
#define ENTRY(name) &mc_filter_kind_##name,
    KINDS(ENTRY)
#undef ENTRY
        NULL,
};

const mc_filter_kind *mc_filter_kind_find(mc_slice type) {
    for (const mc_filter_kind *const *at = kinds; *at != NULL; at++) {
        if (mc_slice_eq(type, mc_slice_cstr((*at)->type))) {
            return *at;
        }
    }
    return NULL;
}

const mc_filter_kind *mc_filter_kind_find_route(mc_slice type) {
    for (const mc_filter_kind *const *at = kinds; *at != NULL; at++) {
        if ((*at)->route_type != NULL && mc_slice_eq(type, mc_slice_cstr((*at)->route_type))) {
            return *at;
        }
    }
    return NULL;
}

void mc_filter_match_input(mc_filter *filter, const mc_stream_info *info, mc_route_request *request,
                           mc_match_input *input) {
    mc_stream *stream = mc_filter_stream(filter);
    mc_slice path = mc_headers_get_known(&stream->request, MC_H_PATH);
    *request = (mc_route_request){
        .headers = &stream->request,
        .random = stream->random,
        .remote = &stream->remote,
        .local = info->downstream_local,
        .arena = &stream->arena,
        .info = info,
        .runtime = stream->proxy->runtime,
    };
    *input = (mc_match_input){.request = request};
    input->path = mc_slice_until(path, mc_slice_find(path, '#'));
    const size_t question = mc_slice_find(input->path, '?');
    input->query = mc_slice_from(input->path, question + 1);
    input->whole = input->path = mc_slice_until(input->path, question);
}

/* --- one level of the route table ----------------------------------------------------------------------------------- */

typedef struct entry {
    const mc_filter_kind *kind; /* NULL: no configuration */
    void *config;
    bool disabled;
} entry;

static mc_status compile_any(mc_route_filters_compile *c, const mc_value *any, bool is_optional, entry *out) {
    mc_error *error = c->compile.error;
    mc_slice type = mc_any_type(any);
    const mc_filter_kind *kind = mc_filter_kind_find_route(type);
    if (kind == NULL && !is_optional) {
        bool known = mc_filter_kind_find(type) != NULL;
        return mc_error_set(error, MC_EINVAL, "", known ? "%.*s cannot be set for a route" : "names no filter: %.*s",
                            MC_SLICE_ARG(type));
    }
    if (kind == NULL) {
        return MC_OK;
    }
    out->kind = kind;
    c->compile.own = NULL;
    for (uint32_t i = 0; i < c->count && c->compile.own == NULL; i++) {
        const mc_filter_config *own = &c->chain[i];
        c->compile.own = own->kind == kind && mc_slice_eq(own->name, c->name) ? own->config : NULL;
    }
    return kind->compile_route(&c->compile, any, &out->config);
}

static mc_status compile_entry(mc_route_filters_compile *c, const mc_value *any, entry *out) {
    mc_error *error = c->compile.error;
    bool is_optional = false;
    const mc_value *config;
    if (!mc_slice_eq(mc_any_type(any), MC_SLICE("envoy.config.route.v3.FilterConfig"))) {
        return compile_any(c, any, false, out);
    }
    MC_TRY(mc_value_read_bool(any, "disabled", &out->disabled, error));
    if (out->disabled) {
        return MC_OK;
    }
    MC_TRY(mc_value_read_bool(any, "is_optional", &is_optional, error));
    MC_TRY(mc_value_read_object(any, "config", &config, error));
    if (config == NULL) {
        return mc_error_set(error, MC_EINVAL, "config", "is required unless disabled");
    }
    if (mc_any_type(config).n == 0) { /* config: {} only enables */
        return MC_OK;
    }
    mc_status status = compile_any(c, config, is_optional, out);
    if (status == MC_EINVAL) {
        mc_error_under(error, "config");
    }
    return status;
}

static mc_status start_level(const mc_route_filters_compile *c, const mc_route_filters *outer, mc_route_filters **out) {
    const size_t size = sizeof **out + c->count * sizeof(mc_route_filter *);
    mc_route_filters *made = mc_arena_zalloc(c->compile.arena, size);
    if (made == NULL) {
        return MC_ENOMEM;
    }
    if (outer != NULL) {
        memcpy(made, outer, size);
    }
    made->count = c->count;
    *out = made;
    return MC_OK;
}

/* Every filter of the chain that goes by this name. A configuration of another kind says nothing but that it is enabled. */
static mc_status place(const mc_route_filters_compile *c, mc_slice name, const entry *what, mc_route_filters *level) {
    for (uint32_t i = 0; i < c->count; i++) {
        if (!mc_slice_eq(c->chain[i].name, name)) {
            continue;
        }
        mc_route_filter *filter = mc_arena_alloc(c->compile.arena, sizeof *filter);
        if (filter == NULL) {
            return MC_ENOMEM;
        }
        *filter = (mc_route_filter){.config = what->kind == c->chain[i].kind ? what->config : NULL,
                                    .disabled = what->disabled,
                                    .outer = level->items[i]};
        level->items[i] = filter;
    }
    return MC_OK;
}

const mc_route_filter *mc_route_filters_named(const mc_route_filters *routed, const mc_filter_config *config) {
    for (const mc_route_named_filter *at = routed->named; at != NULL; at = at->next) {
        if (mc_slice_eq(at->name, config->name) && (at->kind == NULL || at->kind == config->kind)) {
            return &at->said;
        }
    }
    return NULL;
}

/* For filters of clusters, which are not known here. */
static mc_status place_named(const mc_route_filters_compile *c, mc_slice name, const entry *what,
                             mc_route_filters *level) {
    if (what->kind != NULL && what->kind->in_tries == MC_TRY_NEVER) {
        return MC_OK;
    }
    mc_route_named_filter *named = mc_arena_alloc(c->compile.arena, sizeof *named);
    if (named == NULL) {
        return MC_ENOMEM;
    }
    *named = (mc_route_named_filter){
        .kind = what->kind, .said = {.config = what->config, .disabled = what->disabled}, .next = level->named};
    for (const mc_route_named_filter *at = level->named; at != NULL && named->said.outer == NULL; at = at->next) {
        named->said.outer = mc_slice_eq(at->name, name) ? &at->said : NULL;
    }
    level->named = named;
    return mc_arena_dup(c->compile.arena, name, &named->name);
}

mc_status mc_route_filters_compile_level(void *ctx, const mc_value *configs, const mc_route_filters *outer,
                                         const mc_route_filters **out, mc_error *error) {
    mc_route_filters_compile *c = ctx;
    mc_route_filters *level;
    c->compile.error = error;
    c->compile.is_route = true;
    MC_TRY(start_level(c, outer, &level));
    for (size_t i = 0; i < configs->count; i++) {
        entry what = {0};
        c->name = configs->names[i];
        mc_status status = compile_entry(c, &configs->items[i], &what);
        if (status == MC_EINVAL) {
            mc_error_under(error, "[\"%.*s\"]", MC_SLICE_ARG(configs->names[i]));
        }
        MC_TRY(status);
        MC_TRY(place(c, configs->names[i], &what, level));
        MC_TRY(place_named(c, configs->names[i], &what, level));
    }
    *out = level;
    return MC_OK;
}
