/* Request hash of a route (HA-5, RT-45, RT-46). */
#include <stdlib.h>

#include "base/hash.h"
#include "base/value_edit.h"
#include "http/set_cookie.h"
#include "route/compile.h"

typedef enum hash_kind { HASH_HEADER, HASH_COOKIE, HASH_SOURCE_IP, HASH_QUERY, HASH_FILTER_STATE } hash_kind;

struct mc_hash_policy {
    hash_kind kind;
    bool terminal;
    mc_slice name;           /* header (lower-case), query parameter or key of the filter state */
    mc_substitution rewrite; /* HASH_HEADER: of each value */
    mc_set_cookie cookie;    /* HASH_COOKIE: with a ttl, one is made when the request has none */
};

static mc_status compile_cookie(mc_compile *c, const mc_value *cookie, mc_hash_policy *policy) {
    return mc_set_cookie_read(c->arena, cookie, &policy->cookie, c->error);
}

static mc_status compile_header(mc_compile *c, const mc_value *header, mc_hash_policy *policy) {
    static const char *const known[] = {"header_name", "regex_rewrite", NULL};
    mc_slice name;
    MC_TRY(mc_refuse_unknown(header, known, c->error));
    MC_TRY(mc_read_name(c->arena, header, "header_name", &name, c->error));
    MC_TRY(mc_substitution_read(c->arena, header, "regex_rewrite", &policy->rewrite, c->error));
    return mc_dup_lower(c->arena, name, &policy->name);
}

static mc_status compile_query(mc_compile *c, const mc_value *query, mc_hash_policy *policy) {
    return mc_read_name(c->arena, query, "name", &policy->name, c->error);
}

static mc_status compile_filter_state(mc_compile *c, const mc_value *state, mc_hash_policy *policy) {
    if (c->table != NULL) { /* a cluster's policies belong to no table */
        c->table->reads_info = true;
    }
    return mc_read_name(c->arena, state, "key", &policy->name, c->error);
}

/* source_ip false is a policy that yields nothing; it keeps its place as a query parameter nobody can send. */
static mc_status compile_connection(mc_compile *c, const mc_value *properties, mc_hash_policy *policy) {
    bool source_ip = false;
    MC_TRY(mc_value_read_bool(properties, "source_ip", &source_ip, c->error));
    policy->kind = source_ip ? HASH_SOURCE_IP : HASH_QUERY;
    policy->name = source_ip ? MC_SLICE_NONE : MC_SLICE("&");
    return MC_OK;
}

static const struct {
    const char *field;
    hash_kind kind;
    mc_status (*compile)(mc_compile *c, const mc_value *value, mc_hash_policy *policy);
} specifiers[] = {
    {"header", HASH_HEADER, compile_header},
    {"cookie", HASH_COOKIE, compile_cookie},
    {"connection_properties", HASH_SOURCE_IP, compile_connection},
    {"query_parameter", HASH_QUERY, compile_query},
    {"filter_state", HASH_FILTER_STATE, compile_filter_state},
};

static mc_status compile_policy(mc_compile *c, const mc_value *value, mc_hash_policy *out) {
    static const char *const known[] = {
        "header", "cookie", "connection_properties", "query_parameter", "filter_state", "terminal", NULL};
    MC_TRY(mc_refuse_unknown(value, known, c->error));
    MC_TRY(mc_value_read_bool(value, "terminal", &out->terminal, c->error));
    for (size_t i = 0; i < sizeof specifiers / sizeof specifiers[0]; i++) {
        const mc_value *sub;
        MC_TRY(mc_value_read_object(value, specifiers[i].field, &sub, c->error));
        if (sub != NULL) {
            out->kind = specifiers[i].kind;
            return mc_error_in(specifiers[i].compile(c, sub, out), c->error, "%s", specifiers[i].field);
        }
    }
    return mc_error_set(c->error, MC_EINVAL, "",
                        "must have one of header, cookie, connection_properties, query_parameter, filter_state");
}

mc_status mc_compile_hash_policies(mc_compile *c, const mc_value *route_action, mc_route *out) {
    const mc_value *items;
    size_t count;
    MC_TRY(mc_value_read_list(route_action, "hash_policy", &items, &count, c->error));
    if (count == 0) {
        return MC_OK;
    }
    mc_hash_policy *policies = mc_arena_zalloc(c->arena, count * sizeof *policies);
    if (policies == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(compile_policy(c, &items[i], &policies[i]), c->error, "hash_policy[%zu]", i));
    }
    out->hash_policies = policies;
    out->hash_policy_count = (uint32_t)count;
    return MC_OK;
}

mc_status mc_hash_policies_compile(const mc_value *list, mc_arena *arena, mc_hash_policies *out, mc_error *error) {
    const mc_slice name = MC_SLICE("hash_policy");
    const mc_value action = {.kind = MC_OBJECT, .items = list, .names = &name, .count = 1};
    mc_compile c = {.arena = arena, .error = error};
    mc_route route = {.hash_policy_count = 0};
    MC_TRY(mc_compile_hash_policies(&c, &action, &route));
    *out = (mc_hash_policies){route.hash_policies, route.hash_policy_count, false};
    for (uint32_t i = 0; i < out->count; i++) {
        out->reads_info = out->reads_info || out->items[i].kind == HASH_FILTER_STATE;
    }
    return MC_OK;
}

/* --- hashing --- */

static uint64_t hash_text(mc_slice text) { return mc_xxh64(text.p, text.n, 0); }

static int compare_slices(const void *a, const void *b) {
    const mc_slice *x = a, *y = b;
    return mc_slice_cmp(*x, *y);
}

static mc_status rewritten(const mc_hash_policy *policy, const mc_route_request *request, mc_slice value,
                           mc_slice *out) {
    *out = value;
    return policy->rewrite.regex == NULL ? MC_OK : mc_substitution_apply(&policy->rewrite, value, request->arena, out);
}

static mc_status hash_header(const mc_hash_policy *policy, const mc_route_request *request, bool *found,
                             uint64_t *hash) {
    const mc_header *header;
    size_t count = 0;
    for (uint32_t at = 0; mc_headers_next(request->headers, policy->name, &at) != NULL;) {
        count++;
    }
    *found = count > 0;
    *hash = 0;
    if (count <= 1) {
        mc_slice value = MC_SLICE_NONE;
        if (count == 1) {
            MC_TRY(rewritten(policy, request, mc_headers_get(request->headers, policy->name), &value));
            *hash = hash_text(value);
        }
        return MC_OK;
    }
    mc_slice *values = mc_arena_alloc(request->arena, count * sizeof *values);
    if (values == NULL) {
        return MC_ENOMEM;
    }
    count = 0;
    for (uint32_t at = 0; (header = mc_headers_next(request->headers, policy->name, &at)) != NULL;) {
        MC_TRY(rewritten(policy, request, header->value, &values[count++]));
    }
    qsort(values, count, sizeof *values, compare_slices);
    *hash = mc_xxh64_chain(values, count, 0);
    return MC_OK;
}

/* A new cookie: its value out of the connection's two addresses, so that a client without cookies stays with
 * its host. */
static mc_status make_cookie(const mc_hash_policy *policy, const mc_route_request *request, mc_slice *value,
                             mc_slice *cookie) {
    char addresses[2 * MC_ADDRESS_TEXT], digits[17];
    size_t n = request->remote == NULL ? 0 : mc_address_text(request->remote, addresses);
    n += request->local == NULL ? 0 : mc_address_text(request->local, addresses + n);
    snprintf(digits, sizeof digits, "%016llx", (unsigned long long)mc_xxh64(addresses, n, 0));
    MC_TRY(mc_arena_dup(request->arena, mc_slice_cstr(digits), value));
    return mc_set_cookie_write(&policy->cookie, *value, request->arena, cookie);
}

static mc_status hash_one(const mc_hash_policy *policy, const mc_route_request *request, bool *found, uint64_t *hash,
                          mc_slice *cookie) {
    mc_slice value = MC_SLICE_NONE;
    char text[MC_ADDRESS_TEXT];
    *found = false;
    switch (policy->kind) {
    case HASH_HEADER: return hash_header(policy, request, found, hash);
    case HASH_COOKIE:
        mc_cookie_get(request->headers, policy->cookie.name, &value);
        if (value.n == 0 && policy->cookie.has_ttl) {
            MC_TRY(make_cookie(policy, request, &value, cookie));
        }
        *found = value.n > 0;
        break;
    case HASH_FILTER_STATE: {
        const mc_value *state = request->info == NULL ? NULL : mc_value_find(request->info->filter_state, policy->name);
        *found = state != NULL && state->kind == MC_STRING;
        value = *found ? state->string : MC_SLICE_NONE;
        break;
    }
    case HASH_SOURCE_IP:
        *found = request->remote != NULL && request->remote->length > 0;
        value = *found ? mc_slice_of(text, mc_address_ip(request->remote, text)) : MC_SLICE_NONE;
        break;
    case HASH_QUERY: {
        mc_slice path = mc_headers_get_known(request->headers, MC_H_PATH);
        *found = mc_query_get(mc_slice_from(path, mc_slice_find(path, '?') + 1), policy->name, &value);
        break;
    }
    }
    *hash = hash_text(value);
    return MC_OK;
}

mc_status mc_route_hash(const mc_route *route, const mc_route_request *request, mc_request_hash *out) {
    return mc_hash_policies_run((mc_hash_policies){route->hash_policies, route->hash_policy_count, false}, request,
                                out);
}

mc_status mc_hash_policies_run(mc_hash_policies policies, const mc_route_request *request, mc_request_hash *out) {
    *out = (mc_request_hash){.has_hash = false};
    for (uint32_t i = 0; i < policies.count; i++) {
        const mc_hash_policy *policy = &policies.items[i];
        bool found;
        uint64_t hash;
        mc_slice cookie = MC_SLICE_NONE;
        MC_TRY(hash_one(policy, request, &found, &hash, &cookie));
        if (cookie.n > 0) {
            if (out->set_cookies == NULL) {
                out->set_cookies = mc_arena_alloc(request->arena, policies.count * sizeof *out->set_cookies);
            }
            if (out->set_cookies == NULL) {
                return MC_ENOMEM;
            }
            out->set_cookies[out->set_cookie_count++] = cookie;
        }
        if (found) {
            out->hash = (out->has_hash ? mc_rotl64(out->hash, 1) : 0) ^ hash;
            out->has_hash = true;
        }
        if (policy->terminal && out->has_hash) {
            break;
        }
    }
    return MC_OK;
}
