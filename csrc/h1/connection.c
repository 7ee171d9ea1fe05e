/* The options of `connection`: what they say of the connection, and the headers they name (rules H1-8, HC-45). */
#include "h1/message.h"

static mc_h1_option classify(mc_slice token) {
    switch (token.n) {
    case 5: return mc_slice_ieq(token, MC_SLICE("close")) ? MC_H1_OPTION_CLOSE : MC_H1_OPTION_NOMINATION;
    case 7: return mc_slice_ieq(token, MC_SLICE("upgrade")) ? MC_H1_OPTION_UPGRADE : MC_H1_OPTION_NOMINATION;
    case 10: return mc_slice_ieq(token, MC_SLICE("keep-alive")) ? MC_H1_OPTION_KEEP_ALIVE : MC_H1_OPTION_NOMINATION;
    case 14: return mc_slice_ieq(token, MC_SLICE("http2-settings")) ? MC_H1_OPTION_SETTINGS : MC_H1_OPTION_NOMINATION;
    default: return MC_H1_OPTION_NOMINATION;
    }
}

void mc_h1_read_options(const mc_headers *headers, mc_header_id id, mc_h1_options *found) {
    for (uint32_t i = headers->first[id]; i != 0 && i <= headers->count; i++) {
        if (headers->items[i - 1].id != id || headers->items[i - 1].removed) {
            continue;
        }
        mc_slice rest = headers->items[i - 1].value, token;
        if (mc_slice_eq(rest, MC_SLICE("keep-alive"))) { /* what most clients send, seen at one look */
            found->count++;
            found->seen[MC_H1_OPTION_KEEP_ALIVE]++;
            continue;
        }
        while (mc_slice_next(&rest, ',', &token)) {
            if (token.n > 0) {
                found->count++;
                found->seen[classify(token)]++;
            }
        }
    }
}

static mc_status nomination_rejected(mc_h1_parser *parser) {
    return mc_h1_fail(parser, MC_EPROTO, 400, "http1.connection_header_rejected");
}

/* `te` nominated: only "trailers" may pass through. True when the header is kept. */
static bool keep_te_trailers(mc_headers *headers) {
    mc_slice rest = mc_headers_get_known(headers, MC_H_TE), item;
    while (mc_slice_next(&rest, ',', &item)) {
        if (mc_slice_ieq(item, MC_SLICE("trailers"))) {
            return mc_headers_set_known_ref(headers, MC_H_TE, MC_SLICE("trailers")) == MC_OK;
        }
    }
    return false;
}

static mc_status remove_nominated(mc_h1_parser *parser, mc_headers *headers, mc_slice token) {
    if (token.n == 0 || classify(token) != MC_H1_OPTION_NOMINATION) {
        return MC_OK;
    }
    if (token.p[0] == ':' || mc_slice_ieq(token, MC_SLICE("x-forwarded-for")) ||
        mc_slice_ieq(token, MC_SLICE("x-forwarded-host")) || mc_slice_ieq(token, MC_SLICE("x-forwarded-proto"))) {
        return nomination_rejected(parser);
    }
    if (mc_slice_ieq(token, MC_SLICE("te"))) {
        if (mc_headers_get_known(headers, MC_H_TE).n >= 256) {
            return nomination_rejected(parser);
        }
        if (keep_te_trailers(headers)) {
            return MC_OK;
        }
    }
    if (mc_slice_ieq(token, MC_SLICE("host"))) { /* it stands as :authority */
        mc_headers_remove_known(headers, MC_H_AUTHORITY);
    } else if (!mc_slice_ieq(token, MC_SLICE("connection"))) { /* that line is being walked; the proxy drops it */
        mc_headers_remove(headers, token);
    }
    return MC_OK;
}

/* Makes one line of a list of tokens, of those that stay; none when none does. */
static mc_status keep_tokens(mc_headers *headers, mc_slice name, mc_header_id id, bool (*stays)(void *, mc_slice),
                             void *ctx) {
    mc_slice joined, rest, token;
    mc_status status = mc_headers_joined(headers, name, headers->arena, &joined);
    char *kept = status == MC_OK ? mc_arena_bytes(headers->arena, joined.n) : NULL;
    if (kept == NULL) {
        return MC_ENOMEM;
    }
    size_t n = 0;
    for (rest = joined; mc_slice_next(&rest, ',', &token);) {
        if (token.n > 0 && stays(ctx, token)) {
            if (n > 0) {
                kept[n++] = ',';
            }
            memcpy(kept + n, token.p, token.n);
            n += token.n;
        }
    }
    if (n > 0) {
        return mc_headers_set_known_ref(headers, id, (mc_slice){kept, n});
    }
    mc_headers_remove_known(headers, id);
    return MC_OK;
}

static mc_status keep_options(mc_headers *headers, bool (*stays)(void *, mc_slice)) {
    return keep_tokens(headers, MC_SLICE("connection"), MC_H_CONNECTION, stays, headers);
}

static bool is_no_removed_header(void *headers, mc_slice token) {
    return classify(token) != MC_H1_OPTION_NOMINATION ||
           (mc_slice_ieq(token, MC_SLICE("te")) && mc_headers_has(headers, MC_H_TE));
}

static bool is_not_of_h2c(void *headers, mc_slice token) {
    return classify(token) != MC_H1_OPTION_UPGRADE && classify(token) != MC_H1_OPTION_SETTINGS;
}

static bool is_no_upgrade(void *headers, mc_slice token) { return classify(token) != MC_H1_OPTION_UPGRADE; }

/* H1-8 */
mc_status mc_h1_sanitize_connection(mc_h1_parser *parser, mc_headers *headers, const mc_h1_options *found) {
    if (found->count >= 10) {
        return nomination_rejected(parser);
    }
    const mc_header *line;
    uint32_t at = 0;
    while (found->seen[MC_H1_OPTION_NOMINATION] > 0 &&
           (line = mc_headers_next(headers, MC_SLICE("connection"), &at)) != NULL) {
        mc_slice rest = line->value, token;
        while (mc_slice_next(&rest, ',', &token)) {
            mc_status status = remove_nominated(parser, headers, token);
            if (status != MC_OK) {
                return status;
            }
        }
    }
    return found->seen[MC_H1_OPTION_NOMINATION] > 0 ? keep_options(headers, is_no_removed_header) : MC_OK;
}

/* The value of `connection` without the tokens of an h2c upgrade, as one line; the line goes when nothing is left. */
mc_status mc_h1_strip_h2c(mc_headers *headers) {
    mc_headers_remove_known(headers, MC_H_UPGRADE);
    mc_headers_remove(headers, MC_SLICE("http2-settings"));
    return keep_options(headers, is_not_of_h2c);
}

static bool is_upgrade_of_interest(void *ctx, mc_slice token) {
    const mc_h1_limits *limits = ctx;
    return !limits->ignores_upgrade(limits->ignore_ctx, token);
}

mc_status mc_h1_ignore_upgrades(const mc_h1_limits *limits, mc_headers *headers) {
    MC_TRY(keep_tokens(headers, MC_SLICE("upgrade"), MC_H_UPGRADE, is_upgrade_of_interest, (void *)limits));
    return mc_headers_has(headers, MC_H_UPGRADE) ? MC_OK : keep_options(headers, is_no_upgrade);
}
