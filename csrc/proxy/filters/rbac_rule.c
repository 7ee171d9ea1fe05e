#include "proxy/filters/rbac_rule.h"

#include "base/cidr.h"
#include "route/match_metadata.h"

typedef enum rule_kind {
    RULE_ANY,
    RULE_AND,
    RULE_OR,
    RULE_NOT,
    RULE_HEADER,
    RULE_PATH,
    RULE_SERVER_NAME,
    RULE_LOCAL_IP,
    RULE_LOCAL_PORT,
    RULE_PEER_IP,   /* of the connection */
    RULE_REMOTE_IP, /* of the client, after x-forwarded-for */
    RULE_AUTHENTICATED,
    RULE_MATCHER, /* of the route room */
    RULE_ROUTE_METADATA,
    RULE_UPSTREAM, /* what the dynamic forward proxy found, and was told to save */
} rule_kind;

typedef struct upstream_range {
    bool has_ip, has_ports;
    mc_cidr ip;
    int64_t first_port, last_port;
} upstream_range;

struct mc_rbac_rule {
    rule_kind kind;
    bool invert; /* RULE_HEADER: invert_match; RULE_AUTHENTICATED: any name will do */
    uint32_t count, first_port, end_port;
    mc_rbac_rule *children;
    mc_header_key header;
    mc_matcher matcher;
    mc_string_match text;
    mc_metadata_match metadata; /* RULE_ROUTE_METADATA */
    mc_cidr cidr;
    const upstream_range *upstream; /* RULE_UPSTREAM */
};

/* FL-16: each value of a repeated header on its own; inverted, none may match. */
static int header_holds(const mc_rbac_rule *rule, const mc_rbac_subject *subject) {
    const mc_headers *headers = subject->request.headers;
    uint32_t at = 0, values = 0;
    while (mc_headers_next(headers, rule->header.name, &at) != NULL) {
        values++;
    }
    if (values < 2) {
        return rule->matcher.match(rule->matcher.self, &subject->input);
    }
    const mc_header *header;
    for (at = 0; (header = mc_headers_next(headers, rule->header.name, &at)) != NULL;) {
        mc_headers one;
        mc_route_request request = subject->request;
        mc_match_input input = subject->input;
        mc_headers_init(&one, subject->request.arena);
        if (mc_headers_add_ref(&one, rule->header.id, header->name, header->value) != MC_OK) {
            return MC_ENOMEM;
        }
        request.headers = &one;
        input.request = &request;
        int holds = rule->matcher.match(rule->matcher.self, &input);
        if (holds < 0 || (holds == 1) != rule->invert) {
            return holds;
        }
    }
    return rule->invert;
}

static bool in_range(const mc_cidr *range, const mc_address *address) {
    return address != NULL && mc_address_in_prefix(address, &range->network, range->bits);
}

static bool upstream_holds(const upstream_range *range, const mc_stream_info *info) {
    const mc_value *saved = mc_value_get(info->filter_state, "envoy.stream.upstream_address");
    mc_address address;
    uint64_t port;
    if (saved == NULL || saved->kind != MC_STRING) {
        return false;
    }
    size_t colon = saved->string.n;
    while (colon > 0 && saved->string.p[colon - 1] != ':') {
        colon--;
    }
    mc_slice ip = mc_slice_until(saved->string, colon == 0 ? 0 : colon - 1);
    if (ip.n > 1 && ip.p[0] == '[') {
        ip = mc_slice_of(ip.p + 1, ip.n - 2);
    }
    if (mc_slice_number(mc_slice_from(saved->string, colon), UINT16_MAX, &port) != MC_OK ||
        mc_address_parse(&address, ip, (uint16_t)port) != MC_OK) {
        return false;
    }
    return (!range->has_ip || in_range(&range->ip, &address)) &&
           (!range->has_ports || ((int64_t)port >= range->first_port && (int64_t)port <= range->last_port));
}

static int any_text(const mc_string_match *match, mc_slices texts) {
    int holds = 0;
    for (uint32_t i = 0; i < texts.count && holds == 0; i++) {
        holds = mc_string_match_test(match, texts.items[i]);
    }
    return holds;
}

static int authenticated(const mc_rbac_rule *rule, const mc_rbac_subject *subject) {
    const mc_tls_info *tls = subject->info->downstream_tls;
    if (tls == NULL) {
        return 0;
    }
    if (rule->invert) {
        return 1;
    }
    const mc_certificate *peer = tls->peer;
    if (peer == NULL) {
        return mc_string_match_test(&rule->text, MC_SLICE(""));
    }
    int holds = any_text(&rule->text, peer->uri_sans);
    holds = holds == 0 ? any_text(&rule->text, peer->dns_sans) : holds;
    return holds == 0 ? mc_string_match_test(&rule->text, peer->subject) : holds;
}

static int all_hold(const mc_rbac_rule *rule, const mc_rbac_subject *subject) {
    int holds = 1;
    for (uint32_t i = 0; i < rule->count && holds == 1; i++) {
        holds = mc_rbac_rule_holds(&rule->children[i], subject);
    }
    return holds;
}

static int one_holds(const mc_rbac_rule *rule, const mc_rbac_subject *subject) {
    int holds = 0;
    for (uint32_t i = 0; i < rule->count && holds == 0; i++) {
        holds = mc_rbac_rule_holds(&rule->children[i], subject);
    }
    return holds;
}

int mc_rbac_rule_holds(const mc_rbac_rule *rule, const mc_rbac_subject *subject) {
    const mc_stream_info *info = subject->info;
    int holds;
    switch (rule->kind) {
    case RULE_ANY: return 1;
    case RULE_AND: return all_hold(rule, subject);
    case RULE_OR: return one_holds(rule, subject);
    case RULE_NOT: holds = mc_rbac_rule_holds(rule->children, subject); return holds < 0 ? holds : !holds;
    case RULE_HEADER: return header_holds(rule, subject);
    case RULE_PATH: return mc_string_match_test(&rule->text, subject->input.path);
    case RULE_SERVER_NAME: return mc_string_match_test(&rule->text, info->requested_server_name);
    case RULE_LOCAL_IP: return in_range(&rule->cidr, info->downstream_local);
    case RULE_LOCAL_PORT: {
        uint32_t port = info->downstream_local == NULL ? 0 : mc_address_port(info->downstream_local);
        return port >= rule->first_port && port < rule->end_port;
    }
    case RULE_UPSTREAM: return upstream_holds(rule->upstream, info);
    case RULE_PEER_IP: return in_range(&rule->cidr, info->downstream_direct_remote);
    case RULE_REMOTE_IP: return in_range(&rule->cidr, info->downstream_remote);
    case RULE_AUTHENTICATED: return authenticated(rule, subject);
    case RULE_MATCHER: return rule->matcher.match(rule->matcher.self, &subject->input);
    case RULE_ROUTE_METADATA: {
        const mc_route_match *match = subject->filter == NULL ? NULL : mc_filter_match(subject->filter);
        return match == NULL || match->route == NULL ? 0
                                                     : mc_metadata_match_test(&rule->metadata, match->route->metadata);
    }
    }
    return 0;
}

/* --- compiling ------------------------------------------------------------------------------------------------------------ */

static mc_status read_rule(mc_filter_compile *c, const mc_value *value, mc_rbac_rule *out);

static mc_status read_rules(mc_filter_compile *c, const mc_value *object, const char *field, rule_kind kind,
                            mc_rbac_rule *out) {
    const mc_value *list;
    size_t count;
    MC_TRY(mc_value_read_list(object, field, &list, &count, c->error));
    if (count == 0) {
        return mc_error_set(c->error, MC_EINVAL, field, "must have at least one entry");
    }
    out->kind = kind;
    out->count = (uint32_t)count;
    out->children = mc_arena_zalloc(c->arena, count * sizeof *out->children);
    if (out->children == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(read_rule(c, &list[i], &out->children[i]), c->error, "%s[%zu]", field, i));
    }
    return MC_OK;
}

static mc_status read_header(mc_filter_compile *c, const mc_value *value, mc_rbac_rule *out) {
    mc_slice name = MC_SLICE_NONE;
    MC_TRY(mc_value_read_string(value, "name", &name, c->error));
    MC_TRY(mc_value_read_bool(value, "invert_match", &out->invert, c->error));
    MC_TRY(mc_dup_lower(c->arena, name, &out->header.name));
    out->header.id = mc_header_lookup(out->header.name);
    return mc_match_header_compile(c->arena, value, &out->matcher, c->error);
}

static mc_status read_port(mc_filter_compile *c, const mc_value *value, const char *field, mc_rbac_rule *out) {
    MC_TRY(mc_value_read_u32(value, field, &out->first_port, c->error));
    out->end_port = out->first_port + 1;
    return MC_OK;
}

static mc_status read_ports(mc_filter_compile *c, const mc_value *value, mc_rbac_rule *out) {
    MC_TRY(mc_value_read_u32(value, "start", &out->first_port, c->error));
    MC_TRY(mc_value_read_u32(value, "end", &out->end_port, c->error));
    if (out->end_port <= out->first_port || out->end_port > 65536) {
        return mc_error_set(c->error, MC_EINVAL, "", "must be a range of ports that is not empty");
    }
    return MC_OK;
}

static mc_status read_authenticated(mc_filter_compile *c, const mc_value *value, mc_rbac_rule *out) {
    const mc_value *name;
    MC_TRY(mc_value_read_object(value, "principal_name", &name, c->error));
    out->invert = name == NULL;
    return name == NULL
               ? MC_OK
               : mc_error_in(mc_string_match_compile(c->arena, name, &out->text, c->error), c->error, "principal_name");
}

static mc_status read_path(mc_filter_compile *c, const mc_value *value, mc_rbac_rule *out) {
    const mc_value *path;
    MC_TRY(mc_value_read_object(value, "path", &path, c->error));
    return path == NULL ? mc_error_set(c->error, MC_EINVAL, "path", "is required")
                        : mc_error_in(mc_string_match_compile(c->arena, path, &out->text, c->error), c->error, "path");
}

static mc_status read_not(mc_filter_compile *c, const mc_value *value, mc_rbac_rule *out) {
    out->children = mc_arena_zalloc(c->arena, sizeof *out->children);
    out->count = 1;
    return out->children == NULL ? MC_ENOMEM : read_rule(c, value, out->children);
}

static mc_status read_text(mc_filter_compile *c, const mc_value *value, mc_rbac_rule *out) {
    return mc_string_match_compile(c->arena, value, &out->text, c->error);
}
static mc_status read_and(mc_filter_compile *c, const mc_value *value, mc_rbac_rule *out) {
    return read_rules(c, value, mc_value_get(value, "ids") != NULL ? "ids" : "rules", RULE_AND, out);
}
static mc_status read_or(mc_filter_compile *c, const mc_value *value, mc_rbac_rule *out) {
    return read_rules(c, value, mc_value_get(value, "ids") != NULL ? "ids" : "rules", RULE_OR, out);
}
static mc_status read_cidr(mc_filter_compile *c, const mc_value *value, mc_rbac_rule *out) {
    return mc_cidr_read(value, &out->cidr, c->error);
}

static mc_status read_metadata(mc_filter_compile *c, const mc_value *value, mc_rbac_rule *out) {
    return mc_match_metadata_compile(c->arena, value, &out->matcher, c->error);
}
static mc_status read_sourced(mc_filter_compile *c, const mc_value *value, mc_rbac_rule *out) {
    const mc_value *matcher;
    mc_slice source = MC_SLICE_NONE;
    MC_TRY(mc_value_read_string(value, "metadata_source", &source, c->error));
    MC_TRY(mc_value_read_object(value, "metadata_matcher", &matcher, c->error));
    if (matcher == NULL) {
        return mc_error_set(c->error, MC_EINVAL, "metadata_matcher", "is required");
    }
    if (!mc_slice_eq(source, MC_SLICE("ROUTE"))) {
        return mc_error_in(read_metadata(c, matcher, out), c->error, "metadata_matcher");
    }
    out->kind = RULE_ROUTE_METADATA;
    return mc_error_in(mc_metadata_match_compile(c->arena, matcher, &out->metadata, c->error), c->error,
                       "metadata_matcher");
}
static mc_status read_template(mc_filter_compile *c, const mc_value *value, mc_rbac_rule *out) {
    return mc_match_template_compile(c->arena, value, &out->matcher, c->error);
}
static mc_status read_filter_state(mc_filter_compile *c, const mc_value *value, mc_rbac_rule *out) {
    return mc_match_filter_state_compile(c->arena, value, &out->matcher, c->error);
}

/* The end of its ports, which is none of them elsewhere, is one here. */
static mc_status read_upstream(mc_filter_compile *c, const mc_value *typed, mc_rbac_rule *out) {
    const mc_value *ip, *ports;
    upstream_range *range = mc_arena_zalloc(c->arena, sizeof *range);
    out->upstream = range;
    if (range == NULL) {
        return MC_ENOMEM;
    }
    MC_TRY(mc_value_read_object(typed, "upstream_ip", &ip, c->error));
    MC_TRY(mc_value_read_object(typed, "upstream_port_range", &ports, c->error));
    if (ip == NULL && ports == NULL) {
        return mc_error_set(c->error, MC_EINVAL, "", "must have upstream_ip or upstream_port_range");
    }
    range->has_ip = ip != NULL;
    range->has_ports = ports != NULL;
    MC_TRY(ip == NULL ? MC_OK : mc_error_in(mc_cidr_read(ip, &range->ip, c->error), c->error, "upstream_ip"));
    if (ports == NULL) {
        return MC_OK;
    }
    MC_TRY(
        mc_error_in(mc_value_read_i64(ports, "start", &range->first_port, c->error), c->error, "upstream_port_range"));
    return mc_error_in(mc_value_read_i64(ports, "end", &range->last_port, c->error), c->error, "upstream_port_range");
}

static mc_status read_matcher(mc_filter_compile *c, const mc_value *extension, mc_rbac_rule *out) {
    static const char type[] = "envoy.extensions.rbac.matchers.upstream_ip_port.v3.UpstreamIpPortMatcher";
    const mc_value *typed;
    MC_TRY(mc_value_read_object(extension, "typed_config", &typed, c->error));
    if (!mc_slice_eq(mc_any_type(typed), mc_slice_cstr(type))) {
        return mc_error_set(c->error, MC_EINVAL, "typed_config", "must be an %s", type);
    }
    return mc_error_in(read_upstream(c, typed, out), c->error, "typed_config");
}

/* The fields of Permission and Principal; a message has one of them. */
static const struct {
    const char *field;
    rule_kind kind;
    mc_status (*read)(mc_filter_compile *c, const mc_value *value, mc_rbac_rule *out); /* NULL: a scalar */
} fields[] = {
    {"any", RULE_ANY, NULL},
    {"and_rules", RULE_AND, read_and},
    {"or_rules", RULE_OR, read_or},
    {"not_rule", RULE_NOT, read_not},
    {"and_ids", RULE_AND, read_and},
    {"or_ids", RULE_OR, read_or},
    {"not_id", RULE_NOT, read_not},
    {"header", RULE_HEADER, read_header},
    {"url_path", RULE_PATH, read_path},
    {"requested_server_name", RULE_SERVER_NAME, read_text},
    {"destination_ip", RULE_LOCAL_IP, read_cidr},
    {"destination_port", RULE_LOCAL_PORT, NULL},
    {"destination_port_range", RULE_LOCAL_PORT, read_ports},
    {"source_ip", RULE_PEER_IP, read_cidr},
    {"direct_remote_ip", RULE_PEER_IP, read_cidr},
    {"remote_ip", RULE_REMOTE_IP, read_cidr},
    {"authenticated", RULE_AUTHENTICATED, read_authenticated},
    {"metadata", RULE_MATCHER, read_metadata},
    {"sourced_metadata", RULE_MATCHER, read_sourced},
    {"uri_template", RULE_MATCHER, read_template},
    {"filter_state", RULE_MATCHER, read_filter_state},
    {"matcher", RULE_UPSTREAM, read_matcher},
};

static mc_status read_rule(mc_filter_compile *c, const mc_value *value, mc_rbac_rule *out) {
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        const mc_value *given = mc_value_get(value, fields[i].field);
        if (given == NULL) {
            continue;
        }
        out->kind = fields[i].kind;
        if (fields[i].read == NULL) {
            return out->kind == RULE_ANY ? MC_OK : read_port(c, value, fields[i].field, out);
        }
        return mc_error_in(fields[i].read(c, given, out), c->error, "%s", fields[i].field);
    }
    return mc_error_set(c->error, MC_EINVAL, "", "must have a rule that is supported");
}

bool mc_rbac_rule_reads_headers(const mc_rbac_rule *rule) {
    bool reads = rule->kind == RULE_HEADER;
    for (uint32_t i = 0; i < rule->count && !reads; i++) {
        reads = mc_rbac_rule_reads_headers(&rule->children[i]);
    }
    return reads;
}

mc_status mc_rbac_rule_compile(mc_filter_compile *c, const mc_value *object, const char *field,
                               const mc_rbac_rule **out) {
    mc_rbac_rule *rule = mc_arena_zalloc(c->arena, sizeof *rule);
    *out = rule;
    return rule == NULL ? MC_ENOMEM : read_rules(c, object, field, RULE_OR, rule);
}
