#include "proxy/filters/query.h"

#include "http/uri.h"

mc_status mc_query_parse(mc_query *query, mc_slice path, mc_arena *arena) {
    *query = (mc_query){.arena = arena};
    mc_slice rest = mc_slice_from(path, mc_slice_find(path, '?') + 1), item;
    while (rest.n > 0) {
        item = mc_slice_until(rest, mc_slice_find(rest, '&'));
        rest = mc_slice_from(rest, item.n + 1);
        size_t equal = mc_slice_find(item, '=');
        mc_slice name, value;
        mc_status status = mc_percent_decode(mc_slice_until(item, equal), arena, &name);
        status = status == MC_OK ? mc_percent_decode(mc_slice_from(item, equal + 1), arena, &value) : status;
        status = status == MC_OK ? mc_query_add(query, name, value) : status;
        if (status != MC_OK) {
            return status;
        }
    }
    return MC_OK;
}

static bool is_unreserved(char c) {
    return (c >= '0' && c <= '9') || (mc_ascii_lower(c) >= 'a' && mc_ascii_lower(c) <= 'z') || c == '-' || c == '.' ||
           c == '_' || c == '~';
}

mc_status mc_query_encode(mc_slice value, mc_arena *arena, mc_slice *out) {
    static const char hex[] = "0123456789ABCDEF";
    char *text = mc_arena_bytes(arena, value.n * 3);
    size_t n = 0;
    if (text == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < value.n; i++) {
        const unsigned char c = (unsigned char)value.p[i];
        if (is_unreserved((char)c)) {
            text[n++] = (char)c;
        } else {
            text[n++] = '%';
            text[n++] = hex[c >> 4];
            text[n++] = hex[c & 15];
        }
    }
    *out = mc_slice_of(text, n);
    return MC_OK;
}

bool mc_query_has(const mc_query *query, mc_slice name) {
    for (uint32_t i = 0; i < query->count; i++) {
        if (mc_slice_eq(query->items[i].name, name)) {
            return true;
        }
    }
    return false;
}

void mc_query_remove(mc_query *query, mc_slice name) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < query->count; i++) {
        if (!mc_slice_eq(query->items[i].name, name)) {
            query->items[kept++] = query->items[i];
        }
    }
    query->count = kept;
}

mc_status mc_query_add(mc_query *query, mc_slice name, mc_slice value) {
    if (query->count == query->cap) {
        uint32_t cap = query->cap == 0 ? 16 : query->cap * 2;
        mc_query_parameter *items = mc_arena_alloc(query->arena, cap * sizeof *items);
        if (items == NULL) {
            return MC_ENOMEM;
        }
        if (query->count > 0) {
            memcpy(items, query->items, query->count * sizeof *items);
        }
        query->items = items;
        query->cap = cap;
    }
    /* Behind the last of its name, before the first name that is greater. */
    uint32_t at = query->count++;
    for (; at > 0 && mc_slice_cmp(query->items[at - 1].name, name) > 0; at--) {
        query->items[at] = query->items[at - 1];
    }
    query->items[at] = (mc_query_parameter){name, value};
    return MC_OK;
}

mc_status mc_query_set(mc_query *query, mc_slice name, mc_slice value) {
    mc_query_remove(query, name);
    return mc_query_add(query, name, value);
}

mc_status mc_query_write(mc_query *query, mc_slice path, mc_slice *out) {
    *out = mc_slice_until(path, mc_slice_find(path, '?'));
    for (uint32_t i = 0; i < query->count; i++) {
        mc_slice parts[] = {*out, i == 0 ? MC_SLICE("?") : MC_SLICE("&"), query->items[i].name, MC_SLICE("="),
                            query->items[i].value};
        mc_status status = mc_arena_concat(query->arena, parts, 5, out);
        if (status != MC_OK) {
            return status;
        }
    }
    return MC_OK;
}
