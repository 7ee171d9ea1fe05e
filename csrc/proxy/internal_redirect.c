/* Internal redirects (RT-56): a redirect that an upstream answers is followed here, by starting the request anew. */
#include "http/uri.h"
#include "proxy/router_internal.h"

/* One redirect made from a route to another (predicate previous_routes). */
typedef struct hop {
    mc_slice from, to;
    const struct hop *next;
} hop;

/* What a stream remembers of its redirects; in its arena. */
struct mc_redirects {
    uint32_t count;
    const hop *hops;
};

typedef enum outcome { FOLLOWED, REFUSED, FAILED } outcome;

#define REFUSE(r, name) (MC_HCM_COUNT((r)->stream, passthrough_internal_redirect_##name), REFUSED)

static bool is_http(mc_slice scheme) { return mc_slice_ieq(scheme, MC_SLICE("http")); }

/* The scheme of the request as it came: what is not encrypted is http whatever it says. */
static bool came_by_http(const mc_stream *stream) {
    return is_http(mc_headers_get_known(&stream->request, MC_H_SCHEME)) ||
           !mc_downstream_conn(stream->downstream)->transport->encrypted;
}

/* --- the headers of the next request -------------------------------------------------------------------------------- */

/* Replaced by what the response says, or removed when it says nothing. */
static mc_status copy_header(mc_headers *request, const mc_headers *response, mc_slice name) {
    uint32_t at = 0;
    const mc_header *header;
    mc_headers_remove(request, name);
    while ((header = mc_headers_next(response, name, &at)) != NULL) {
        mc_status status = mc_headers_add(request, header->name, header->value);
        if (status != MC_OK) {
            return status;
        }
    }
    return MC_OK;
}

static mc_status set_target(mc_stream *stream, const mc_uri_absolute *target) {
    mc_headers *request = &stream->request;
    mc_slice path = mc_slice_until(target->path, mc_slice_find(target->path, '#'));
    const mc_slice parts[] = {path.n > 0 && path.p[0] == '/' ? MC_SLICE_NONE : MC_SLICE("/"), path};
    mc_status status = mc_arena_concat(&stream->arena, parts, 2, &path);
    if (status == MC_OK) {
        status = mc_headers_set_known_ref(request, MC_H_PATH, path);
    }
    if (status == MC_OK) {
        status = mc_headers_set_known(request, MC_H_SCHEME, target->scheme);
    }
    return status == MC_OK ? mc_headers_set_known(request, MC_H_AUTHORITY, target->authority) : status;
}

static mc_status prepare_headers(mc_router *r, const mc_headers *response, const mc_uri_absolute *target) {
    const mc_internal_redirect_policy *policy = r->stream->match.route->redirects;
    for (uint32_t i = 0; i < policy->header_to_copy_count; i++) {
        mc_status status = copy_header(&r->stream->request, response, policy->headers_to_copy[i]);
        if (status != MC_OK) {
            return status;
        }
    }
    return set_target(r->stream, target);
}

/* RFC 9110 section 15.4.4: 303 asks for a GET, whatever was asked before. */
static mc_status become_get(mc_router *r) {
    mc_headers *request = &r->stream->request;
    mc_slice method = mc_headers_get_known(request, MC_H_METHOD);
    if (mc_slice_eq(method, MC_SLICE("GET")) || mc_slice_eq(method, MC_SLICE("HEAD"))) {
        return MC_OK;
    }
    mc_headers_remove_known(request, MC_H_CONTENT_LENGTH);
    mc_net_retire(r->stream->proxy->net, &r->body);
    return mc_headers_set_known_ref(request, MC_H_METHOD, MC_SLICE("GET"));
}

/* --- may it be followed? ---------------------------------------------------------------------------------------------- */

static bool listed(const mc_redirect_predicate *predicate, mc_slice route) {
    for (uint32_t i = 0; i < predicate->route_count; i++) {
        if (mc_slice_eq(predicate->routes[i], route)) {
            return true;
        }
    }
    return false;
}

/* Each target once from a route; the visit is noted also when another predicate refuses it. */
static bool first_visit(mc_stream *stream, mc_slice from, mc_slice to) {
    for (const hop *at = stream->redirects->hops; at != NULL; at = at->next) {
        if (mc_slice_eq(at->from, from) && mc_slice_eq(at->to, to)) {
            return false;
        }
    }
    hop *visit = mc_arena_zalloc(&stream->arena, sizeof *visit);
    if (visit == NULL) {
        return false;
    }
    *visit = (hop){from, to, stream->redirects->hops};
    stream->redirects->hops = visit;
    return true;
}

static bool accepted(mc_stream *stream, const mc_route *from, bool http, bool target_http) {
    const mc_slice to = stream->match.route == NULL ? MC_SLICE_NONE : stream->match.route->name;
    for (uint32_t i = 0; i < from->redirects->predicate_count; i++) {
        const mc_redirect_predicate *predicate = &from->redirects->predicates[i];
        const bool holds = predicate->kind == MC_REDIRECT_ALLOW_LISTED_ROUTES ? listed(predicate, to)
                           : predicate->kind == MC_REDIRECT_PREVIOUS_ROUTES   ? first_visit(stream, from->name, to)
                                                                              : !http || target_http;
        if (!holds) {
            return false;
        }
    }
    return true;
}

/* Tries the changed headers; whoever calls restores them unless FOLLOWED. */
static outcome change(mc_router *r, mc_try *t, const mc_uri_absolute *target, mc_slice original_url) {
    mc_stream *stream = r->stream;
    const mc_route *from = stream->match.route;
    const bool http = came_by_http(stream), target_http = is_http(target->scheme);
    if (prepare_headers(r, &t->headers, target) != MC_OK) {
        return FAILED;
    }
    if (mc_stream_match_route(stream) != MC_OK) {
        return FAILED;
    }
    if (stream->match.route == NULL && !stream->match.tls_redirect) {
        return REFUSE(r, no_route);
    }
    if (!accepted(stream, from, http, target_http)) {
        return REFUSE(r, predicate);
    }
    if ((t->head.status == 303 && become_get(r) != MC_OK) ||
        mc_headers_set_known_ref(&stream->request, MC_H_X_ENVOY_ORIGINAL_URL, original_url) != MC_OK) {
        return FAILED;
    }
    stream->redirects->count++;
    return FOLLOWED;
}

static outcome follow(mc_router *r, mc_try *t, mc_slice location) {
    mc_stream *stream = r->stream;
    const mc_internal_redirect_policy *policy = stream->match.route->redirects;
    mc_uri_absolute target;
    if (!mc_headers_has(&stream->request, MC_H_PATH)) {
        return REFUSED;
    }
    if (location.n == 0 || mc_uri_parse_absolute(location, &target) != MC_OK) {
        return REFUSE(r, bad_location);
    }
    if (!policy->allow_cross_scheme && came_by_http(stream) != is_http(target.scheme)) {
        return REFUSE(r, unsafe_scheme);
    }
    if (stream->redirects == NULL &&
        (stream->redirects = mc_arena_zalloc(&stream->arena, sizeof *stream->redirects)) == NULL) {
        return FAILED;
    }
    if (stream->redirects->count >= policy->max_internal_redirects) {
        return REFUSE(r, too_many_redirects);
    }
    mc_slice original;
    const mc_slice parts[] = {came_by_http(stream) ? MC_SLICE("http://") : MC_SLICE("https://"),
                              mc_headers_get_known(&stream->request, MC_H_AUTHORITY),
                              mc_headers_get_known(&stream->request, MC_H_PATH)};
    const mc_route_match match = stream->match;
    const mc_headers saved = stream->request;
    mc_header *items = mc_arena_alloc(&stream->arena, saved.count * sizeof *items);
    if (items == NULL || mc_arena_concat(&stream->arena, parts, 3, &original) != MC_OK) {
        return FAILED;
    }
    memcpy(items, saved.items, saved.count * sizeof *items);
    const outcome result = change(r, t, &target, original);
    if (result != FOLLOWED) {
        if (stream->match.route != match.route &&
            (r->looked_at = mc_arena_alloc(&stream->arena, sizeof match)) != NULL) {
            *r->looked_at = stream->match;
        }
        stream->request = saved;
        stream->request.items = items;
        stream->request.cap = saved.count;
        stream->match = match;
    }
    return result;
}

/* Where a leg of the request goes, for what tells of its last try. */
typedef struct place {
    mc_route_match match;
    mc_slice cluster, cluster_raw;
    const mc_value *cluster_metadata;
} place;

static place place_of(const mc_stream *stream) {
    place here = {.match = stream->match};
    if (stream->facts != NULL) {
        here.cluster = stream->facts->cluster;
        here.cluster_raw = stream->facts->cluster_raw;
        here.cluster_metadata = stream->facts->cluster_metadata;
    }
    return here;
}

static void go_to(mc_stream *stream, const place *there) {
    stream->match = there->match;
    if (stream->facts != NULL) {
        stream->facts->cluster = there->cluster;
        stream->facts->cluster_raw = there->cluster_raw;
        stream->facts->cluster_metadata = there->cluster_metadata;
    }
}

bool mc_router_follow_redirect(mc_router *r, mc_try *t, bool end_stream) {
    mc_stream *stream = r->stream;
    const uint16_t status = t->head.status;
    const place here = place_of(stream);
    if (status < 300 || status > 331 || !(stream->match.route->redirects->codes & (1u << (status - 300)))) {
        return false;
    }
    if (!r->request_end || r->overflowed || !mc_headers_has(&t->headers, MC_H_LOCATION) ||
        follow(r, t, mc_headers_get_known(&t->headers, MC_H_LOCATION)) != FOLLOWED) {
        MC_R_COUNT(r, upstream_internal_redirect_failed_total);
        return false;
    }
    MC_R_COUNT(r, upstream_internal_redirect_succeeded_total);
    mc_router_settle(r);
    stream->status = status;
    stream->details = "internal_redirect";
    stream->response = &t->headers;
    mc_stream_restart(stream, &r->body);
    const place there = place_of(stream);
    go_to(stream, &here);
    mc_try_give_up(t, end_stream);
    go_to(stream, &there);
    return true;
}
