#include "filter_test.h"

#define BUFFER(limit) FILTER("buffer", "buffer.v3.Buffer", ",'max_request_bytes':" limit)
#define CHUNKED       "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
#define OFF           PER_ROUTE("buffer", "buffer.v3.BufferPerRoute", ",'disabled':true")
#define LARGER        PER_ROUTE("buffer", "buffer.v3.BufferPerRoute", ",'buffer':{'max_request_bytes':100}")

TEST(a_request_goes_on_whole_and_with_its_length) {
    begin((setup){.filters = BUFFER("10")});
    ask(CHUNKED "3\r\nabc\r\n");
    CHECK_INT(p.connects, 0);
    CHECK_HAS(ask("2\r\nde\r\n0\r\n\r\n"), "200 OK");
    CHECK_HAS(request, "content-length: 5\r\n");
    CHECK_HAS(request, "\r\n\r\nabcde");
    CHECK_HAS(send_head("GET /", ""), "200 OK");
    end();
}

TEST(too_much_is_413) {
    begin((setup){.filters = BUFFER("5")});
    CHECK_HAS(ask(CHUNKED "6\r\nabcdef\r\n"), "413 Payload Too Large");
    CHECK_COUNT("downstream_rq_too_large", 1);
    end();
    begin((setup){.filters = BUFFER("5")});
    CHECK_HAS(ask(CHUNKED "5\r\nabcde\r\n0\r\n\r\n"), "200 OK");
    end();
}

TEST(a_route_has_its_own_limit) {
    begin((setup){.filters = BUFFER("5"), .host = LARGER ","});
    CHECK_HAS(ask(CHUNKED "6\r\nabcdef\r\n0\r\n\r\n"), "200 OK");
    CHECK_HAS(request, "content-length: 6\r\n");
    end();
    begin((setup){.filters = BUFFER("5"), .host = OFF ","});
    CHECK_HAS(ask(CHUNKED "6\r\nabcdef\r\n0\r\n\r\n"), "200 OK");
    CHECK_HAS(request, "chunked");
    end();
}

TEST(wrong_configurations) {
    CHECK_SLICE(mc_slice_cstr(refused((setup){.filters = FILTER("b", "buffer.v3.Buffer", "")})),
                "http_filters[0].typed_config.max_request_bytes");
    CHECK_SLICE(mc_slice_cstr(refused((setup){.host = PER_ROUTE("b", "buffer.v3.BufferPerRoute", "") ","})),
                "route_config.virtual_hosts[0].typed_per_filter_config[\"b\"]");
}
