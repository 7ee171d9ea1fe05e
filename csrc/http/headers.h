/* The one message model: an ordered header map.
 *
 * Names are stored lower-case (Envoy writes them so, rule H1-13); pseudo-headers (":method", ":path", ":authority", ":scheme",
 * ":status") are ordinary entries with known ids. A known header is a small integer (mc_header_id), looked up in O(1); an
 * unknown one is a slice. Order of insertion is kept, repeated names stay separate entries.
 *
 * Bytes live in the arena given at init (or are borrowed from something that lives as long); entries are tombstoned by
 * removal, never moved. Not thread-safe. */
#ifndef MC_HTTP_HEADERS_H
#define MC_HTTP_HEADERS_H

#include "base/arena.h"
#include "http/known_headers.h"

typedef struct mc_header {
    mc_slice name;  /* lower-case */
    mc_slice value; /* no surrounding whitespace */
    uint16_t id;    /* MC_H_UNKNOWN for names outside the table */
    bool removed;
} mc_header;

/* How names are to be written, when not in lower case. */
typedef struct mc_spelling {
    const struct mc_spelled_name *names; /* as they came, each name once; NULL: none */
    bool proper;                         /* other names as Proper-Case-Words */
    mc_slice reason;                     /* of a response's status line; p == NULL: the usual one */
} mc_spelling;
typedef struct mc_spelled_name {
    mc_slice name;
    const struct mc_spelled_name *next;
} mc_spelled_name;

typedef struct mc_headers {
    mc_arena *arena;
    const mc_spelling *spelling; /* NULL: lower case, the usual reason */
    mc_header *items;
    uint32_t count; /* entries used, removed ones included */
    uint32_t cap;
    uint32_t live;               /* entries not removed */
    uint32_t bytes;              /* names + values of live entries */
    bool repeated;               /* some known header was added while it was there already */
    bool unchecked;              /* a name or a value was not looked at, or may be none; see mc_headers_unsendable */
    uint16_t first[MC_H__COUNT]; /* 1 + index of the first live entry of a known id, 0: none */
} mc_headers;

void mc_headers_init(mc_headers *headers, mc_arena *arena);

/* The id of a lower-case name; MC_H_UNKNOWN when not in the table. */
mc_header_id mc_header_lookup(mc_slice lower_name);
/* The lower-case name of a known id (a static slice). */
mc_slice mc_header_name(mc_header_id id);

/* Makes room for one more entry. */
MC_MUST_CHECK mc_status mc_headers_grow(mc_headers *headers);
/* Appends an entry whose bytes already live long enough. `name` must be lower-case and `id` its id. */
MC_MUST_CHECK static inline mc_status mc_headers_add_ref(mc_headers *headers, mc_header_id id, mc_slice name,
                                                         mc_slice value) {
    if (MC_UNLIKELY(headers->count == headers->cap)) {
        mc_status status = mc_headers_grow(headers);
        if (status != MC_OK) {
            return status;
        }
    }
    headers->items[headers->count++] = (mc_header){name, value, (uint16_t)id, false};
    headers->live++;
    headers->bytes += (uint32_t)(name.n + value.n);
    if (id != MC_H_UNKNOWN && headers->first[id] != 0) {
        headers->repeated = true;
    } else if (id != MC_H_UNKNOWN) {
        headers->first[id] = (uint16_t)headers->count;
    }
    return MC_OK;
}
/* Appends copies; lower-cases the name. */
MC_MUST_CHECK mc_status mc_headers_add(mc_headers *headers, mc_slice name, mc_slice value);
/* Appends a known header, value copied / borrowed. */
MC_MUST_CHECK mc_status mc_headers_add_known(mc_headers *headers, mc_header_id id, mc_slice value);
MC_MUST_CHECK mc_status mc_headers_add_known_ref(mc_headers *headers, mc_header_id id, mc_slice value);
/* Replaces the first entry's value and removes the others, or appends. `_ref` borrows the value. */
MC_MUST_CHECK mc_status mc_headers_set_known(mc_headers *headers, mc_header_id id, mc_slice value);
MC_MUST_CHECK mc_status mc_headers_set_known_ref(mc_headers *headers, mc_header_id id, mc_slice value);
MC_MUST_CHECK mc_status mc_headers_set(mc_headers *headers, mc_slice name, mc_slice value);

/* First value; p == NULL when absent. */
static inline mc_slice mc_headers_get_known(const mc_headers *headers, mc_header_id id) {
    uint16_t at = headers->first[id];
    return at == 0 ? MC_SLICE_NONE : headers->items[at - 1].value;
}
static inline bool mc_headers_has(const mc_headers *headers, mc_header_id id) { return headers->first[id] != 0; }
/* Whether some header of the ids from `from` to `to` is there; the x-envoy- names, sorted, are such a range. */
/* A request's Host stands as :authority, and is found by either name. */
static inline mc_header_id mc_header_alias(const mc_headers *headers, mc_header_id id) {
    return MC_UNLIKELY(id == MC_H_HOST) && headers->first[MC_H_HOST] == 0 ? MC_H_AUTHORITY : id;
}
static inline bool mc_headers_any(const mc_headers *headers, mc_header_id from, mc_header_id to) {
    uint64_t any = 0, four;
    unsigned id = from;
    for (; id + 4 <= (unsigned)to + 1; id += 4) {
        memcpy(&four, &headers->first[id], sizeof four);
        any |= four;
    }
    for (; id <= (unsigned)to; id++) {
        any |= headers->first[id];
    }
    return any != 0;
}
/* By any name, compared case-insensitively; p == NULL when absent. */
mc_slice mc_headers_get(const mc_headers *headers, mc_slice name);
/* The next live entry of this name at or after *at (start with 0); NULL at the end. */
const mc_header *mc_headers_next(const mc_headers *headers, mc_slice name, uint32_t *at);
/* All values of the name joined with "," (rule RT-12): the single value itself, or a copy in `arena`. p == NULL: absent.
 * MC_ENOMEM on failure. */
MC_MUST_CHECK mc_status mc_headers_joined(const mc_headers *headers, mc_slice name, mc_arena *arena, mc_slice *out);
/* Appends ",value" (or sep + value) to the first entry of a known id, or adds it. */
MC_MUST_CHECK mc_status mc_headers_append_value(mc_headers *headers, mc_header_id id, mc_slice sep, mc_slice value);

/* Some names have one entry at most in Envoy's maps: a further value joins the first by ",", and an empty one adds nothing.
 * Which names these are differs between requests and responses. */
typedef enum mc_headers_kind { MC_HEADERS_OF_REQUEST, MC_HEADERS_OF_RESPONSE } mc_headers_kind;
bool mc_header_joins(mc_headers_kind kind, mc_header_id id);
/* Makes one entry of the repeated ones of such names, where the first is. */
MC_MUST_CHECK mc_status mc_headers_join(mc_headers *headers, mc_headers_kind kind);
/* Adds a copy, or lets it join. */
MC_MUST_CHECK mc_status mc_headers_append(mc_headers *headers, mc_headers_kind kind, mc_slice name, mc_slice value);

/* Number of entries removed. */
uint32_t mc_headers_remove_known(mc_headers *headers, mc_header_id id);
uint32_t mc_headers_remove(mc_headers *headers, mc_slice name);
void mc_headers_remove_at(mc_headers *headers, uint32_t index);

/* Whether the first `connection` names `upgrade`, and there is one. */
bool mc_headers_ask_upgrade(const mc_headers *headers);

/* Whether this may be a value (RFC 9110 section 5.5): a tab aside no control character is in it. */
bool mc_header_value_sendable(mc_slice value);
/* Whether this may be a name: of the characters of a token, or of one of those that begin with ':'. */
bool mc_header_name_sendable(mc_slice lower_name);
/* What is set from outside a message, where nobody looked at it, goes through here, or sets `unchecked` itself. */
void mc_headers_doubt(mc_headers *headers, mc_slice value);
/* The first header that is none by its value (RFC 9110 section 5.5) or its name; NULL: there is none. */
const mc_header *mc_headers_unsendable(const mc_headers *headers);

/* for (uint32_t i = 0; i < h->count; i++) if (!h->items[i].removed) ... (without any, `items` is NULL: nothing is added to it) */
#define MC_HEADERS_EACH(headers, it)                                                                                   \
    for (const mc_header *it = (headers)->items, *it##_end = (headers)->count == 0 ? it : it + (headers)->count;       \
         it < it##_end; it++)                                                                                          \
        if (!it->removed)

#endif
