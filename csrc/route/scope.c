#include "route/scope.h"

#include "base/alloc.h"
#include "base/read.h"

/* How one fragment of the key comes out of a header: its value as a whole, one of its elements by place, or the value of a key
 * among elements. */
typedef struct fragment {
    mc_slice header;            /* lower-case */
    mc_slice element_separator; /* empty: the value is one element */
    bool by_key;
    uint32_t index;
    mc_slice separator, key; /* by_key */
} fragment;

struct mc_scopes {
    mc_arena arena;
    fragment *fragments;
    size_t fragment_count;
    mc_scope *items;
    uint32_t count;
    mc_map by_key;  /* key -> place + 1 */
    mc_map by_name; /* -> mc_scope */
};

/* --- compiling --- */

static mc_status read_element(mc_arena *arena, const mc_value *element, fragment *out, mc_error *error) {
    out->by_key = true;
    MC_TRY(mc_read_name(arena, element, "separator", &out->separator, error));
    return mc_read_name(arena, element, "key", &out->key, error);
}

static mc_status read_extractor(mc_arena *arena, const mc_value *extractor, fragment *out, mc_error *error) {
    const mc_value *element;
    mc_slice name;
    MC_TRY(mc_read_name(arena, extractor, "name", &name, error));
    MC_TRY(mc_dup_lower(arena, name, &out->header));
    MC_TRY(mc_read_text(arena, extractor, "element_separator", &out->element_separator, error));
    MC_TRY(mc_value_read_object(extractor, "element", &element, error));
    if (element != NULL) {
        return mc_error_in(read_element(arena, element, out, error), error, "element");
    }
    if (mc_value_get(extractor, "index") == NULL) {
        return mc_error_set(error, MC_EINVAL, "", "must have one of index, element");
    }
    MC_TRY(mc_value_read_u32(extractor, "index", &out->index, error));
    if (out->element_separator.n == 0 && out->index != 0) {
        return mc_error_set(error, MC_EINVAL, "index", "must be 0 without element_separator");
    }
    return MC_OK;
}

static mc_status compile_builder(mc_scopes *scopes, const mc_value *builder, mc_error *error) {
    const mc_value *items, *extractor;
    MC_TRY(mc_value_read_list(builder, "fragments", &items, &scopes->fragment_count, error));
    if (scopes->fragment_count == 0) {
        return mc_error_set(error, MC_EINVAL, "fragments", "must have at least one entry");
    }
    scopes->fragments = mc_arena_zalloc(&scopes->arena, scopes->fragment_count * sizeof *scopes->fragments);
    if (scopes->fragments == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < scopes->fragment_count; i++) {
        mc_status status = mc_value_read_object(&items[i], "header_value_extractor", &extractor, error);
        if (status == MC_OK) {
            status = extractor == NULL
                         ? mc_error_set(error, MC_EINVAL, "header_value_extractor", "is required")
                         : mc_error_in(read_extractor(&scopes->arena, extractor, &scopes->fragments[i], error), error,
                                       "header_value_extractor");
        }
        MC_TRY(mc_error_in(status, error, "fragments[%zu]", i));
    }
    return MC_OK;
}

/* Fragments as one text that no others make: each with its length in front. */
static mc_status join_key(const mc_slice *fragments, size_t count, mc_arena *arena, mc_slice *out) {
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        size += sizeof(size_t) + fragments[i].n;
    }
    char *key = mc_arena_bytes(arena, size), *at = key;
    if (key == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        memcpy(at, &fragments[i].n, sizeof(size_t));
        at += sizeof(size_t);
        if (fragments[i].n > 0) {
            memcpy(at, fragments[i].p, fragments[i].n);
        }
        at += fragments[i].n;
    }
    *out = mc_slice_of(key, size);
    return MC_OK;
}

static mc_status read_key(mc_scopes *scopes, const mc_value *value, mc_slice *out, mc_error *error) {
    const mc_value *key, *items;
    size_t count;
    MC_TRY(mc_value_read_object(value, "key", &key, error));
    MC_TRY(mc_error_in(mc_value_read_list(key, "fragments", &items, &count, error), error, "key"));
    if (count == 0) {
        return mc_error_set(error, MC_EINVAL, "key.fragments", "must have at least one entry");
    }
    mc_slice *texts = mc_arena_zalloc(&scopes->arena, count * sizeof *texts);
    if (texts == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(mc_value_read_string(&items[i], "string_key", &texts[i], error), error, "key.fragments[%zu]",
                           i));
    }
    return join_key(texts, count, &scopes->arena, out);
}

static mc_status compile_scope(mc_scopes *scopes, const mc_value *value, uint32_t place, mc_error *error) {
    mc_scope *scope = &scopes->items[place];
    mc_slice key;
    MC_TRY(mc_read_name(&scopes->arena, value, "name", &scope->name, error));
    if (mc_map_get(&scopes->by_name, scope->name) != NULL) {
        return mc_error_set(error, MC_EINVAL, "name", "%.*s is there already", MC_SLICE_ARG(scope->name));
    }
    MC_TRY(mc_map_put(&scopes->by_name, scope->name, scope));
    MC_TRY(mc_read_text(&scopes->arena, value, "route_configuration_name", &scope->route_configuration_name, error));
    MC_TRY(mc_value_read_object(value, "route_configuration", &scope->route_configuration, error));
    MC_TRY(mc_value_read_bool(value, "on_demand", &scope->on_demand, error));
    if ((scope->route_configuration != NULL) == (scope->route_configuration_name.n > 0)) {
        return mc_error_set(error, MC_EINVAL, "", "must have either route_configuration_name or route_configuration");
    }
    MC_TRY(read_key(scopes, value, &key, error));
    uintptr_t other = (uintptr_t)mc_map_get(&scopes->by_key, key);
    if (other != 0) {
        return mc_error_set(error, MC_EINVAL, "key", "is that of scope %.*s already",
                            MC_SLICE_ARG(scopes->items[other - 1].name));
    }
    return mc_map_put(&scopes->by_key, key, (void *)(uintptr_t)(place + 1));
}

static mc_status compile_list(mc_scopes *scopes, const mc_value *list, mc_error *error) {
    const mc_value *items;
    size_t count;
    MC_TRY(mc_value_read_list(list, "scoped_route_configurations", &items, &count, error));
    scopes->items = mc_arena_zalloc(&scopes->arena, count * sizeof *scopes->items);
    if (scopes->items == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(compile_scope(scopes, &items[i], (uint32_t)i, error), error,
                           "scoped_route_configurations[%zu]", i));
    }
    scopes->count = (uint32_t)count;
    return MC_OK;
}

static mc_status compile_all(mc_scopes *scopes, const mc_value *config, mc_error *error) {
    const mc_value *builder, *list;
    MC_TRY(mc_value_read_object(config, "scope_key_builder", &builder, error));
    MC_TRY(mc_error_in(compile_builder(scopes, builder, error), error, "scope_key_builder"));
    MC_TRY(mc_value_read_object(config, "scoped_route_configurations_list", &list, error));
    if (list == NULL) {
        return mc_error_set(error, MC_EINVAL, "scoped_route_configurations_list", "is required");
    }
    return mc_error_in(compile_list(scopes, list, error), error, "scoped_route_configurations_list");
}

mc_status mc_scopes_compile(const mc_value *config, mc_scopes **out, mc_error *error) {
    mc_scopes *scopes = mc_calloc(1, sizeof *scopes);
    if (scopes == NULL) {
        return MC_ENOMEM;
    }
    mc_arena_init(&scopes->arena, NULL);
    mc_map_init(&scopes->by_key);
    mc_map_init(&scopes->by_name);
    mc_status status = compile_all(scopes, config, error);
    if (status != MC_OK) {
        mc_scopes_free(scopes);
        return status;
    }
    *out = scopes;
    return MC_OK;
}

void mc_scopes_free(mc_scopes *scopes) {
    if (scopes != NULL) {
        mc_map_fini(&scopes->by_key);
        mc_map_fini(&scopes->by_name);
        mc_arena_fini(&scopes->arena);
        mc_free(scopes);
    }
}

uint32_t mc_scopes_count(const mc_scopes *scopes) { return scopes->count; }
const mc_scope *mc_scopes_at(const mc_scopes *scopes, uint32_t i) { return &scopes->items[i]; }

/* --- finding --- */

/* The next element of *rest; the last one has rest->p == NULL behind it. */
static mc_slice next_element(mc_slice *rest, mc_slice separator) {
    size_t at = separator.n == 0 ? SIZE_MAX : mc_slice_search(*rest, separator);
    mc_slice element = at == SIZE_MAX ? *rest : mc_slice_until(*rest, at);
    *rest = at == SIZE_MAX ? MC_SLICE_NONE : mc_slice_of(rest->p + at + separator.n, rest->n - at - separator.n);
    return element;
}

static bool extract(const fragment *fragment, const mc_headers *headers, mc_slice *out) {
    mc_slice rest = mc_headers_get(headers, fragment->header);
    for (uint32_t i = 0; rest.p != NULL; i++) {
        mc_slice element = next_element(&rest, fragment->element_separator);
        if (!fragment->by_key) {
            if (i == fragment->index) {
                *out = element;
                return true;
            }
            continue;
        }
        size_t at = mc_slice_search(element, fragment->separator);
        if (mc_slice_eq(mc_slice_until(element, at), fragment->key)) { /* a key alone has an empty value */
            *out = at == SIZE_MAX ? MC_SLICE("") : mc_slice_from(element, at + fragment->separator.n);
            return true;
        }
    }
    return false;
}

mc_status mc_scopes_find(const mc_scopes *scopes, const mc_headers *headers, mc_arena *arena, uint32_t *out) {
    mc_slice key;
    *out = UINT32_MAX;
    mc_slice *fragments = mc_arena_alloc(arena, scopes->fragment_count * sizeof *fragments);
    if (fragments == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < scopes->fragment_count; i++) {
        if (!extract(&scopes->fragments[i], headers, &fragments[i])) {
            return MC_OK;
        }
    }
    MC_TRY(join_key(fragments, scopes->fragment_count, arena, &key));
    uintptr_t place = (uintptr_t)mc_map_get(&scopes->by_key, key);
    *out = place == 0 ? UINT32_MAX : (uint32_t)(place - 1);
    return MC_OK;
}
