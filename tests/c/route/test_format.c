/* Formats: what compiles, what is refused and why, what comes out (AL-1 to AL-3). */
#include "route/format.h"

#include "http/flags.h"
#include "test.h"

typedef struct scene {
    mc_arena arena;
    mc_headers request, response, trailers;
    mc_address remote, local, host, second;
    const mc_address *hosts[2];
    mc_slice names[2], sans[2];
    mc_certificate peer;
    mc_tls_info tls;
    mc_stream_info info;
} scene;

static void add(mc_headers *headers, const char *name, const char *value) {
    CHECK_INT(mc_headers_add(headers, mc_slice_cstr(name), mc_slice_cstr(value)), MC_OK);
}

static const mc_value *json(scene *s, const char *text) {
    const mc_value *value = NULL;
    mc_error error;
    CHECK_INT(mc_value_parse(&s->arena, mc_slice_cstr(text), &value, &error), MC_OK);
    return value;
}

static void setup(scene *s) {
    memset(s, 0, sizeof *s);
    mc_arena_init(&s->arena, NULL);
    mc_headers_init(&s->request, &s->arena);
    mc_headers_init(&s->response, &s->arena);
    mc_headers_init(&s->trailers, &s->arena);
    add(&s->request, ":method", "GET");
    add(&s->request, ":path", "/a%20b?x=1&y=a%2Bb&x=2");
    add(&s->request, ":authority", "Example.com:80");
    add(&s->request, "x-request-id", "id-1");
    add(&s->request, "x-two", "one");
    add(&s->request, "x-two", "two");
    add(&s->request, "x-empty", "");
    add(&s->response, ":status", "200");
    add(&s->response, "server", "up");
    mc_stream_info *info = &s->info;
    mc_stream_info_init(info);
    info->request = &s->request;
    info->response = &s->response;
    info->response_trailers = &s->trailers;
    CHECK_INT(mc_address_parse(&s->remote, MC_SLICE("10.1.2.3"), 4567), MC_OK);
    CHECK_INT(mc_address_parse(&s->local, MC_SLICE("::1"), 80), MC_OK);
    CHECK_INT(mc_address_parse(&s->host, MC_SLICE("10.9.9.9"), 8080), MC_OK);
    CHECK_INT(mc_address_parse(&s->second, MC_SLICE("10.9.9.8"), 8081), MC_OK);
    info->downstream_remote = &s->remote;
    info->downstream_local = &s->local;
    info->upstream_host = &s->host;
    s->hosts[0] = &s->second;
    s->hosts[1] = &s->host;
    s->names[0] = MC_SLICE("name:1");
    info->attempted_hosts = s->hosts;
    info->attempted_host_names = s->names;
    info->attempted_host_count = 2;
    info->status = 200;
    info->flags = MC_FLAG(UH) | MC_FLAG(URX);
    info->bytes_received = 5;
    info->bytes_sent = 100000;
    info->protocol = MC_SLICE("HTTP/1.1");
    info->response_code_details = MC_SLICE("via\tup stream");
    info->start_ns = 1522796769123456789u;
    info->at.now = 123456789;
    info->at.request_end = 2000000;
    info->at.upstream_receive_begin = 50000000;
    info->at.response_end = 120000000;
    info->log_type = MC_LOG_DOWNSTREAM_END;
    s->sans[0] = MC_SLICE("a.com");
    s->sans[1] = MC_SLICE("b.com");
    s->peer = (mc_certificate){.subject = MC_SLICE_INIT("CN=peer"),
                               .pem = MC_SLICE_INIT("-B E+/=\n"),
                               .dns_sans = {s->sans, 2},
                               .valid_from_s = 1522796769,
                               .valid_to_s = MC_NO_TIME};
    s->tls = (mc_tls_info){.version = MC_SLICE_INIT("TLSv1.3"), .peer = &s->peer};
    info->downstream_tls = &s->tls;
    info->dynamic_metadata = json(s, "{\"ns\":{\"b\":[1,true,null],\"a\":\"text\",\"deep\":{\"n\":1.5}}}");
    info->filter_state = json(s, "{\"key\":\"state\",\"object\":{\"field\":\"f\"}}");
}

static mc_slice run(scene *s, const mc_format *format) {
    mc_slice out = MC_SLICE_NONE;
    CHECK_INT(mc_format_run_arena(format, &s->info, &s->arena, &out), MC_OK);
    return out;
}

static mc_slice text(scene *s, const char *format, bool omit_empty) {
    const mc_format *program = NULL;
    mc_error error = {"", ""};
    if (mc_format_compile_text(&s->arena, mc_slice_cstr(format), omit_empty, &program, &error) != MC_OK) {
        fprintf(stderr, "%s: %s\n", format, error.reason);
        CHECK(program != NULL);
    }
    return run(s, program);
}

static const struct {
    const char *format, *expected;
} texts[] = {
    {"", ""},
    {"plain", "plain"},
    {"100%%", "100%"},
    {"%%%%PROTOCOL%%", "%%PROTOCOL%"},
    {"%PROTOCOL%%%%PROTOCOL%", "HTTP/1.1%HTTP/1.1"},
    {"%REQ(:METHOD)%", "GET"},
    {"%REQ(x-two)%", "one"},
    {"%REQ(X-TWO):2%", "on"},
    {"%REQ(none?x-two)%", "one"},
    {"%REQ(none?other)%", "-"},
    {"%REQ(x-empty)%|", "|"},
    {"%REQUEST_HEADER(x-two)%", "one"},
    {"%RESP(server)% %RESPONSE_HEADER(:status)% %TRAILER(x)%", "up 200 -"},
    {"%START_TIME%", "2018-04-03T23:06:09.123Z"},
    {"%START_TIME(%Y/%m/%dT%H:%M:%S%z %s)%", "2018/04/03T23:06:09+0000 1522796769"},
    {"%START_TIME(%s.%3f %s.%6f %s.%9f %f)%", "1522796769.123 1522796769.123456 1522796769.123456789 123456789"},
    {"%START_TIME(%a %A %b %B %e %j %p %I %y %C %D %F %T %R %%)%",
     "Tue Tuesday Apr April  3 093 PM 11 18 20 04/03/18 2018-04-03 23:06:09 23:06 %"},
    {"%START_TIME(%G-W%V-%u %U %W %w)%", "2018-W14-2 13 14 2"},
    {"%START_TIME(%-d %_d %^a %#Z %5Y %E*S %E12S %E3f %ET %Ez %:::z %%f)%",
     "3  3 TUE utc 02018 09.123456789 09.123456789000 123 T +00:00 +00 %123456789"},
    {"%START_TIME(%O%T %O%F)%", "%O23:06:09 %O2018-04-03"},
    {"%EMIT_TIME(%s.%3f)%", "1522796769.246"},
    {"%DURATION% %REQUEST_DURATION% %RESPONSE_DURATION% %RESPONSE_TX_DURATION% %ROUNDTRIP_DURATION%", "123 2 50 70 -"},
    {"%COMMON_DURATION(DS_RX_BEG:US_RX_BEG)% %COMMON_DURATION(DS_RX_END:US_RX_BEG:us)%", "50 48000"},
    {"%COMMON_DURATION(US_RX_BEG:DS_RX_BEG)% %COMMON_DURATION(DS_RX_BEG:mine)%", "- -"},
    {"%RESPONSE_CODE% %BYTES_RECEIVED% %BYTES_SENT%", "200 5 100000"},
    {"%RESPONSE_FLAGS% %RESPONSE_FLAGS_LONG%", "UH,URX NoHealthyUpstream,UpstreamRetryLimitExceeded"},
    {"%RESPONSE_CODE_DETAILS%", "via_up_stream"},
    {"%RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)%", "via\tup stream"},
    {"%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_REMOTE_PORT%", "10.1.2.3:4567 4567"},
    {"%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT(12)%", "10.1.2.3 10.0.0.0/12"},
    {"%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%", "[::1]:80 ::1"},
    {"%UPSTREAM_HOST% %UPSTREAM_HOST_NAME% %UPSTREAM_HOST_NAME_WITHOUT_PORT%", "10.9.9.9:8080 10.9.9.9:8080 10.9.9.9"},
    {"%UPSTREAM_HOSTS_ATTEMPTED% %UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT%",
     "10.9.9.8:8081,10.9.9.9:8080 10.9.9.8,10.9.9.9"},
    {"%UPSTREAM_HOST_NAMES_ATTEMPTED% %UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT%",
     "name:1,10.9.9.9:8080 name,10.9.9.9"},
    {"%UPSTREAM_REMOTE_ADDRESS% %UPSTREAM_CLUSTER% %ROUTE_NAME%", "- - -"},
    {"%DOWNSTREAM_TLS_VERSION% %DOWNSTREAM_PEER_SUBJECT% %DOWNSTREAM_PEER_DNS_SAN% %UPSTREAM_TLS_VERSION%",
     "TLSv1.3 CN=peer a.com,b.com -"},
    {"%DOWNSTREAM_PEER_CERT% %DOWNSTREAM_LOCAL_SUBJECT%", "-B%20E%2B%2F%3D%0A -"},
    {"%DOWNSTREAM_PEER_CERT_V_START(%Y)% %DOWNSTREAM_PEER_CERT_V_END%", "2018 -"},
    {"%DYNAMIC_METADATA(ns:a)% %DYNAMIC_METADATA(ns:a):2% %DYNAMIC_METADATA(ns:b)% %DYNAMIC_METADATA(ns:none)%",
     "text te [1,true,null] -"},
    {"%DYNAMIC_METADATA(ns)%", "{\"a\":\"text\",\"b\":[1,true,null],\"deep\":{\"n\":1.5}}"},
    {"%DYNAMIC_METADATA(ns:deep:n)% %METADATA(DYNAMIC:ns:a)%", "1.5 text"},
    {"%DYNAMIC_METADATA([\"ns\",\"a\"])%", "text"},
    {"%FILTER_STATE(key:PLAIN)% %FILTER_STATE(object:FIELD:field)% %FILTER_STATE(none)%", "state f -"},
    {"%PATH% %PATH(NQ)% %PATH(NQ):2% %PATH(WQ:ORIG)%", "/a%20b?x=1&y=a%2Bb&x=2 /a%20b /a -"},
    {"%QUERY_PARAM(x)% %QUERY_PARAM(y)% %QUERY_PARAM(y):1% %QUERY_PARAM(z)%", "1 a+b a -"},
    {"%REQUESTED_SERVER_NAME% %REQUESTED_SERVER_NAME(HOST_FIRST)%", "- Example.com:80"},
    {"%STREAM_ID% %ACCESS_LOG_TYPE% %GRPC_STATUS% %CONNECTION_ID%", "id-1 DownstreamEnd - 0"},
    {"%COALESCE({\"operators\":[\"ROUTE_NAME\",{\"command\":\"REQ\",\"param\":\"x-two\",\"max_length\":2}]})%", "on"},
    {"%COALESCE({\"operators\":[\"ROUTE_NAME\",\"REQUEST_HEADERS_BYTES\"]}):1%", "1"},
};

TEST(texts) {
    scene s;
    setup(&s);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        CHECK_SLICE(text(&s, texts[i].format, false), texts[i].expected);
    }
    mc_arena_fini(&s.arena);
}

TEST(omits_what_is_empty) {
    scene s;
    setup(&s);
    CHECK_SLICE(text(&s, "[%REQ(none)%%ROUTE_NAME%]", true), "[]");
    mc_arena_fini(&s.arena);
}

static const struct {
    const char *format, *reason;
} refusals[] = {
    {"%NOPE%", "%NOPE% is not a known operator"},
    {"%REQ%", "%REQ% requires parameters"},
    {"%REQ()%", "%REQ% requires parameters"},
    {"%REQ(a?b?c)%", "%REQ% takes one alternative header: a?b?c"},
    {"%REQ(a b)%", "%REQ% names no valid header: a b"},
    {"%PROTOCOL(x)%", "%PROTOCOL% does not take any parameters or length"},
    {"%PROTOCOL:3%", "%PROTOCOL% does not take any parameters or length"},
    {"%START_TIME(%Y):3%", "%START_TIME% does not allow length to be specified"},
    {"%START_TIME(%n)%", "a time format must not write a newline: %n"},
    {"%START_TIME(%-4En)%", "a time format must not write a newline: %-4En"},
    {"50%", "has no valid operator at position 2: 50%"},
    {"%REQ(a", "has no valid operator at position 0: %REQ(a"},
    {"%req(a)%", "has no valid operator at position 0: %req(a)%"},
    {"%COMMON_DURATION(a)%", "%COMMON_DURATION% takes START:END or START:END:UNIT: a"},
    {"%COMMON_DURATION(a:b:h)%", "%COMMON_DURATION% unit 'h' is not one of ms, us, ns"},
    {"%GRPC_STATUS(x)%", "%GRPC_STATUS% option 'x' is not one of CAMEL_STRING, SNAKE_STRING, NUMBER"},
    {"%PATH(x)%", "%PATH% option 'x' is not one of WQ, NQ"},
    {"%FILTER_STATE(k:x)%", "%FILTER_STATE% option 'x' is not one of PLAIN, TYPED, FIELD"},
    {"%FILTER_STATE(k:FIELD)%", "%FILTER_STATE%: FIELD, and only FIELD, goes with a field's name"},
    {"%METADATA(x:y)%", "%METADATA%: x is no supported type of metadata"},
    {"%COALESCE(x)%", "%COALESCE% takes a JSON object: x"},
    {"%COALESCE({})%", "%COALESCE% must have operators"},
    {"%COALESCE({\"operators\":[\"X\"]})%", "%COALESCE%: unknown operator X"},
};

TEST(refusals) {
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        const mc_format *program = NULL;
        mc_arena arena;
        mc_error error = {"", ""};
        mc_arena_init(&arena, NULL);
        CHECK_INT(mc_format_compile_text(&arena, mc_slice_cstr(refusals[i].format), false, &program, &error),
                  MC_EINVAL);
        CHECK_SLICE(mc_slice_cstr(error.reason), refusals[i].reason);
        mc_arena_fini(&arena);
    }
}

static const struct {
    const char *tree, *expected, *omitted;
} trees[] = {
    {"{}", "{}", "{}"},
    {"{\"b\":\"%PROTOCOL%\",\"a\":\"x\"}", "{\"a\":\"x\",\"b\":\"HTTP/1.1\"}", "{\"a\":\"x\",\"b\":\"HTTP/1.1\"}"},
    {"{\"code\":\"%RESPONSE_CODE%\",\"text\":\"%RESPONSE_CODE%!\",\"none\":\"%ROUTE_NAME%\"}",
     "{\"code\":200,\"none\":null,\"text\":\"200!\"}", "{\"code\":200,\"none\":null,\"text\":\"200!\"}"},
    {"{\"mixed\":\"a%ROUTE_NAME%b\"}", "{\"mixed\":\"a-b\"}", "{\"mixed\":\"ab\"}"},
    {"{\"n\":1.5,\"t\":true,\"z\":null,\"p\":\"%%\"}", "{\"n\":1.5,\"p\":\"%\",\"t\":true,\"z\":null}",
     "{\"n\":1.5,\"p\":\"%\",\"t\":true,\"z\":null}"},
    {"{\"o\":{\"x\":\"%ROUTE_NAME%\"},\"l\":[\"%ROUTE_NAME%\",\"%PROTOCOL%\",{\"q\":1}]}",
     "{\"l\":[null,\"HTTP/1.1\",{\"q\":1}],\"o\":{\"x\":null}}",
     "{\"l\":[null,\"HTTP/1.1\",{\"q\":1}],\"o\":{\"x\":null}}"},
    {"{\"m\":\"%DYNAMIC_METADATA(ns)%\",\"b\":\"%BYTES_SENT%\"}",
     "{\"b\":1e+05,\"m\":{\"a\":\"text\",\"b\":[1,true,null],\"deep\":{\"n\":1.5}}}",
     "{\"b\":1e+05,\"m\":{\"a\":\"text\",\"b\":[1,true,null],\"deep\":{\"n\":1.5}}}"},
    {"{\"k\":\"%REQ(x-bytes)%\"}", "{\"k\":\"\\u00ff\\u0022a\"}", "{\"k\":\"\\u00ff\\u0022a\"}"},
    {"{\"k\\\"\":\"%REQ(x-quoted)%\"}", "{\"k\\\"\":\"a\\\"\\\\b\"}", "{\"k\\\"\":\"a\\\"\\\\b\"}"},
};

TEST(trees) {
    scene s;
    setup(&s);
    add(&s.request, "x-quoted", "a\"\\b");
    add(&s.request, "x-bytes", "\xff\"a");
    for (size_t i = 0; i < sizeof trees / sizeof *trees; i++) {
        for (int omit = 0; omit < 2; omit++) {
            const mc_format *program = NULL;
            mc_error error;
            CHECK_INT(mc_format_compile_json(&s.arena, json(&s, trees[i].tree), omit, &program, &error), MC_OK);
            mc_slice line = run(&s, program);
            CHECK(line.n > 0 && line.p[line.n - 1] == '\n');
            CHECK_SLICE(mc_slice_until(line, line.n - 1), omit ? trees[i].omitted : trees[i].expected);
        }
    }
    mc_arena_fini(&s.arena);
}

TEST(tree_errors_name_the_place) {
    scene s;
    setup(&s);
    const mc_format *program = NULL;
    mc_error error = {"", ""};
    CHECK_INT(mc_format_compile_json(&s.arena, json(&s, "{\"a\":{\"b\":[1,\"%NOPE%\"]}}"), false, &program, &error),
              MC_EINVAL);
    CHECK_SLICE(mc_slice_cstr(error.path), "a.b[1]");
    mc_arena_fini(&s.arena);
}

TEST(default_format) {
    scene s;
    setup(&s);
    CHECK_SLICE(text(&s, mc_format_default, false),
                "[2018-04-03T23:06:09.123Z] \"GET /a%20b?x=1&y=a%2Bb&x=2 HTTP/1.1\" 200 UH,URX 5 100000 123 - \"-\" "
                "\"-\" \"id-1\" \"Example.com:80\" \"10.9.9.9:8080\"\n");
    mc_arena_fini(&s.arena);
}

TEST(grpc_status) {
    static const struct {
        const char *trailer, *expected;
    } cases[] = {{NULL, "Unavailable UNAVAILABLE 14"},
                 {"0", "OK OK 0"},
                 {"4", "DeadlineExceeded DEADLINE_EXCEEDED 4"},
                 {"99", "99 99 99"},
                 {"x", "-1 -1 -1"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        scene s;
        setup(&s);
        add(&s.request, "content-type", "application/grpc+proto");
        s.info.status = 503;
        if (cases[i].trailer != NULL) {
            add(&s.trailers, "grpc-status", cases[i].trailer);
        }
        CHECK_SLICE(text(&s, "%GRPC_STATUS% %GRPC_STATUS(SNAKE_STRING)% %GRPC_STATUS_NUMBER%", false),
                    cases[i].expected);
        mc_arena_fini(&s.arena);
    }
}

TEST(unique_ids_differ) {
    scene s;
    setup(&s);
    mc_random random;
    mc_random_seed(&random, 1);
    s.info.random = &random;
    mc_slice one = text(&s, "%UNIQUE_ID%", false), two = text(&s, "%UNIQUE_ID%", false);
    CHECK_INT(one.n, 36);
    CHECK(one.p[14] == '4' && !mc_slice_eq(one, two));
    mc_arena_fini(&s.arena);
}

TEST(literals_are_told) {
    scene s;
    setup(&s);
    const mc_format *program = NULL;
    mc_error error;
    mc_slice literal = MC_SLICE_NONE;
    CHECK_INT(mc_format_compile_text(&s.arena, MC_SLICE("5%% off"), true, &program, &error), MC_OK);
    CHECK(mc_format_literal(program, &literal));
    CHECK_SLICE(literal, "5% off");
    CHECK_INT(mc_format_compile_text(&s.arena, MC_SLICE("%PROTOCOL%"), true, &program, &error), MC_OK);
    CHECK(!mc_format_literal(program, &literal));
    mc_arena_fini(&s.arena);
}
