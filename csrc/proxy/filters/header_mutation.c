/* header_mutation: headers, query parameters and trailers changed one mutation after the other. The filter's own mutations come
 * first, then those of every level of the route table: the least specific last, or the most specific where the filter says so. */
#include "proxy/filters/kind.h"
#include "proxy/filters/query.h"
#include "route/mutation_list.h"

typedef struct query_mutation {
    mc_slice name;
    mc_append_action action;
    bool remove;
    const mc_format *format;
} query_mutation;

typedef struct mutations {
    mc_mutation_list request, response, request_trailers, response_trailers;
    query_mutation *query;
    uint32_t query_count;
} mutations;

typedef struct config {
    mutations mutations;
    bool most_specific_wins;
} config;

/* --- changing ------------------------------------------------------------------------------------------------------------ */

static mc_status apply(const mc_mutation_list *list, mc_filter *filter, mc_headers *headers) {
    const mc_stream_info *info = NULL;
    if (list->formats && (info = mc_filter_info(filter)) == NULL) {
        return MC_ENOMEM;
    }
    return mc_mutation_list_apply(list, headers, info);
}

static mc_status change_parameter(const query_mutation *mutation, mc_filter *filter, mc_query *query) {
    mc_slice value;
    if (mutation->remove) {
        mc_query_remove(query, mutation->name);
        return MC_OK;
    }
    const mc_stream_info *info = mc_filter_info(filter);
    if (info == NULL) {
        return MC_ENOMEM;
    }
    MC_TRY(mc_format_run_arena(mutation->format, info, mc_filter_arena(filter), &value));
    MC_TRY(mc_query_encode(value, mc_filter_arena(filter), &value));
    const bool exists = mc_query_has(query, mutation->name);
    switch (mutation->action) {
    case MC_ADD_IF_ABSENT: return exists ? MC_OK : mc_query_add(query, mutation->name, value);
    case MC_OVERWRITE_IF_EXISTS: return exists ? mc_query_set(query, mutation->name, value) : MC_OK;
    case MC_OVERWRITE_OR_ADD: return mc_query_set(query, mutation->name, value);
    case MC_APPEND_OR_ADD: break;
    }
    return mc_query_add(query, mutation->name, value);
}

static mc_status change_query(const mutations *mutations, mc_filter *filter, mc_headers *headers) {
    mc_slice path = mc_headers_get_known(headers, MC_H_PATH);
    mc_query query;
    if (mutations->query_count == 0 || path.p == NULL) {
        return MC_OK;
    }
    MC_TRY(mc_query_parse(&query, path, mc_filter_arena(filter)));
    for (uint32_t i = 0; i < mutations->query_count; i++) {
        MC_TRY(change_parameter(&mutations->query[i], filter, &query));
    }
    MC_TRY(mc_query_write(&query, path, &path));
    mc_headers_doubt(headers, path);
    return mc_headers_set_known_ref(headers, MC_H_PATH, path);
}

typedef enum part { REQUEST, RESPONSE, REQUEST_TRAILERS, RESPONSE_TRAILERS } part;

static mc_status change(const mutations *mutations, part part, mc_filter *filter, mc_headers *headers) {
    switch (part) {
    case REQUEST: MC_TRY(apply(&mutations->request, filter, headers)); return change_query(mutations, filter, headers);
    case RESPONSE: return apply(&mutations->response, filter, headers);
    case REQUEST_TRAILERS: return apply(&mutations->request_trailers, filter, headers);
    case RESPONSE_TRAILERS: return apply(&mutations->response_trailers, filter, headers);
    }
    return MC_OK;
}

/* From the least specific place to the most. */
static mc_status change_outer_first(const mc_route_filter *at, part part, mc_filter *filter, mc_headers *headers) {
    if (at == NULL) {
        return MC_OK;
    }
    MC_TRY(change_outer_first(at->outer, part, filter, headers));
    return at->config == NULL ? MC_OK : change(at->config, part, filter, headers);
}

static mc_filter_status change_all(mc_filter *filter, part part, mc_headers *headers) {
    const config *config = mc_filter_get_config(filter);
    mc_status status = change(&config->mutations, part, filter, headers);
    const mc_route_filter *at = mc_filter_route(filter);
    if (config->most_specific_wins && status == MC_OK) {
        status = change_outer_first(at, part, filter, headers);
    } else {
        for (; at != NULL && status == MC_OK; at = at->outer) {
            status = at->config == NULL ? MC_OK : change(at->config, part, filter, headers);
        }
    }
    return status == MC_OK ? MC_FILTER_CONTINUE : mc_filter_out_of_memory(filter);
}

static mc_filter_status decode_headers(mc_filter *filter, mc_headers *headers, bool end_stream) {
    return change_all(filter, REQUEST, headers);
}
static mc_filter_status decode_trailers(mc_filter *filter, mc_headers *trailers) {
    return change_all(filter, REQUEST_TRAILERS, trailers);
}
static mc_filter_status encode_headers(mc_filter *filter, mc_headers *headers, bool end_stream) {
    return change_all(filter, RESPONSE, headers);
}
static mc_filter_status encode_trailers(mc_filter *filter, mc_headers *trailers) {
    return change_all(filter, RESPONSE_TRAILERS, trailers);
}

/* --- compiling ------------------------------------------------------------------------------------------------------------ */

static mc_status read_list(mc_filter_compile *c, const mc_value *value, const char *field, mc_headers_kind kind,
                           mc_mutation_list *out) {
    return mc_mutation_list_compile(c->arena, value, field, kind, out, c->error);
}

static mc_status read_query_value(mc_filter_compile *c, const mc_value *entry, query_mutation *out) {
    const mc_value *given = mc_value_get(entry, "value");
    MC_TRY(mc_read_name(c->arena, entry, "key", &out->name, c->error));
    if (given == NULL || given->kind != MC_STRING) {
        return mc_error_set(c->error, MC_EINVAL, "value", "must be a string");
    }
    return mc_error_in(mc_format_compile_text(c->arena, given->string, true, &out->format, c->error), c->error,
                       "value");
}

static mc_status read_query_mutation(mc_filter_compile *c, const mc_value *value, query_mutation *out) {
    const mc_value *append, *record;
    mc_slice removed = MC_SLICE_NONE;
    uint64_t action = MC_APPEND_OR_ADD;
    MC_TRY(mc_value_read_object(value, "append", &append, c->error));
    out->remove = append == NULL;
    if (out->remove) {
        return mc_read_name(c->arena, value, "remove", &out->name, c->error);
    }
    MC_TRY(mc_error_in(mc_read_enum(append, "action", mc_append_actions, &action, c->error), c->error, "append"));
    out->action = (mc_append_action)action;
    MC_TRY(mc_value_read_string(value, "remove", &removed, c->error));
    if (removed.n > 0) {
        return mc_error_set(c->error, MC_EINVAL, "remove", "cannot stand beside append");
    }
    MC_TRY(mc_value_read_object(append, "record", &record, c->error));
    if (record == NULL) {
        return mc_error_set(c->error, MC_EINVAL, "append.record", "is required");
    }
    return mc_error_in(read_query_value(c, record, out), c->error, "append.record");
}

static mc_status read_query(mc_filter_compile *c, const mc_value *value, mutations *out) {
    const mc_value *list;
    size_t count;
    MC_TRY(mc_value_read_list(value, "query_parameter_mutations", &list, &count, c->error));
    out->query = mc_arena_zalloc(c->arena, count * sizeof *out->query);
    if (out->query == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(read_query_mutation(c, &list[i], &out->query[i]), c->error, "query_parameter_mutations[%zu]",
                           i));
    }
    out->query_count = (uint32_t)count;
    return MC_OK;
}

static mc_status read_mutations(mc_filter_compile *c, const mc_value *value, mutations *out) {
    const mc_value *message;
    MC_TRY(mc_value_read_object(value, "mutations", &message, c->error));
    const mc_headers_kind request = MC_HEADERS_OF_REQUEST, response = MC_HEADERS_OF_RESPONSE;
    mc_status status = read_list(c, message, "request_mutations", request, &out->request);
    status = status == MC_OK ? read_list(c, message, "response_mutations", response, &out->response) : status;
    status =
        status == MC_OK ? read_list(c, message, "request_trailers_mutations", request, &out->request_trailers) : status;
    status = status == MC_OK ? read_list(c, message, "response_trailers_mutations", response, &out->response_trailers)
                             : status;
    return mc_error_in(status == MC_OK ? read_query(c, message, out) : status, c->error, "mutations");
}

static mc_status compile(mc_filter_compile *c, const mc_value *value, void **out) {
    config *config = mc_arena_zalloc(c->arena, sizeof *config);
    *out = config;
    if (config == NULL) {
        return MC_ENOMEM;
    }
    MC_TRY(mc_value_read_bool(value, "most_specific_header_mutations_wins", &config->most_specific_wins, c->error));
    return read_mutations(c, value, &config->mutations);
}

static mc_status compile_route(mc_filter_compile *c, const mc_value *value, void **out) {
    mutations *mutations = mc_arena_zalloc(c->arena, sizeof *mutations);
    *out = mutations;
    return mutations == NULL ? MC_ENOMEM : read_mutations(c, value, mutations);
}

static const mc_filter_type filter_type = {
    .name = "envoy.filters.http.header_mutation",
    .decode_headers = decode_headers,
    .decode_trailers = decode_trailers,
    .encode_headers = encode_headers,
    .encode_trailers = encode_trailers,
};

const mc_filter_kind mc_filter_kind_header_mutation = {
    .type = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation",
    .route_type = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute",
    .filter = &filter_type,
    .in_tries = MC_TRY_CHAIN,
    .copies = true,
    .compile = compile,
    .compile_route = compile_route,
};
