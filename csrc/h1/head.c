/* What a head means: the start line, each field's admission, and at the end framing and persistence (RFC 9112 sections 3, 4,
 * 6, 9; rules H1-2 to H1-10, H1-14). */
#include "h1/bytes.h"
#include "h1/field.h"
#include "http/uri.h"

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* H1-2 */
static bool known_method(mc_slice method) {
    static const mc_slice methods[] = {
        MC_SLICE_INIT("GET"),         MC_SLICE_INIT("POST"),       MC_SLICE_INIT("PUT"),
        MC_SLICE_INIT("HEAD"),        MC_SLICE_INIT("DELETE"),     MC_SLICE_INIT("OPTIONS"),
        MC_SLICE_INIT("PATCH"),       MC_SLICE_INIT("CONNECT"),    MC_SLICE_INIT("TRACE"),
        MC_SLICE_INIT("ACL"),         MC_SLICE_INIT("BIND"),       MC_SLICE_INIT("CHECKOUT"),
        MC_SLICE_INIT("COPY"),        MC_SLICE_INIT("LINK"),       MC_SLICE_INIT("LOCK"),
        MC_SLICE_INIT("MERGE"),       MC_SLICE_INIT("MKACTIVITY"), MC_SLICE_INIT("MKCALENDAR"),
        MC_SLICE_INIT("MKCOL"),       MC_SLICE_INIT("MOVE"),       MC_SLICE_INIT("MSEARCH"),
        MC_SLICE_INIT("NOTIFY"),      MC_SLICE_INIT("PROPFIND"),   MC_SLICE_INIT("PROPPATCH"),
        MC_SLICE_INIT("PURGE"),       MC_SLICE_INIT("REBIND"),     MC_SLICE_INIT("REPORT"),
        MC_SLICE_INIT("SEARCH"),      MC_SLICE_INIT("SOURCE"),     MC_SLICE_INIT("SUBSCRIBE"),
        MC_SLICE_INIT("UNBIND"),      MC_SLICE_INIT("UNLINK"),     MC_SLICE_INIT("UNLOCK"),
        MC_SLICE_INIT("UNSUBSCRIBE"),
    };
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        if (mc_slice_eq(method, methods[i])) {
            return true;
        }
    }
    return false;
}

static bool all_token(mc_slice s) {
    for (size_t i = 0; i < s.n; i++) {
        if (mc_h1_lower_token[(unsigned char)s.p[i]] == 0) {
            return false;
        }
    }
    return s.n > 0;
}

/* "HTTP/" digit "." digit; the minor that matters, or -1. Anything but 1.1 counts as 1.0 (H1-4). */
static int version_minor(mc_slice version) {
    if (version.n != 8 || memcmp(version.p, "HTTP/", 5) != 0 || !is_digit(version.p[5]) || version.p[6] != '.' ||
        !is_digit(version.p[7])) {
        return -1;
    }
    return version.p[5] == '1' && version.p[7] == '1' ? 1 : 0;
}

static mc_status bad_target(mc_h1_parser *parser, unsigned char c) {
    bool control = (c < ' ' && c != '\t') || c == 0x7f;
    return mc_h1_fail(parser, MC_EPROTO, 400, control ? "http1.invalid_characters" : "http1.codec_error");
}

/* The shape every target must have (H1-3); what it says is judged by take_target(). */
static bool target_shaped(mc_slice target, bool connect) {
    if (target.n == 0) {
        return false;
    }
    if (connect || target.p[0] == '/' || target.p[0] == '*') {
        return true;
    }
    size_t scheme = mc_uri_scheme_length(target);
    bool after_at = false;
    for (size_t at = scheme + 3; scheme > 0 && at < target.n && strchr("/?", target.p[at]) == NULL; at++) {
        if (!mc_uri_authority_valid((mc_slice){target.p + at, 1}) || (after_at && target.p[at] == '@')) {
            return false;
        }
        after_at = target.p[at] == '@';
    }
    return scheme > 0;
}

static mc_status request_line(mc_h1_parser *parser, mc_h1_message *message, mc_slice line) {
    mc_slice method = mc_slice_until(line, mc_slice_find(line, ' '));
    mc_slice rest = mc_slice_from(line, method.n + 1);
    mc_slice target = mc_slice_until(rest, mc_h1_visible_length(rest));
    rest = mc_slice_from(rest, target.n);
    if (rest.n > 0 && rest.p[0] != ' ') {
        return bad_target(parser, (unsigned char)rest.p[0]);
    }
    if (!(parser->limits->allow_custom_methods ? all_token(method) : known_method(method))) {
        return mc_h1_malformed(parser);
    }
    int minor = 0;
    if (rest.n > 0) { /* nothing: HTTP/0.9 */
        rest = mc_slice_from(rest, 1);
        minor = version_minor(rest);
        message->head.version = mc_slice_from(rest, 5);
    }
    message->connect = mc_slice_eq(method, MC_SLICE("CONNECT"));
    if (message->connect && target.n == 0) {
        return mc_h1_fail_field(parser, message, MC_EPROTO, 400, "http1.invalid_url");
    }
    if (minor < 0 || !target_shaped(target, message->connect)) {
        return mc_h1_malformed(parser);
    }
    message->head.version_minor = (uint8_t)minor;
    message->field_bytes = message->fields_read = target.n;
    if (target.n > parser->limits->max_headers_bytes) {
        return mc_h1_fail(parser, MC_ELIMIT, 431, "http1.headers_too_large");
    }
    mc_status status = mc_headers_add_known_ref(message->headers, MC_H_METHOD, method);
    return status != MC_OK ? status : mc_headers_add_known_ref(message->headers, MC_H_PATH, target);
}

/* HTTP-version SP 3DIGIT [SP reason]; the reason is not kept. */
static mc_status status_line(mc_h1_parser *parser, mc_h1_message *message, mc_slice line) {
    int minor = version_minor(mc_slice_until(line, 8));
    if (line.n < 12 || minor < 0 || line.p[8] != ' ' || line.p[9] == '0' || !is_digit(line.p[9]) ||
        !is_digit(line.p[10]) || !is_digit(line.p[11]) || (line.n > 12 && line.p[12] != ' ')) {
        return mc_h1_malformed(parser);
    }
    for (size_t i = 12; i < line.n; i++) {
        unsigned char c = (unsigned char)line.p[i];
        if ((c < ' ' && c != '\t') || c == 0x7f) {
            return mc_h1_malformed(parser);
        }
    }
    message->head.version_minor = (uint8_t)minor;
    message->head.version = (mc_slice){line.p + 5, 3};
    message->head.reason = mc_slice_from(line, 13);
    message->head.status = (uint16_t)((line.p[9] - '0') * 100 + (line.p[10] - '0') * 10 + (line.p[11] - '0'));
    return mc_headers_add_known_ref(message->headers, MC_H_STATUS, (mc_slice){line.p + 9, 3});
}

mc_status mc_h1_start_line(mc_h1_parser *parser, mc_h1_message *message, mc_slice line) {
    return parser->_role == MC_H1_REQUEST ? request_line(parser, message, line) : status_line(parser, message, line);
}

/* --- targets ---------------------------------------------------------------------------------------------------- */

static mc_status invalid_url(mc_h1_parser *parser) { return mc_h1_fail(parser, MC_EPROTO, 400, "http1.invalid_url"); }

/* CONNECT host:port; the target becomes the authority and there is no path. */
static mc_status take_connect(mc_h1_parser *parser, mc_headers *headers, mc_slice target) {
    if (!mc_uri_authority_sound(target, true)) {
        return invalid_url(parser);
    }
    if (parser->limits->as_sent) {
        return MC_OK;
    }
    mc_headers_remove_known(headers, MC_H_PATH);
    return mc_headers_set_known_ref(headers, MC_H_AUTHORITY, target);
}

/* H1-5 */
static mc_status take_absolute(mc_h1_parser *parser, mc_headers *headers, mc_slice target) {
    mc_uri_absolute url;
    if (mc_uri_parse_absolute(target, &url) != MC_OK) { /* "*" without OPTIONS, too */
        return invalid_url(parser);
    }
    bool https = mc_slice_ieq(url.scheme, MC_SLICE("https"));
    if (!https && !mc_slice_ieq(url.scheme, MC_SLICE("http"))) {
        return mc_h1_fail(parser, MC_EPROTO, 400, "http1.invalid_scheme");
    }
    if (parser->limits->as_sent) {
        return MC_OK;
    }
    mc_status status = mc_headers_set_known_ref(headers, MC_H_AUTHORITY, url.authority);
    if (status == MC_OK) {
        status = mc_headers_set_known_ref(headers, MC_H_SCHEME, https ? MC_SLICE("https") : MC_SLICE("http"));
    }
    return status != MC_OK ? status
                           : mc_headers_set_known_ref(headers, MC_H_PATH, url.path.n == 0 ? MC_SLICE("/") : url.path);
}

static mc_status take_target(mc_h1_parser *parser, mc_h1_message *message) {
    mc_headers *headers = message->headers;
    mc_slice target = mc_headers_get_known(headers, MC_H_PATH);
    if (message->connect) {
        return take_connect(parser, headers, target);
    }
    bool asterisk = target.p[0] == '*' && mc_slice_eq(mc_headers_get_known(headers, MC_H_METHOD), MC_SLICE("OPTIONS"));
    if (target.p[0] == '/' || asterisk || !parser->limits->allow_absolute_url) {
        return MC_OK;
    }
    return take_absolute(parser, headers, target);
}

/* --- framing ---------------------------------------------------------------------------------------------------- */

/* H1-7: what length and coding say together. */
static mc_status read_framing(mc_h1_parser *parser, mc_h1_message *message) {
    mc_headers *headers = message->headers;
    mc_h1_head *head = &message->head;
    if (message->connect && head->has_length) {
        if (head->content_length != 0) {
            return mc_h1_fail(parser, MC_EPROTO, 400, "http1.body_disallowed");
        }
        mc_headers_remove_known(headers, MC_H_CONTENT_LENGTH);
        head->has_length = false;
    }
    mc_slice coding = mc_headers_get_known(headers, MC_H_TRANSFER_ENCODING);
    if (coding.p == NULL) {
        return MC_OK;
    }
    uint32_t at = headers->first[MC_H_TRANSFER_ENCODING];
    bool repeated = mc_headers_next(headers, MC_SLICE("transfer-encoding"), &at) != NULL;
    bool chunked = !repeated && mc_slice_ieq(coding, MC_SLICE("chunked"));
    if (head->has_length) {
        if (!chunked || !parser->limits->allow_chunked_length) {
            return mc_h1_fail(parser, MC_EPROTO, 400, "http1.content_length_and_chunked_not_allowed");
        }
        mc_headers_remove_known(headers, MC_H_CONTENT_LENGTH);
        head->has_length = false;
        head->content_length = 0;
        head->keep_alive = false; /* RFC 9112 section 6.1: close after responding */
    }
    if (!chunked || message->connect) {
        return mc_h1_fail(parser, MC_EPROTO, 501, "http1.invalid_transfer_encoding");
    }
    head->chunked = true;
    if (head->version_minor == 0) {
        head->keep_alive = false; /* RFC 9112 section 6.1: faulty framing */
    }
    return MC_OK;
}

static void read_persistence(mc_h1_message *message, const mc_h1_options *found) {
    mc_h1_head *head = &message->head;
    mc_h1_options proxy = {0};
    mc_h1_read_options(message->headers, MC_H_PROXY_CONNECTION, &proxy);
    head->keep_alive =
        (head->version_minor == 1 ? found->seen[MC_H1_OPTION_CLOSE] == 0 : found->seen[MC_H1_OPTION_KEEP_ALIVE] > 0) &&
        proxy.seen[MC_H1_OPTION_CLOSE] == 0;
    head->asks_to_close = !head->keep_alive;
}

/* Two lines say two things, whatever the first is. */
static bool only_h2c(const mc_headers *headers) {
    uint32_t at = headers->first[MC_H_UPGRADE];
    return mc_slice_ieq(mc_headers_get_known(headers, MC_H_UPGRADE), MC_SLICE("h2c")) &&
           (!headers->repeated || mc_headers_next(headers, MC_SLICE("upgrade"), &at) == NULL);
}

/* What `upgrade` asks for, without what is passed over. Of h2c that is asked for alone only: beside what is passed over it is
 * an upgrade like any other. */
static mc_status read_upgrade_header(mc_h1_parser *parser, mc_headers *headers, mc_h1_head *head) {
    if (only_h2c(headers)) {
        return parser->limits->as_sent ? MC_OK : mc_h1_strip_h2c(headers); /* HC-45 */
    }
    if (MC_UNLIKELY(parser->limits->ignores_upgrade != NULL)) {
        MC_TRY(mc_h1_ignore_upgrades(parser->limits, headers));
    }
    head->upgrade = mc_headers_has(headers, MC_H_UPGRADE);
    return MC_OK;
}

static mc_status read_upgrade(mc_h1_parser *parser, mc_h1_message *message, const mc_h1_options *found) {
    mc_headers *headers = message->headers;
    mc_h1_head *head = &message->head;
    if (found->seen[MC_H1_OPTION_UPGRADE] > 0 && head->version_minor == 1 && mc_headers_has(headers, MC_H_UPGRADE)) {
        MC_TRY(read_upgrade_header(parser, headers, head));
    }
    head->upgrade = head->upgrade || message->connect;
    return MC_OK;
}

/* A repeated Expect is another value: "100-continue,100-continue". */
static bool expects_continue(const mc_headers *headers) {
    uint32_t at = 0;
    (void)mc_headers_next(headers, MC_SLICE("expect"), &at);
    return mc_slice_ieq(mc_headers_get_known(headers, MC_H_EXPECT), MC_SLICE("100-continue")) &&
           (!headers->repeated || mc_headers_next(headers, MC_SLICE("expect"), &at) == NULL);
}

static mc_status finish_request(mc_h1_parser *parser, mc_h1_message *message, const mc_h1_options *found) {
    mc_headers *headers = message->headers;
    mc_h1_head *head = &message->head;
    MC_TRY(read_upgrade(parser, message, found));
    if (found->count > 0 && !head->upgrade && !parser->limits->as_sent) {
        MC_TRY(mc_h1_sanitize_connection(parser, headers, found));
    }
    mc_status status = take_target(parser, message); /* now: who nominates Host does not lose that of the target */
    if (status == MC_OK && head->version_minor == 0 && !parser->limits->accept_http_10) {
        status = mc_h1_fail(parser, MC_EPROTO, 426, "low_version");
    }
    if (status != MC_OK) {
        parser->error.head = mc_slice_eq(mc_headers_get_known(headers, MC_H_METHOD), MC_SLICE("HEAD"));
        return status;
    }
    head->expect_continue =
        head->version_minor == 1 && mc_headers_has(headers, MC_H_EXPECT) && expects_continue(headers);
    head->end_stream = !head->chunked && head->content_length == 0 && !head->upgrade;
    return MC_OK;
}

/* RFC 9112 section 6.3, H1-14. */
static mc_status finish_response(mc_h1_parser *parser, mc_h1_message *message) {
    mc_h1_head *head = &message->head;
    bool tunnel =
        head->status == 101 || (parser->_asked == MC_H1_ASKED_CONNECT && head->status >= 200 && head->status < 300);
    if (head->status < 200 || head->status == 204) {
        if (head->chunked) {
            return mc_h1_fail(parser, MC_EPROTO, 502, "http1.transfer_encoding_not_allowed");
        }
        if (head->has_length) {
            if (head->content_length != 0) {
                return mc_h1_fail(parser, MC_EPROTO, 502, "http1.content_length_not_allowed");
            }
            mc_headers_remove_known(message->headers, MC_H_CONTENT_LENGTH);
            head->has_length = false;
        }
    }
    if (tunnel) { /* framing of a 2xx to CONNECT is ignored (RFC 9110 section 9.3.6) */
        head->upgrade = true;
        return MC_OK;
    }
    head->end_stream = head->status < 200 || head->status == 204 || head->status == 304 ||
                       parser->_asked == MC_H1_ASKED_HEAD || (head->has_length && head->content_length == 0);
    if (!head->end_stream && !head->chunked && !head->has_length) {
        head->keep_alive = false; /* until close */
    }
    return MC_OK;
}

/* As Envoy counts them: one empty line at least. */
uint32_t mc_h1_field_bytes(const mc_h1_message *message) {
    const size_t target = mc_headers_get_known(message->headers, MC_H_PATH).n;
    const uint32_t bytes = (uint32_t)(message->field_bytes - target) + message->field_count * MC_H1_LINE_BYTES;
    return bytes + message->dropped_bytes > 0 ? bytes + message->dropped_bytes : MC_H1_LINE_BYTES;
}

mc_status mc_h1_finish_head(mc_h1_parser *parser, mc_h1_message *message) {
    mc_h1_options found = {0};
    message->head.field_bytes = mc_h1_field_bytes(message);
    mc_h1_read_options(message->headers, MC_H_CONNECTION, &found);
    read_persistence(message, &found);
    mc_status status = read_framing(parser, message);
    if (status == MC_OK) {
        status =
            parser->_role == MC_H1_REQUEST ? finish_request(parser, message, &found) : finish_response(parser, message);
    }
    parser->error.field_bytes = status == MC_OK ? 0 : message->head.field_bytes;
    if (status != MC_OK && message->head.version_minor == 0) {
        parser->error.http_10 = parser->limits->accept_http_10;
        parser->error.refused_10 = !parser->limits->accept_http_10;
    }
    return status;
}
