/* compressor and decompressor, against each other and by themselves. */
#include "filter_test.h"

#define GZIP_OUT "{'name':'lib','typed_config':{" TYPE("envoy.extensions.compression.gzip.compressor.v3.Gzip") "}}"
#define GZIP_IN  "{'name':'lib','typed_config':{" TYPE("envoy.extensions.compression.gzip.decompressor.v3.Gzip") "}}"
#define COMPRESS(more)   FILTER("c", "compressor.v3.Compressor", ",'compressor_library':" GZIP_OUT more)
#define DECOMPRESS(more) FILTER("d", "decompressor.v3.Decompressor", ",'decompressor_library':" GZIP_IN more)
#define RESPONSE(more)   ",'response_direction_config':{" more "}"
#define TEXT             "the quick brown fox jumps over the lazy dog, and over the lazy dog again; and again"
#define PLAIN(headers)   "HTTP/1.1 200 OK\r\n" headers "\r\n" TEXT
#define LENGTH           "content-length: 83\r\n"

TEST(a_response_is_compressed_and_made_plain_again) {
    /* The decompressor stands before the compressor: on the way back it undoes what that did. */
    begin((setup){.filters = DECOMPRESS("") "," COMPRESS(RESPONSE(""))});
    p.response = PLAIN(LENGTH "content-type: text/plain; charset=x\r\netag: \"e\"\r\n");
    const char *got = send_head("GET /", "accept-encoding: gzip\r\n");
    CHECK_HAS(got, "transfer-encoding: chunked");
    CHECK_HAS(got, TEXT);
    CHECK_NOT(got, "content-encoding");
    CHECK_NOT(got, "etag");
    CHECK_HAS(got, "vary: Accept-Encoding\r\n");
    CHECK_HAS(request, "accept-encoding: gzip\r\n");
    CHECK_COUNT("compressor.lib.gzip.response.compressed", 1);
    CHECK_COUNT("compressor.lib.gzip.header_compressor_used", 1);
    CHECK_COUNT("compressor.lib.gzip.response.total_uncompressed_bytes", 83);
    CHECK_COUNT("decompressor.lib.gzip.response.decompressed", 1);
    CHECK_COUNT("decompressor.lib.gzip.response.total_uncompressed_bytes", 83);
    CHECK(counter("http.in.compressor.lib.gzip.response.total_compressed_bytes") ==
          counter("http.in.decompressor.lib.gzip.response.total_compressed_bytes"));
    end();
}

TEST(a_request_may_be_compressed_too) {
    begin((setup){.filters = COMPRESS(",'request_direction_config':{'common_config':{}}") "," DECOMPRESS("")});
    CHECK_HAS(ask("POST / HTTP/1.1\r\nHost: h\r\n" LENGTH "\r\n" TEXT), "200 OK");
    CHECK_HAS(request, TEXT);
    CHECK_NOT(request, "content-encoding");
    CHECK_COUNT("compressor.lib.gzip.request.compressed", 1);
    CHECK_COUNT("decompressor.lib.gzip.request.decompressed", 1);
    end();
}

TEST(what_is_not_compressed) {
    static const struct {
        const char *headers, *response;
        bool compressed, vary;
    } cases[] = {
        {"accept-encoding: gzip\r\n", PLAIN(LENGTH), true, true},
        {"", PLAIN(LENGTH), false, true},
        {"accept-encoding: identity\r\n", PLAIN(LENGTH), false, true},
        {"accept-encoding: gzip;q=0\r\n", PLAIN(LENGTH), false, true},
        {"accept-encoding: br, *\r\n", PLAIN(LENGTH), true, true},
        {"accept-encoding: gzip\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", false, false},
        {"accept-encoding: gzip\r\n", PLAIN(LENGTH "content-type: image/png\r\n"), false, false},
        {"accept-encoding: gzip\r\n", PLAIN(LENGTH "cache-control: private, No-Transform\r\n"), false, false},
        {"accept-encoding: gzip\r\n", PLAIN(LENGTH "content-encoding: br\r\n"), false, false},
        {"accept-encoding: gzip\r\n", "HTTP/1.1 204 No Content\r\n\r\n", false, true},
        {"accept-encoding: gzip\r\n", PLAIN(LENGTH "vary: origin\r\n"), true, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        begin((setup){.filters = COMPRESS(RESPONSE(""))});
        p.response = cases[i].response;
        const char *got = send_head("GET /", cases[i].headers);
        CHECK(contains(got, "content-encoding: gzip") == cases[i].compressed);
        CHECK(contains(got, "Accept-Encoding\r\n") == cases[i].vary);
        CHECK_COUNT("compressor.lib.gzip.response.compressed", cases[i].compressed);
        CHECK_COUNT("compressor.lib.gzip.response.not_compressed", !cases[i].compressed);
        end();
    }
}

#define ROUTE(cfg) PER_ROUTE("c", "compressor.v3.CompressorPerRoute", "," cfg)

TEST(a_route_has_a_say) {
    begin((setup){.filters = COMPRESS(RESPONSE("'common_config':{'enabled':{'default_value':false}}")),
                  .routes = "{'match':{'prefix':'/on'},'route':{'cluster':'web'}," ROUTE(
                      "'overrides':{'response_direction_"
                      "config':{'remove_accept_encoding_"
                      "header':true}}") "},"
                                        "{'match':{'prefix':"
                                        "'/"
                                        "off'},'route':{'"
                                        "cluster':'web'}"
                                        "," ROUTE("'disabled':"
                                                  "true") "}"
                                                          "," TO_WEB});
    p.response = PLAIN(LENGTH);
    CHECK_NOT(send_head("GET /", "accept-encoding: gzip\r\n"), "content-encoding");
    CHECK_NOT(send_head("GET /off", "accept-encoding: gzip\r\n"), "content-encoding");
    CHECK_HAS(send_head("GET /on", "accept-encoding: gzip\r\n"), "content-encoding: gzip");
    CHECK_NOT(request, "accept-encoding");
    end();
}

TEST(what_is_no_gzip_ends_there) {
    begin((setup){.filters = DECOMPRESS("")});
    p.response = PLAIN(LENGTH "content-encoding: gzip\r\n");
    const char *got = send_head("GET /", "");
    CHECK_HAS(got, "200 OK");
    CHECK_NOT(got, "fox");
    end();
}

#define TWICE "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 166\r\n\r\n" TEXT TEXT
#define COLLECTED(limit)                                                                                               \
    COMPRESS(",'request_direction_config':{'common_config':{}}")                                                       \
    "," FILTER("b", "buffer.v3.Buffer", ",'max_request_bytes':" limit) "," DECOMPRESS("")

TEST(a_collected_request_may_not_grow_beyond_its_limit) {
    begin((setup){.filters = COLLECTED("165")});
    CHECK_HAS(ask(TWICE), "413 Payload Too Large");
    CHECK_COUNT("downstream_rq_too_large", 1);
    end();
    begin((setup){.filters = COLLECTED("166")});
    CHECK_HAS(ask(TWICE), "200 OK");
    CHECK_HAS(request, TEXT TEXT);
    end();
}

TEST(wrong_configurations) {
    CHECK_SLICE(mc_slice_cstr(refused((setup){.filters = FILTER("c", "compressor.v3.Compressor", "")})),
                "http_filters[0].typed_config.compressor_library.typed_config");
    CHECK_SLICE(mc_slice_cstr(refused((setup){.filters = COMPRESS(""), .host = ROUTE("'x':1") ","})),
                "route_config.virtual_hosts[0].typed_per_filter_config[\"c\"]");
}
