#include "proxy/client_cert.h"

#include "base/read.h"

static const mc_name_value modes[] = {
    {"SANITIZE", MC_XFCC_SANITIZE},
    {"FORWARD_ONLY", MC_XFCC_FORWARD_ONLY},
    {"APPEND_FORWARD", MC_XFCC_APPEND_FORWARD},
    {"SANITIZE_SET", MC_XFCC_SANITIZE_SET},
    {"ALWAYS_FORWARD_ONLY", MC_XFCC_ALWAYS_FORWARD_ONLY},
    {NULL, 0},
};

static mc_status read_action(void *ctx, const mc_value *extension, const void **out, mc_error *error) {
    mc_arena *arena = ctx;
    const mc_value *typed;
    mc_client_cert_rules *rules = mc_arena_zalloc(arena, sizeof *rules);
    if (rules == NULL) {
        return MC_ENOMEM;
    }
    MC_TRY(mc_value_read_object(extension, "typed_config", &typed, error));
    if (!mc_slice_eq(mc_any_type(typed), MC_SLICE("envoy.extensions.filters.network.http_connection_manager.v3."
                                                  "HttpConnectionManager.ForwardClientCertConfig"))) {
        return mc_error_set(error, MC_EINVAL, "typed_config", "must be a ForwardClientCertConfig");
    }
    *out = rules;
    return mc_error_in(mc_client_cert_rules_read(arena, typed, rules, error), error, "typed_config");
}

static mc_status read_tree(mc_arena *arena, const mc_value *config, mc_client_cert_rules *out, mc_error *error) {
    static const char field[] = "forward_client_cert_matcher";
    const mc_tree_actions actions = {read_action, arena};
    const mc_value *matcher;
    bool reads_info = false; /* it is given whatever is read */
    MC_TRY(mc_value_read_object(config, field, &matcher, error));
    return matcher == NULL
               ? MC_OK
               : mc_error_in(mc_matcher_tree_compile(arena, matcher, &actions, &out->tree, &reads_info, error), error,
                             field);
}

mc_status mc_client_cert_rules_find(const mc_client_cert_rules *rules, const mc_route_request *request,
                                    const mc_client_cert_rules **out) {
    const void *found = NULL;
    mc_match_input input = {.request = request};
    const mc_slice path = mc_headers_get_known(request->headers, MC_H_PATH);
    input.path = input.whole = mc_slice_until(path, mc_slice_find(path, '?'));
    input.query = mc_slice_from(path, input.path.n + 1);
    MC_TRY(mc_matcher_tree_find(rules->tree, &input, &found));
    *out = found == NULL ? rules : found;
    return MC_OK;
}

mc_status mc_client_cert_rules_read(mc_arena *arena, const mc_value *config, mc_client_cert_rules *out,
                                    mc_error *error) {
    const mc_value *details;
    uint64_t mode = MC_XFCC_SANITIZE;
    MC_TRY(mc_read_enum(config, "forward_client_cert_details", modes, &mode, error));
    out->mode = (mc_xfcc_mode)mode;
    MC_TRY(mc_value_read_object(config, "set_current_client_cert_details", &details, error));
    const struct {
        const char *name;
        bool *flag;
    } flags[] = {{"cert", &out->cert},
                 {"chain", &out->chain},
                 {"subject", &out->subject},
                 {"uri", &out->uri},
                 {"dns", &out->dns}};
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        MC_TRY(mc_error_in(mc_value_read_bool(details, flags[i].name, flags[i].flag, error), error,
                           "set_current_client_cert_details"));
    }
    return read_tree(arena, config, out, error);
}

/* The element under construction; with `p` NULL it is only measured. */
typedef struct writer {
    char *p;
    size_t n;
} writer;

static void put(writer *out, mc_slice text) {
    if (out->p != NULL && text.n > 0) {
        memcpy(out->p + out->n, text.p, text.n);
    }
    out->n += text.n;
}

/* Base64 and line ends as they may stand in a header: what is not plain there is escaped. */
static void put_url(writer *out, mc_slice text) {
    for (size_t i = 0; i < text.n; i++) {
        switch (text.p[i]) {
        case '\n': put(out, MC_SLICE("%0A")); break;
        case ' ': put(out, MC_SLICE("%20")); break;
        case '+': put(out, MC_SLICE("%2B")); break;
        case '/': put(out, MC_SLICE("%2F")); break;
        case '=': put(out, MC_SLICE("%3D")); break;
        default: put(out, mc_slice_of(text.p + i, 1));
        }
    }
}

static void put_pair(writer *out, mc_slice key, mc_slice value) {
    if (out->n > 0) {
        put(out, MC_SLICE(";"));
    }
    put(out, key);
    put(out, value);
}

static void put_each(writer *out, mc_slice key, mc_slices values) {
    for (uint32_t i = 0; i < values.count; i++) {
        put_pair(out, key, values.items[i]);
    }
}

static void put_pem(writer *out, mc_slice key, mc_slice pem) {
    if (pem.n > 0) {
        put_pair(out, key, MC_SLICE_NONE);
        put_url(out, pem);
        put(out, MC_SLICE("\""));
    }
}

static void put_element(writer *out, const mc_client_cert_rules *rules, const mc_tls_info *tls) {
    const mc_certificate *peer = tls->peer;
    if (tls->local != NULL) {
        put_each(out, MC_SLICE("By="), tls->local->uri_sans);
    }
    if (peer->sha256.n > 0) {
        put_pair(out, MC_SLICE("Hash="), peer->sha256);
    }
    if (rules->cert) {
        put_pem(out, MC_SLICE("Cert=\""), peer->pem);
    }
    if (rules->chain) {
        put_pem(out, MC_SLICE("Chain=\""), peer->chain_pem);
    }
    if (rules->subject) {
        put_pair(out, MC_SLICE("Subject=\""), peer->subject);
        put(out, MC_SLICE("\""));
    }
    if (rules->uri) {
        put_each(out, MC_SLICE("URI="), peer->uri_sans);
        if (peer->uri_sans.count == 0) {
            put_pair(out, MC_SLICE("URI="), MC_SLICE_NONE);
        }
    }
    if (rules->dns) {
        put_each(out, MC_SLICE("DNS="), peer->dns_sans);
    }
}

mc_status mc_client_cert_apply(const mc_client_cert_rules *rules, const mc_tls_info *tls, mc_headers *headers) {
    if (rules->mode == MC_XFCC_ALWAYS_FORWARD_ONLY) {
        return MC_OK;
    }
    if (rules->mode == MC_XFCC_SANITIZE || tls == NULL || tls->peer == NULL) {
        mc_headers_remove_known(headers, MC_H_X_FORWARDED_CLIENT_CERT);
        return MC_OK;
    }
    if (rules->mode == MC_XFCC_FORWARD_ONLY) {
        return MC_OK;
    }
    writer measure = {NULL, 0};
    put_element(&measure, rules, tls);
    writer out = {mc_arena_bytes(headers->arena, measure.n + 1), 0};
    if (out.p == NULL) {
        return MC_ENOMEM;
    }
    put_element(&out, rules, tls);
    mc_slice element = mc_slice_of(out.p, out.n);
    return rules->mode == MC_XFCC_SANITIZE_SET
               ? mc_headers_set_known_ref(headers, MC_H_X_FORWARDED_CLIENT_CERT, element)
               : mc_headers_append_value(headers, MC_H_X_FORWARDED_CLIENT_CERT, MC_SLICE(","), element);
}
