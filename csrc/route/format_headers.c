/* Operators that read headers: REQ and its kin, PATH, QUERY_PARAM, GRPC_STATUS, STREAM_ID, REQUESTED_SERVER_NAME. */
#include "http/grpc.h"
#include "http/uri.h"
#include "route/compile.h"
#include "route/format_evals.h"

static const mc_headers *map_of(const mc_stream_info *info, unsigned map) {
    const mc_headers *maps[] = {info->request, info->response, info->response_trailers};
    return maps[map];
}

/* The first value; p == NULL: absent. */
static mc_slice find(const mc_headers *headers, mc_slice name) {
    return headers == NULL || name.n == 0 ? MC_SLICE_NONE : mc_headers_get(headers, name);
}

static mc_format_result text_of(mc_slice value, mc_text *out) {
    if (value.p == NULL) {
        return MC_FORMAT_NOTHING;
    }
    mc_text_add(out, value);
    return MC_FORMAT_SOME;
}

/* --- REQ, RESP, TRAILER (A?B) ---------------------------------------------------------------------------------------------- */

bool mc_format_header_valid(mc_slice name) {
    for (size_t i = name.n > 1 && name.p[0] == ':'; i < name.n; i++) {
        unsigned char c = (unsigned char)name.p[i];
        bool token = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
        if (!token) {
            return false;
        }
    }
    return true;
}

MC_FORMAT_PARSER(mc_format_parse_headers) {
    size_t mark = mc_slice_find(argument, '?');
    mc_slice first = mc_slice_until(argument, mark), second = mc_slice_from(argument, mark + 1);
    if (mc_slice_find(second, '?') < second.n) {
        return mc_error_set(error, MC_EINVAL, "", "%%%s%% takes one alternative header: %.*s", op->command->name,
                            MC_SLICE_ARG(argument));
    }
    if (!mc_format_header_valid(first) || !mc_format_header_valid(second)) {
        return mc_error_set(error, MC_EINVAL, "", "%%%s%% names no valid header: %.*s", op->command->name,
                            MC_SLICE_ARG(argument));
    }
    MC_TRY(mc_dup_lower(arena, first, &op->text));
    return mc_dup_lower(arena, second, &op->second);
}

MC_FORMAT_EVAL(mc_format_eval_header) {
    const mc_headers *headers = map_of(info, op->command->variant);
    mc_slice value = find(headers, op->text);
    return text_of(value.p == NULL ? find(headers, op->second) : value, out);
}

MC_FORMAT_EVAL(mc_format_eval_header_without_query) {
    const size_t start = out->n;
    mc_format_result result = mc_format_eval_header(op, info, out);
    if (out->n > start) {
        out->n = start + mc_slice_find(mc_slice_of(out->p + start, out->n - start), '?');
    }
    return result;
}

MC_FORMAT_EVAL(mc_format_eval_header_bytes) {
    const mc_headers *headers = map_of(info, op->command->variant);
    uint64_t known = MC_FORMAT_FIELD(uint64_t, op, info);
    return MC_FORMAT_COUNT(known != 0 || headers == NULL ? known : headers->bytes);
}

MC_FORMAT_EVAL(mc_format_eval_stream_id) {
    mc_slice id = info->stream_id_text;
    return id.p == NULL ? text_of(find(info->request, MC_SLICE("x-request-id")), out) : mc_format_slice(id, out);
}

/* --- PATH, QUERY_PARAM, QUERY_PARAMS ------------------------------------------------------------------------------------------ */

enum { ORIGINAL_OR_PATH, ORIGINAL, CURRENT_PATH };

static mc_status bad_option(mc_error *error, const mc_format_op *op, mc_slice option, const char *allowed) {
    return mc_error_set(error, MC_EINVAL, "", "%%%s%% option '%.*s' is not one of %s", op->command->name,
                        MC_SLICE_ARG(option), allowed);
}

/* "first:second"; as in Envoy, what follows has no meaning. */
static void two_options(mc_slice argument, mc_slice parts[2]) {
    size_t colon = mc_slice_find(argument, ':');
    mc_slice rest = mc_slice_from(argument, colon + 1);
    parts[0] = mc_slice_until(argument, colon);
    parts[1] = mc_slice_until(rest, mc_slice_find(rest, ':'));
}

MC_FORMAT_PARSER(mc_format_parse_path) {
    mc_slice parts[2];
    two_options(argument, parts);
    if (mc_slice_eq(parts[0], MC_SLICE("NQ"))) {
        op->mode = 1;
    } else if (parts[0].n > 0 && !mc_slice_eq(parts[0], MC_SLICE("WQ"))) {
        return bad_option(error, op, parts[0], "WQ, NQ");
    }
    if (mc_slice_eq(parts[1], MC_SLICE("ORIG"))) {
        op->scope = ORIGINAL;
    } else if (mc_slice_eq(parts[1], MC_SLICE("PATH"))) {
        op->scope = CURRENT_PATH;
    } else if (parts[1].n > 0 && !mc_slice_eq(parts[1], MC_SLICE("ORIG_OR_PATH"))) {
        return bad_option(error, op, parts[1], "ORIG, PATH, ORIG_OR_PATH");
    }
    return MC_OK;
}

static mc_slice path_of(const mc_stream_info *info, unsigned scope) {
    mc_slice path = scope == CURRENT_PATH ? MC_SLICE_NONE : find(info->request, MC_SLICE("x-envoy-original-path"));
    return path.p == NULL && scope != ORIGINAL ? find(info->request, MC_SLICE(":path")) : path;
}

MC_FORMAT_EVAL(mc_format_eval_path) {
    mc_slice path = path_of(info, op->scope);
    return text_of(path.p != NULL && op->mode == 1 ? mc_slice_until(path, mc_slice_find(path, '?')) : path, out);
}

MC_FORMAT_PARSER(mc_format_parse_query_param) {
    op->text = argument;
    return MC_OK;
}

/* What follows the first '?'; absent without one. */
static mc_slice query_of(mc_slice path) {
    size_t mark = mc_slice_find(path, '?');
    return mark == path.n ? MC_SLICE_NONE : (mc_slice){path.p + mark + 1, path.n - mark - 1};
}

/* Writes `text` with each %XX decoded. */
static void add_decoded(mc_slice text, mc_text *out) {
    for (size_t i = 0; i < text.n; i++) {
        int byte = text.p[i] == '%' ? mc_percent_byte(mc_slice_from(text, i)) : -1;
        char c = byte >= 0 ? (char)byte : text.p[i];
        i += byte >= 0 ? 2 : 0;
        mc_text_add(out, mc_slice_of(&c, 1));
    }
}

/* Whether decoding `text` gives `plain`. */
static bool decodes_to(mc_slice text, mc_slice plain) {
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++, n++) {
        int byte = text.p[i] == '%' ? mc_percent_byte(mc_slice_from(text, i)) : -1;
        char c = byte >= 0 ? (char)byte : text.p[i];
        i += byte >= 0 ? 2 : 0;
        if (n >= plain.n || plain.p[n] != c) {
            return false;
        }
    }
    return n == plain.n;
}

MC_FORMAT_EVAL(mc_format_eval_query_param) {
    mc_slice rest = query_of(find(info->request, MC_SLICE(":path")));
    rest = mc_slice_until(rest, mc_slice_find(rest, '#'));
    while (rest.n > 0) {
        size_t end = mc_slice_find(rest, '&');
        mc_slice pair = mc_slice_until(rest, end);
        size_t equals = mc_slice_find(pair, '=');
        if (pair.n > 0 && decodes_to(mc_slice_until(pair, equals), op->text)) {
            add_decoded(mc_slice_from(pair, equals + 1), out);
            return MC_FORMAT_SOME;
        }
        rest = mc_slice_from(rest, end + 1);
    }
    return MC_FORMAT_NOTHING;
}

MC_FORMAT_PARSER(mc_format_parse_query_params) {
    op->mode = mc_slice_eq(argument, MC_SLICE("DECODED"));
    if (argument.n > 0 && op->mode == 0 && !mc_slice_eq(argument, MC_SLICE("ORIG"))) {
        return bad_option(error, op, argument, "ORIG, DECODED");
    }
    return MC_OK;
}

/* What may stand in a URI: RFC 3986, 2.2 and 2.3, "%" and, as Envoy has it, "`". */
static bool stands_in_uri(int byte) { return byte > ' ' && byte < 0x7f && strchr("\"<>\\^{|}", byte) == NULL; }

/* Writes a query with each %XX decoded whose byte may stand in a URI; of what only looks like one the "%" is left out, as by
 * Envoy. */
static void add_decoded_query(mc_slice text, mc_text *out) {
    for (size_t i = 0; i < text.n; i++) {
        const bool escape = text.p[i] == '%' && i + 2 < text.n;
        const int byte = escape ? mc_percent_byte(mc_slice_from(text, i)) : -1;
        const size_t n = byte >= 0 ? 3 : 1;
        if (stands_in_uri(byte)) {
            mc_text_add(out, mc_slice_of(&(char){(char)byte}, 1));
        } else if (byte >= 0 || !escape) {
            mc_text_add(out, mc_slice_of(text.p + i, n));
        }
        i += n - 1;
    }
}

MC_FORMAT_EVAL(mc_format_eval_query_params) {
    mc_slice query = query_of(find(info->request, MC_SLICE(":path")));
    if (query.p == NULL) {
        return MC_FORMAT_NOTHING;
    }
    if (op->mode == 1) {
        add_decoded_query(query, out);
    } else {
        mc_text_add(out, query);
    }
    return MC_FORMAT_SOME;
}

/* --- GRPC_STATUS -------------------------------------------------------------------------------------------------------------- */

enum { CAMEL, NUMBER, SNAKE };

MC_FORMAT_PARSER(mc_format_parse_grpc_status) {
    op->mode = op->command->variant == 1 ? NUMBER : CAMEL;
    if (mc_slice_eq(argument, MC_SLICE("SNAKE_STRING"))) {
        op->mode = SNAKE;
    } else if (mc_slice_eq(argument, MC_SLICE("NUMBER"))) {
        op->mode = NUMBER;
    } else if (argument.n > 0 && !mc_slice_eq(argument, MC_SLICE("CAMEL_STRING"))) {
        return bad_option(error, op, argument, "CAMEL_STRING, SNAKE_STRING, NUMBER");
    }
    return MC_OK;
}

/* From trailers, else headers, else the HTTP status; an empty one is none. -1: what is there is no number. */
static bool grpc_status(const mc_stream_info *info, int64_t *out) {
    mc_slice text = find(info->response_trailers, MC_SLICE("grpc-status"));
    uint64_t value;
    if (text.n == 0) {
        text = find(info->response, MC_SLICE("grpc-status"));
    }
    if (text.n > 0) {
        *out = mc_slice_u64(text, &value) == MC_OK && value <= INT32_MAX ? (int64_t)value : -1;
        return true;
    }
    if (info->status == 0) {
        return false;
    }
    *out = mc_grpc_from_http(info->status);
    return true;
}

MC_FORMAT_EVAL(mc_format_eval_grpc_status) {
    int64_t status;
    if (info->request == NULL || !mc_grpc_request(info->request) || !grpc_status(info, &status)) {
        return MC_FORMAT_NOTHING;
    }
    mc_slice name =
        op->mode == NUMBER || status < 0 ? MC_SLICE_NONE : mc_grpc_status_name((uint64_t)status, op->mode == SNAKE);
    if (name.p != NULL) {
        mc_text_add(out, name);
        return MC_FORMAT_SOME;
    }
    if (op->mode == NUMBER) {
        static const mc_value none = {.kind = MC_NUMBER, .number = -1};
        return status >= 0 ? MC_FORMAT_COUNT((uint64_t)status)
                           : (mc_format_result){.kind = MC_FORMAT_VALUE, .value = &none};
    }
    mc_text_i64(out, status);
    return MC_FORMAT_SOME;
}

/* --- REQUESTED_SERVER_NAME ------------------------------------------------------------------------------------------------------ */

enum { SNI_ONLY, SNI_FIRST, HOST_FIRST };

MC_FORMAT_PARSER(mc_format_parse_server_name) {
    mc_slice parts[2];
    two_options(argument, parts);
    if (mc_slice_eq(parts[0], MC_SLICE("SNI_FIRST"))) {
        op->mode = SNI_FIRST;
    } else if (mc_slice_eq(parts[0], MC_SLICE("HOST_FIRST"))) {
        op->mode = HOST_FIRST;
    } else if (parts[0].n > 0 && !mc_slice_eq(parts[0], MC_SLICE("SNI_ONLY"))) {
        return bad_option(error, op, parts[0], "SNI_ONLY, SNI_FIRST, HOST_FIRST");
    }
    if (mc_slice_eq(parts[1], MC_SLICE("ORIG"))) {
        op->scope = ORIGINAL;
    } else if (mc_slice_eq(parts[1], MC_SLICE("HOST"))) {
        op->scope = CURRENT_PATH;
    } else if (parts[1].n > 0 && !mc_slice_eq(parts[1], MC_SLICE("ORIG_OR_HOST"))) {
        return bad_option(error, op, parts[1], "ORIG, HOST, ORIG_OR_HOST");
    }
    return MC_OK;
}

/* A name from the client goes into a log: what no host name has becomes '_', and the name is marked. */
static void add_server_name(mc_slice name, mc_text *out) {
    const size_t start = out->n;
    bool clean = true;
    mc_text_add(out, name);
    for (size_t i = start; i < out->n; i++) {
        char c = out->p[i];
        bool good =
            (c >= '0' && c <= '9') || (mc_ascii_lower(c) >= 'a' && mc_ascii_lower(c) <= 'z') || c == '.' || c == '-';
        out->p[i] = good ? c : '_';
        clean = clean && good;
    }
    if (!clean && !out->failed) {
        mc_slice mark = MC_SLICE("invalid:");
        mc_text_add(out, mark);
        memmove(out->p + start + mark.n, out->p + start, out->n - start - mark.n);
        memcpy(out->p + start, mark.p, mark.n);
    }
}

static mc_slice host_of(const mc_stream_info *info, unsigned scope) {
    mc_slice host = scope == CURRENT_PATH ? MC_SLICE_NONE : find(info->request, MC_SLICE("x-envoy-original-host"));
    host = host.p == NULL && scope != ORIGINAL ? find(info->request, MC_SLICE(":authority")) : host;
    return host;
}

MC_FORMAT_EVAL(mc_format_eval_server_name) {
    mc_slice name = info->requested_server_name;
    mc_slice host = op->mode == SNI_ONLY ? MC_SLICE_NONE : host_of(info, op->scope);
    if (host.n > 0 && (op->mode == HOST_FIRST || name.n == 0)) {
        return mc_format_slice(host, out);
    }
    if (name.n == 0) {
        return MC_FORMAT_NOTHING;
    }
    add_server_name(name, out);
    return MC_FORMAT_SOME;
}

/* --- what is read ----------------------------------------------------------------------------------------------------------- */

size_t mc_format_header_names(const mc_format_op *op, mc_slice names[4], mc_header_map maps[4]) {
    size_t count = 0;
#define READS(map, name) (names[count] = (name), maps[count++] = (map))
    if (op->command->parse == mc_format_parse_headers) {
        READS(op->command->variant, op->text);
        if (op->second.n > 0) {
            READS(op->command->variant, op->second);
        }
    } else if (op->command->eval == mc_format_eval_path) {
        READS(MC_MAP_REQUEST, MC_SLICE(":path"));
        READS(MC_MAP_REQUEST, MC_SLICE("x-envoy-original-path"));
    } else if (op->command->eval == mc_format_eval_query_param || op->command->eval == mc_format_eval_query_params) {
        READS(MC_MAP_REQUEST, MC_SLICE(":path"));
    } else if (op->command->eval == mc_format_eval_grpc_status) {
        READS(MC_MAP_REQUEST, MC_SLICE(":path"));
        READS(MC_MAP_REQUEST, MC_SLICE("content-type"));
        READS(MC_MAP_RESPONSE, MC_SLICE("grpc-status"));
        READS(MC_MAP_TRAILERS, MC_SLICE("grpc-status"));
    } else if (op->command->eval == mc_format_eval_server_name && op->mode != SNI_ONLY) {
        READS(MC_MAP_REQUEST, MC_SLICE(":authority"));
        READS(MC_MAP_REQUEST, MC_SLICE("x-envoy-original-host"));
    } else if (op->command->eval == mc_format_eval_stream_id) {
        READS(MC_MAP_REQUEST, MC_SLICE("x-request-id"));
    }
#undef READS
    return count;
}
