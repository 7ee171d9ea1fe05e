/* stateful_session (FL-58): requests of a session go to the host that served it before, as a cookie or a header of theirs says. */
#include "base/base64.h"
#include "base/wire.h"
#include "event/loop.h"
#include "http/set_cookie.h"
#include "http/uri.h"
#include "proxy/filters/kind.h"
#include "proxy/stream.h"

#define STATS(X) X(routed) X(failed_open) X(failed_closed) X(no_session)

typedef struct session {
    bool disabled;
    bool strict;
    bool counts;               /* it has a stat_prefix */
    bool envelope;             /* the header is the upstream's own, wrapped */
    uint16_t not_found_status; /* where `strict` finds no host */
    struct {
        STATS(MC_STAT_FIELD)
    } stats;
    mc_set_cookie cookie; /* its name empty: a header */
    mc_slice header;      /* lower-case; both empty: no session is kept */
} session;

/* filter state */
typedef struct state {
    const session *session;
    bool kept;        /* a session is, for this request */
    mc_slice address; /* what the request asked for; empty: nothing */
} state;

/* RFC 6265 section 5.1.4. */
static bool path_matches(mc_slice cookie, mc_slice path) {
    if (cookie.n == 0 || (cookie.n == 1 && cookie.p[0] == '/')) {
        return true;
    }
    if (!mc_slice_has_prefix(path, cookie)) {
        return false;
    }
    const char next = path.n > cookie.n ? path.p[cookie.n] : '/';
    return cookie.p[cookie.n - 1] == '/' || next == '/' || next == '?' || next == '#';
}

/* message Cookie { string address = 1; uint64 expires = 2; } */
enum { ADDRESS = 1, EXPIRES = 2 };

/* Of such a message, or of the address as it is. */
static mc_slice address_in(mc_slice bytes, uint64_t now_s) {
    mc_slice rest = bytes, address = MC_SLICE_NONE;
    mc_wire_field field;
    uint64_t expires = 0;
    int more;
    while ((more = mc_wire_next(&rest, &field)) == 1) {
        if (field.number == ADDRESS && field.type == MC_WIRE_LENGTH) {
            address = field.bytes;
        } else if (field.number == EXPIRES && field.type == MC_WIRE_VARINT) {
            expires = field.integer;
        }
    }
    if (more < 0 || address.n == 0) { /* an address may look like a message of other fields */
        return bytes;
    }
    return expires != 0 && now_s > expires ? MC_SLICE_NONE : address;
}

/* Negative: it is no base64, which is padded here. */
static long decode(mc_slice text, char *out) {
    return text.n % 4 == 0 && mc_base64_canonical(text) ? mc_base64_decode(text, out) : -1;
}

/* "address;UV:value", both in base64: the header that the upstream knows holds the value alone. Parts between the two are nobody's.
 * Empty: it is no such envelope. */
static mc_status open_envelope(mc_filter *filter, mc_slice name, mc_slice text, mc_headers *headers,
                               mc_slice *address) {
    mc_slice rest = text, value = MC_SLICE_NONE;
    const mc_slice first = mc_slice_until(text, mc_slice_find(text, ';'));
    for (size_t at; first.n > 0 && value.n == 0 && (at = mc_slice_find(rest, ';')) < rest.n;) {
        rest = mc_slice_from(rest, at + 1);
        const mc_slice part = mc_slice_until(rest, mc_slice_find(rest, ';'));
        value = mc_slice_has_prefix(part, MC_SLICE("UV:")) ? mc_slice_from(part, 3) : MC_SLICE_NONE;
    }
    char *bytes = mc_arena_bytes(mc_filter_arena(filter), text.n);
    if (bytes == NULL) {
        return MC_ENOMEM;
    }
    const long n = value.n > 0 ? decode(value, bytes) : -1;
    if (n <= 0) {
        return MC_OK;
    }
    char *place = bytes + n;
    const long m = decode(first, place);
    *address = mc_slice_of(place, m < 0 ? 0 : (size_t)m);
    mc_headers_doubt(headers, mc_slice_of(bytes, (size_t)n));
    return mc_headers_set(headers, name, mc_slice_of(bytes, (size_t)n));
}

/* True: a session is kept for this request; *address is where it was, if the request says. */
static mc_status find_session(mc_filter *filter, const session *session, mc_headers *headers, bool *kept,
                              mc_slice *address) {
    mc_slice text = MC_SLICE_NONE;
    *kept = session->header.n > 0 || (session->cookie.name.n > 0 &&
                                      path_matches(session->cookie.path, mc_headers_get_known(headers, MC_H_PATH)));
    *address = MC_SLICE_NONE;
    if (session->header.n > 0) {
        text = mc_headers_get(headers, session->header);
    } else if (*kept && !mc_cookie_get(headers, session->cookie.name, &text)) {
        return MC_OK;
    }
    if (text.n == 0) {
        return MC_OK;
    }
    if (session->envelope) {
        return open_envelope(filter, session->header, text, headers, address);
    }
    char *bytes = mc_arena_bytes(mc_filter_arena(filter), text.n);
    if (bytes == NULL) {
        return MC_ENOMEM;
    }
    long n = decode(text, bytes);
    mc_slice decoded = mc_slice_of(bytes, n < 0 ? 0 : (size_t)n);
    *address = session->header.n > 0 ? decoded : address_in(decoded, mc_loop_wall_ms(mc_filter_loop(filter)) / 1000);
    return MC_OK;
}

static mc_filter_status decode_headers(mc_filter *filter, mc_headers *headers, bool end_stream) {
    const session *session = mc_filter_route_config(filter);
    mc_stream *stream = mc_filter_stream(filter);
    state *state;
    mc_slice address;
    bool kept;
    if (session->disabled) {
        return MC_FILTER_CONTINUE;
    }
    if (find_session(filter, session, headers, &kept, &address) != MC_OK) {
        return mc_filter_out_of_memory(filter);
    }
    if (!kept && !session->counts) {
        return MC_FILTER_CONTINUE;
    }
    state = mc_arena_zalloc(mc_filter_arena(filter), sizeof *state);
    if (state == NULL) {
        return mc_filter_out_of_memory(filter);
    }
    state->session = session;
    state->kept = kept;
    state->address = address;
    mc_filter_set_state(filter, state);
    if (!kept) {
        return MC_FILTER_CONTINUE;
    }
    stream->override_host = address;
    stream->override_strict = session->strict && address.n > 0;
    stream->override_status = session->not_found_status;
    return MC_FILTER_CONTINUE;
}

static mc_status set_cookie(mc_filter *filter, const session *session, mc_slice address, mc_headers *headers) {
    const uint64_t ttl_s = session->cookie.ttl_s;
    mc_arena *arena = mc_filter_arena(filter);
    mc_slice value, text;
    mc_text message;
    mc_text_init(&message);
    mc_wire_bytes(&message, ADDRESS, address);
    mc_wire_u64(&message, EXPIRES, ttl_s == 0 ? 0 : mc_loop_wall_ms(mc_filter_loop(filter)) / 1000 + ttl_s);
    mc_status status = message.failed ? MC_ENOMEM : mc_base64_encode(arena, mc_text_slice(&message), true, &value);
    mc_text_fini(&message);
    MC_TRY(status);
    MC_TRY(mc_set_cookie_write(&session->cookie, value, arena, &text));
    return mc_headers_add_known_ref(headers, MC_H_SET_COOKIE, text);
}

static unsigned count_headers(const mc_headers *headers, mc_slice name) {
    unsigned n = 0;
    MC_HEADERS_EACH(headers, item) { n += mc_slice_eq(item->name, name); }
    return n;
}

/* Only around the one value that the upstream gave; `changed` stays where there is none. */
static mc_status wrap(mc_filter *filter, const session *session, mc_slice address, mc_headers *headers, bool *changed) {
    mc_arena *arena = mc_filter_arena(filter);
    mc_slice host, value, text;
    if (count_headers(headers, session->header) != 1) {
        *changed = false;
        return MC_OK;
    }
    MC_TRY(mc_base64_encode(arena, address, true, &host));
    MC_TRY(mc_base64_encode(arena, mc_headers_get(headers, session->header), true, &value));
    const mc_slice parts[] = {host, MC_SLICE(";UV:"), value};
    MC_TRY(mc_arena_concat(arena, parts, 3, &text));
    return mc_headers_set(headers, session->header, text);
}

/* *changed: the client is told of another host than it asked for. */
static mc_status tell_host(mc_filter *filter, const state *state, mc_slice address, mc_headers *headers,
                           bool *changed) {
    mc_slice value;
    *changed = !mc_slice_eq(address, state->address);
    if (state->session->envelope) {
        return wrap(filter, state->session, address, headers, changed);
    }
    if (!*changed) {
        return MC_OK;
    }
    if (state->session->cookie.name.n > 0) {
        return set_cookie(filter, state->session, address, headers);
    }
    MC_TRY(mc_base64_encode(mc_filter_arena(filter), address, true, &value));
    return mc_headers_set(headers, state->session->header, value);
}

static void count(mc_filter *filter, const session *session, mc_stat stat) {
    if (session->counts) {
        mc_counter_inc(mc_filter_slab(filter), stat);
    }
}

static mc_filter_status encode_headers(mc_filter *filter, mc_headers *headers, bool end_stream) {
    const state *state = mc_filter_get_state(filter);
    const mc_stream *stream = mc_filter_stream(filter);
    char text[MC_ADDRESS_TEXT];
    bool changed;
    if (state == NULL) {
        return MC_FILTER_CONTINUE;
    }
    const session *session = state->session;
    const mc_slice address = mc_slice_of(text, mc_address_text(&stream->upstream_address, text));
    if (address.n == 0) { /* answered before any host was chosen */
        if (state->kept && session->strict && (stream->flags & MC_FLAG(UH)) != 0) {
            count(filter, session, session->stats.failed_closed);
        }
        return MC_FILTER_CONTINUE;
    }
    if (!state->kept) {
        count(filter, session, session->stats.no_session);
        return MC_FILTER_CONTINUE;
    }
    if (tell_host(filter, state, address, headers, &changed) != MC_OK) {
        return mc_filter_out_of_memory(filter);
    }
    if (!changed) {
        count(filter, session, session->stats.routed);
    } else if (!session->strict) {
        count(filter, session, session->stats.failed_open);
    }
    return MC_FILTER_CONTINUE;
}

/* --- compiling ------------------------------------------------------------------------------------------------------------- */

static mc_status read_cookie(mc_filter_compile *c, const mc_value *value, session *out) {
    const mc_value *cookie;
    MC_TRY(mc_value_read_object(value, "cookie", &cookie, c->error));
    if (cookie == NULL) {
        return mc_error_set(c->error, MC_EINVAL, "cookie", "is required");
    }
    return mc_error_in(mc_set_cookie_read(c->arena, cookie, &out->cookie, c->error), c->error, "cookie");
}

static mc_status read_header(mc_filter_compile *c, const mc_value *value, session *out) {
    mc_slice name = MC_SLICE_NONE;
    MC_TRY(mc_read_name(c->arena, value, "name", &name, c->error));
    return mc_dup_lower(c->arena, name, &out->header);
}

static mc_status read_envelope(mc_filter_compile *c, const mc_value *value, session *out) {
    const mc_value *header;
    MC_TRY(mc_value_read_object(value, "header", &header, c->error));
    if (header == NULL) {
        return mc_error_set(c->error, MC_EINVAL, "header", "is required");
    }
    out->envelope = true;
    return mc_error_in(read_header(c, header, out), c->error, "header");
}

/* A way to keep a session is looked up by its name, and the type is to be its own. */
static mc_status read_way(mc_filter_compile *c, const mc_value *extension, session *out) {
    static const struct {
        mc_slice name, type;
        mc_status (*read)(mc_filter_compile *c, const mc_value *value, session *out);
    } ways[] = {
        {MC_SLICE_INIT("envoy.http.stateful_session.cookie"),
         MC_SLICE_INIT("envoy.extensions.http.stateful_session.cookie.v3.CookieBasedSessionState"), read_cookie},
        {MC_SLICE_INIT("envoy.http.stateful_session.header"),
         MC_SLICE_INIT("envoy.extensions.http.stateful_session.header.v3.HeaderBasedSessionState"), read_header},
        {MC_SLICE_INIT("envoy.http.stateful_session.envelope"),
         MC_SLICE_INIT("envoy.extensions.http.stateful_session.envelope.v3.EnvelopeSessionState"), read_envelope},
    };
    const mc_value *typed;
    mc_slice name = MC_SLICE_NONE;
    MC_TRY(mc_value_read_string(extension, "name", &name, c->error));
    MC_TRY(mc_value_read_object(extension, "typed_config", &typed, c->error));
    mc_slice type = mc_any_type(typed);
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        if (mc_slice_eq(name, ways[i].name)) {
            mc_status status =
                mc_slice_eq(type, ways[i].type)
                    ? ways[i].read(c, typed, out)
                    : mc_error_set(c->error, MC_EINVAL, "", "is not of type %.*s", MC_SLICE_ARG(ways[i].type));
            return mc_error_in(status, c->error, "typed_config");
        }
    }
    return mc_error_set(c->error, MC_EINVAL, "name", "is no way to keep a session: %.*s", MC_SLICE_ARG(name));
}

/* Those of a route are below no connection manager. */
static mc_status read_stats(mc_filter_compile *c, const mc_value *value, session *out) {
    mc_slice prefix = MC_SLICE_NONE, scope;
    MC_TRY(mc_value_read_string(value, "stat_prefix", &prefix, c->error));
    if (prefix.n == 0) {
        return MC_OK;
    }
    const mc_slice parts[] = {c->is_route ? MC_SLICE_NONE : c->scope, MC_SLICE("stateful_session."), prefix,
                              prefix.p[prefix.n - 1] == '.' ? MC_SLICE_NONE : MC_SLICE(".")};
    MC_TRY(mc_arena_concat(c->arena, parts, 4, &scope));
    out->counts = true;
#define COUNTER(name) out->stats.name = mc_stats_scoped(c->stats, MC_COUNTER, scope, MC_SLICE(#name));
    STATS(COUNTER)
#undef COUNTER
    return MC_OK;
}

static mc_status read_status(mc_filter_compile *c, const mc_value *value, session *out) {
    uint32_t status = 0;
    MC_TRY(mc_value_read_u32(value, "status_on_strict_destination_not_found", &status, c->error));
    out->not_found_status =
        status < 200 || status > 999 ? 503 : (uint16_t)status; /* what ends a response, or not set */
    return MC_OK;
}

static mc_status read_session(mc_filter_compile *c, const mc_value *value, session *out) {
    const mc_value *extension;
    MC_TRY(read_stats(c, value, out));
    MC_TRY(mc_value_read_bool(value, "strict", &out->strict, c->error));
    MC_TRY(read_status(c, value, out));
    MC_TRY(mc_value_read_object(value, "session_state", &extension, c->error));
    if (extension == NULL) { /* keeps none */
        return MC_OK;
    }
    return mc_error_in(read_way(c, extension, out), c->error, "session_state");
}

static mc_status compile(mc_filter_compile *c, const mc_value *value, void **out) {
    session *session = mc_arena_zalloc(c->arena, sizeof *session);
    *out = session;
    return session == NULL ? MC_ENOMEM : read_session(c, value, session);
}

static mc_status compile_route(mc_filter_compile *c, const mc_value *value, void **out) {
    session *session = mc_arena_zalloc(c->arena, sizeof *session);
    const mc_value *own;
    *out = session;
    if (session == NULL) {
        return MC_ENOMEM;
    }
    MC_TRY(mc_value_read_bool(value, "disabled", &session->disabled, c->error));
    MC_TRY(mc_value_read_object(value, "stateful_session", &own, c->error));
    if (own != NULL) {
        return mc_error_in(read_session(c, own, session), c->error, "stateful_session");
    }
    return session->disabled ? MC_OK
                             : mc_error_set(c->error, MC_EINVAL, "", "must have one of disabled, stateful_session");
}

static const mc_filter_type filter_type = {
    .name = "envoy.filters.http.stateful_session", .decode_headers = decode_headers, .encode_headers = encode_headers};

const mc_filter_kind mc_filter_kind_stateful_session = {
    .type = "envoy.extensions.filters.http.stateful_session.v3.StatefulSession",
    .route_type = "envoy.extensions.filters.http.stateful_session.v3.StatefulSessionPerRoute",
    .filter = &filter_type,
    .compile = compile,
    .compile_route = compile_route,
};
