#include "http/headers.h"

#include "http/lookup.h"

/* Room for a browser's request and what a proxy adds to it, without growing. */
#define FIRST_CAPACITY 24u

const mc_slice mc_known_header_names[MC_H__COUNT] = {[MC_H_UNKNOWN] = MC_SLICE_INIT(""),
#define NAME(id, name) [MC_H_##id] = MC_SLICE_INIT(name),
                                                     MC_KNOWN_HEADERS(NAME)
#undef NAME
};

_Static_assert(MC_H__COUNT <= 256, "a slot of the table holds an id in one byte");

mc_header_id mc_header_lookup(mc_slice lower_name) { return mc_header_find(lower_name); }

mc_slice mc_header_name(mc_header_id id) { return mc_known_header_names[id]; }

void mc_headers_init(mc_headers *headers, mc_arena *arena) {
    memset(headers, 0, sizeof *headers);
    headers->arena = arena;
}

mc_status mc_headers_grow(mc_headers *headers) {
    uint32_t cap = headers->cap == 0 ? FIRST_CAPACITY : headers->cap * 2;
    if (cap > UINT16_MAX) { /* first[] holds 16 bits; far above every limit on the count of headers */
        return MC_ELIMIT;
    }
    mc_header *items = mc_arena_alloc(headers->arena, cap * sizeof *items);
    if (items == NULL) {
        return MC_ENOMEM;
    }
    if (headers->count > 0) {
        memcpy(items, headers->items, headers->count * sizeof *items);
    }
    headers->items = items;
    headers->cap = cap;
    return MC_OK;
}

mc_status mc_headers_add(mc_headers *headers, mc_slice name, mc_slice value) {
    char *bytes = mc_arena_bytes(headers->arena, name.n + value.n);
    if (bytes == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < name.n; i++) {
        bytes[i] = mc_ascii_lower(name.p[i]);
    }
    if (value.n > 0) {
        memcpy(bytes + name.n, value.p, value.n);
    }
    mc_slice lower = {bytes, name.n};
    return mc_headers_add_ref(headers, mc_header_lookup(lower), lower, (mc_slice){bytes + name.n, value.n});
}

/* A value in the map is never NULL: that says "absent" to readers. */
static mc_slice present(mc_slice value) { return value.p == NULL ? (mc_slice){"", 0} : value; }

mc_status mc_headers_add_known(mc_headers *headers, mc_header_id id, mc_slice value) {
    mc_slice copy;
    mc_status status = mc_arena_dup(headers->arena, value, &copy);
    return status != MC_OK ? status : mc_headers_add_known_ref(headers, id, copy);
}

mc_status mc_headers_add_known_ref(mc_headers *headers, mc_header_id id, mc_slice value) {
    return mc_headers_add_ref(headers, id, mc_known_header_names[id], present(value));
}

static void replace_value(mc_headers *headers, mc_header *item, mc_slice value) {
    headers->bytes = headers->bytes - (uint32_t)item->value.n + (uint32_t)value.n;
    item->value = present(value);
}

mc_status mc_headers_set_known_ref(mc_headers *headers, mc_header_id id, mc_slice value) {
    uint32_t at = headers->first[id];
    if (at == 0) {
        return mc_headers_add_known_ref(headers, id, value);
    }
    replace_value(headers, &headers->items[at - 1], value);
    for (uint32_t i = at; i < headers->count; i++) {
        if (headers->items[i].id == id) {
            mc_headers_remove_at(headers, i);
        }
    }
    return MC_OK;
}

mc_status mc_headers_set_known(mc_headers *headers, mc_header_id id, mc_slice value) {
    mc_slice copy;
    mc_status status = mc_arena_dup(headers->arena, value, &copy);
    return status != MC_OK ? status : mc_headers_set_known_ref(headers, id, copy);
}

/* The id of a name in any case; a name longer than every known one is not in the table. */
static mc_header_id lookup_any_case(mc_slice name) {
    char lower[64];
    if (name.n > sizeof lower) {
        return MC_H_UNKNOWN;
    }
    for (size_t i = 0; i < name.n; i++) {
        lower[i] = mc_ascii_lower(name.p[i]);
    }
    return mc_header_lookup((mc_slice){lower, name.n});
}

mc_status mc_headers_set(mc_headers *headers, mc_slice name, mc_slice value) {
    mc_header_id id = lookup_any_case(name);
    if (id != MC_H_UNKNOWN) {
        return mc_headers_set_known(headers, id, value);
    }
    uint32_t at = 0;
    if (mc_headers_next(headers, name, &at) == NULL) {
        return mc_headers_add(headers, name, value);
    }
    mc_slice copy;
    mc_status status = mc_arena_dup(headers->arena, value, &copy);
    if (status != MC_OK) {
        return status;
    }
    replace_value(headers, &headers->items[at - 1], copy);
    while (mc_headers_next(headers, name, &at) != NULL) {
        mc_headers_remove_at(headers, at - 1);
    }
    return MC_OK;
}

mc_slice mc_headers_get(const mc_headers *headers, mc_slice name) {
    uint32_t at = 0;
    const mc_header *found = mc_headers_next(headers, name, &at);
    return found == NULL ? MC_SLICE_NONE : found->value;
}

const mc_header *mc_headers_next(const mc_headers *headers, mc_slice name, uint32_t *at) {
    mc_header_id id = mc_header_alias(headers, lookup_any_case(name));
    if (id != MC_H_UNKNOWN && headers->first[id] == 0) {
        return NULL;
    }
    uint32_t i = id != MC_H_UNKNOWN && *at < headers->first[id] ? headers->first[id] - 1u : *at;
    for (; i < headers->count; i++) {
        const mc_header *item = &headers->items[i];
        if (item->id == id && !item->removed && (id != MC_H_UNKNOWN || mc_slice_ieq(item->name, name))) {
            *at = i + 1;
            return item;
        }
    }
    return NULL;
}

mc_status mc_headers_joined(const mc_headers *headers, mc_slice name, mc_arena *arena, mc_slice *out) {
    uint32_t at = 0;
    const mc_header *item = mc_headers_next(headers, name, &at);
    if (item == NULL) {
        *out = MC_SLICE_NONE;
        return MC_OK;
    }
    mc_slice first = item->value;
    uint32_t second = at;
    size_t total = first.n;
    while ((item = mc_headers_next(headers, name, &at)) != NULL) {
        total += 1 + item->value.n;
    }
    if (at == second) {
        *out = first;
        return MC_OK;
    }
    char *bytes = mc_arena_bytes(arena, total);
    if (bytes == NULL) {
        return MC_ENOMEM;
    }
    memcpy(bytes, first.p, first.n);
    size_t used = first.n;
    while ((item = mc_headers_next(headers, name, &second)) != NULL) {
        bytes[used++] = ',';
        memcpy(bytes + used, item->value.p, item->value.n);
        used += item->value.n;
    }
    *out = (mc_slice){bytes, used};
    return MC_OK;
}

mc_status mc_headers_append_value(mc_headers *headers, mc_header_id id, mc_slice sep, mc_slice value) {
    uint32_t at = headers->first[id];
    if (at == 0) {
        return mc_headers_add_known(headers, id, value);
    }
    mc_header *item = &headers->items[at - 1];
    mc_slice joined, parts[] = {item->value, item->value.n == 0 || value.n == 0 ? MC_SLICE_NONE : sep, value};
    mc_status status = mc_arena_concat(headers->arena, parts, 3, &joined);
    if (status == MC_OK) {
        replace_value(headers, item, joined);
    }
    return status;
}

static const mc_header_id single_in_request[] = {
    MC_H_ACCEPT,
    MC_H_ACCEPT_ENCODING,
    MC_H_ACCESS_CONTROL_REQUEST_HEADERS,
    MC_H_ACCESS_CONTROL_REQUEST_METHOD,
    MC_H_ACCESS_CONTROL_REQUEST_PRIVATE_NETWORK,
    MC_H_AUTHORIZATION,
    MC_H_CACHE_CONTROL,
    MC_H_CONNECTION,
    MC_H_CONTENT_ENCODING,
    MC_H_CONTENT_TYPE,
    MC_H_EXPECT,
    MC_H_GRPC_ACCEPT_ENCODING,
    MC_H_GRPC_TIMEOUT,
    MC_H_IF_MATCH,
    MC_H_IF_MODIFIED_SINCE,
    MC_H_IF_NONE_MATCH,
    MC_H_IF_RANGE,
    MC_H_IF_UNMODIFIED_SINCE,
    MC_H_KEEP_ALIVE,
    MC_H_ORIGIN,
    MC_H_PRAGMA,
    MC_H_PROXY_CONNECTION,
    MC_H_PROXY_STATUS,
    MC_H_REFERER,
    MC_H_TE,
    MC_H_UPGRADE,
    MC_H_USER_AGENT,
    MC_H_VIA,
    MC_H_X_CLIENT_TRACE_ID,
    MC_H_X_ENVOY_ATTEMPT_COUNT,
    MC_H_X_ENVOY_DECORATOR_OPERATION,
    MC_H_X_ENVOY_DOWNSTREAM_SERVICE_CLUSTER,
    MC_H_X_ENVOY_DOWNSTREAM_SERVICE_NODE,
    MC_H_X_ENVOY_EXPECTED_RQ_TIMEOUT_MS,
    MC_H_X_ENVOY_EXTERNAL_ADDRESS,
    MC_H_X_ENVOY_FORCE_TRACE,
    MC_H_X_ENVOY_HEDGE_ON_PER_TRY_TIMEOUT,
    MC_H_X_ENVOY_INTERNAL,
    MC_H_X_ENVOY_IP_TAGS,
    MC_H_X_ENVOY_IS_TIMEOUT_RETRY,
    MC_H_X_ENVOY_MAX_RETRIES,
    MC_H_X_ENVOY_ORIGINAL_HOST,
    MC_H_X_ENVOY_ORIGINAL_PATH,
    MC_H_X_ENVOY_ORIGINAL_URL,
    MC_H_X_ENVOY_RETRIABLE_HEADER_NAMES,
    MC_H_X_ENVOY_RETRIABLE_STATUS_CODES,
    MC_H_X_ENVOY_RETRY_GRPC_ON,
    MC_H_X_ENVOY_RETRY_ON,
    MC_H_X_ENVOY_UPSTREAM_ALT_STAT_NAME,
    MC_H_X_ENVOY_UPSTREAM_RQ_PER_TRY_TIMEOUT_MS,
    MC_H_X_ENVOY_UPSTREAM_RQ_TIMEOUT_ALT_RESPONSE,
    MC_H_X_ENVOY_UPSTREAM_RQ_TIMEOUT_MS,
    MC_H_X_ENVOY_UPSTREAM_STREAM_DURATION_MS,
    MC_H_X_FORWARDED_CLIENT_CERT,
    MC_H_X_FORWARDED_FOR,
    MC_H_X_FORWARDED_HOST,
    MC_H_X_FORWARDED_PORT,
    MC_H_X_FORWARDED_PROTO,
    MC_H_X_REQUEST_ID,
};
static const mc_header_id single_in_response[] = {
    MC_H_ACCESS_CONTROL_ALLOW_CREDENTIALS,
    MC_H_ACCESS_CONTROL_ALLOW_HEADERS,
    MC_H_ACCESS_CONTROL_ALLOW_METHODS,
    MC_H_ACCESS_CONTROL_ALLOW_ORIGIN,
    MC_H_ACCESS_CONTROL_ALLOW_PRIVATE_NETWORK,
    MC_H_ACCESS_CONTROL_EXPOSE_HEADERS,
    MC_H_ACCESS_CONTROL_MAX_AGE,
    MC_H_AGE,
    MC_H_CACHE_CONTROL,
    MC_H_CONNECTION,
    MC_H_CONTENT_ENCODING,
    MC_H_CONTENT_TYPE,
    MC_H_DATE,
    MC_H_ETAG,
    MC_H_EXPIRES,
    MC_H_GRPC_MESSAGE,
    MC_H_GRPC_STATUS,
    MC_H_KEEP_ALIVE,
    MC_H_LAST_MODIFIED,
    MC_H_LOCATION,
    MC_H_PROXY_CONNECTION,
    MC_H_PROXY_STATUS,
    MC_H_SERVER,
    MC_H_UPGRADE,
    MC_H_VARY,
    MC_H_VIA,
    MC_H_X_ENVOY_ATTEMPT_COUNT,
    MC_H_X_ENVOY_DECORATOR_OPERATION,
    MC_H_X_ENVOY_DEGRADED,
    MC_H_X_ENVOY_IMMEDIATE_HEALTH_CHECK_FAIL,
    MC_H_X_ENVOY_RATELIMITED,
    MC_H_X_ENVOY_UPSTREAM_CANARY,
    MC_H_X_ENVOY_UPSTREAM_HEALTHCHECKED_CLUSTER,
    MC_H_X_ENVOY_UPSTREAM_SERVICE_TIME,
    MC_H_X_REQUEST_ID,
};

typedef struct single_names {
    const mc_header_id *ids;
    size_t count;
} single_names;

static single_names singles(mc_headers_kind kind) {
    return kind == MC_HEADERS_OF_REQUEST
               ? (single_names){single_in_request, sizeof single_in_request / sizeof *single_in_request}
               : (single_names){single_in_response, sizeof single_in_response / sizeof *single_in_response};
}

static mc_status join_one(mc_headers *headers, mc_header_id id) {
    const uint32_t first = headers->first[id];
    for (uint32_t at = first; first != 0 && at < headers->count; at++) {
        const mc_header *item = &headers->items[at];
        if (item->removed || item->id != id) {
            continue;
        }
        mc_status status = mc_headers_append_value(headers, id, MC_SLICE(","), item->value);
        if (status != MC_OK) {
            return status;
        }
        mc_headers_remove_at(headers, at);
    }
    return MC_OK;
}

mc_status mc_headers_join(mc_headers *headers, mc_headers_kind kind) {
    const single_names names = singles(kind);
    mc_status status = MC_OK;
    for (size_t i = 0; i < names.count && status == MC_OK; i++) {
        status = join_one(headers, names.ids[i]);
    }
    return status;
}

bool mc_header_joins(mc_headers_kind kind, mc_header_id id) {
    const single_names names = singles(kind);
    size_t i = 0;
    while (i < names.count && names.ids[i] != id) {
        i++;
    }
    return i < names.count;
}

mc_status mc_headers_append(mc_headers *headers, mc_headers_kind kind, mc_slice name, mc_slice value) {
    const mc_header_id id = mc_header_lookup(name);
    if (id != MC_H_UNKNOWN && headers->first[id] != 0 && mc_header_joins(kind, id)) {
        return mc_headers_append_value(headers, id, MC_SLICE(","), value);
    }
    return mc_headers_add(headers, name, value);
}

uint32_t mc_headers_remove_known(mc_headers *headers, mc_header_id id) {
    uint32_t removed = 0;
    while (headers->first[id] != 0) {
        mc_headers_remove_at(headers, headers->first[id] - 1u);
        removed++;
    }
    return removed;
}

uint32_t mc_headers_remove(mc_headers *headers, mc_slice name) {
    uint32_t removed = 0, at = 0;
    while (mc_headers_next(headers, name, &at) != NULL) {
        mc_headers_remove_at(headers, at - 1);
        removed++;
    }
    return removed;
}

void mc_headers_remove_at(mc_headers *headers, uint32_t index) {
    mc_header *item = &headers->items[index];
    if (item->removed) {
        return;
    }
    item->removed = true;
    headers->live--;
    headers->bytes -= (uint32_t)(item->name.n + item->value.n);
    if (item->id == MC_H_UNKNOWN || headers->first[item->id] != index + 1) {
        return;
    }
    uint32_t next = index + 1;
    while (next < headers->count && (headers->items[next].id != item->id || headers->items[next].removed)) {
        next++;
    }
    headers->first[item->id] = next < headers->count ? (uint16_t)(next + 1) : 0;
}

bool mc_header_value_sendable(mc_slice value) {
    for (size_t i = 0; i < value.n; i++) {
        const unsigned char c = (unsigned char)value.p[i];
        if ((c < ' ' && c != '\t') || c == 0x7f) {
            return false;
        }
    }
    return true;
}

bool mc_header_name_sendable(mc_slice lower_name) {
    for (size_t i = lower_name.n > 0 && lower_name.p[0] == ':'; i < lower_name.n; i++) {
        const char c = lower_name.p[i];
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && (c == '\0' || strchr("!#$%&'*+-.^_`|~", c) == NULL)) {
            return false;
        }
    }
    return true;
}

bool mc_headers_ask_upgrade(const mc_headers *headers) {
    mc_slice rest = mc_headers_get_known(headers, MC_H_CONNECTION), token;
    while (mc_headers_has(headers, MC_H_UPGRADE) && mc_slice_next(&rest, ',', &token)) {
        if (mc_slice_ieq(token, MC_SLICE("upgrade"))) {
            return true;
        }
    }
    return false;
}

void mc_headers_doubt(mc_headers *headers, mc_slice value) {
    if (MC_UNLIKELY(!mc_header_value_sendable(value))) {
        headers->unchecked = true;
    }
}

const mc_header *mc_headers_unsendable(const mc_headers *headers) {
    MC_HEADERS_EACH(headers, item) {
        if (!mc_header_value_sendable(item->value) || !mc_header_name_sendable(item->name)) {
            return item;
        }
    }
    return NULL;
}
