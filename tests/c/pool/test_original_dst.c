/* Where an ORIGINAL_DST cluster sends a request (CL-15): the sources in their order. */
#include "pool/original_dst.h"

#include "../test.h"

static mc_arena arena;

static const mc_value *parse(const char *json) {
    const mc_value *value;
    mc_error error;
    CHECK_INT(mc_value_parse(&arena, mc_slice_cstr(json), &value, &error), MC_OK);
    return value;
}

static const mc_original_dst *compile(const char *json) {
    mc_original_dst *out = NULL;
    mc_error error;
    CHECK_INT(mc_original_dst_compile(parse(json), &arena, &out, &error), MC_OK);
    return out;
}

#define ALL                                                                                                            \
    "{\"type\":\"ORIGINAL_DST\",\"original_dst_lb_config\":{\"use_http_header\":true,\"http_header_name\":\"x-to\","   \
    "\"metadata_key\":{\"key\":\"ns\",\"path\":[{\"key\":\"a\"},{\"key\":\"b\"}]}}}"
#define STATE(text)    "{\"envoy.network.transport_socket.original_dst_address\":\"" text "\"}"
#define METADATA(text) "{\"ns\":{\"a\":{\"b\":\"" text "\"}}}"

TEST(sources_in_order) {
    static const struct {
        const char *state, *metadata, *header, *restored, *found;
        uint32_t invalid;
    } cases[] = {
        {STATE("10.0.0.1:1"), METADATA("10.0.0.2:2"), "10.0.0.3:3", "10.0.0.4", "10.0.0.1:1", 0},
        {STATE("nothing"), METADATA("10.0.0.2:2"), "10.0.0.3:3", "10.0.0.4", "10.0.0.2:2", 0},
        {NULL, METADATA("10.0.0.2:2"), "10.0.0.3:3", "10.0.0.4", "10.0.0.2:2", 0},
        {NULL, METADATA("nothing"), "10.0.0.3:3", "10.0.0.4", "10.0.0.3:3", 1},
        {NULL, "{\"ns\":{\"a\":7}}", "10.0.0.3:3", "10.0.0.4", "10.0.0.3:3", 0},
        {NULL, METADATA("nothing"), "", "10.0.0.4", "10.0.0.4:4", 2},
        {NULL, NULL, NULL, "10.0.0.4", "10.0.0.4:4", 0},
        {NULL, NULL, "[::1]:80", NULL, "[::1]:80", 0},
        {NULL, NULL, "::1:80", NULL, NULL, 1},
        {NULL, NULL, "[10.0.0.1]:80", NULL, NULL, 1},
        {NULL, NULL, NULL, NULL, NULL, 0},
    };
    mc_arena_init(&arena, NULL);
    const mc_original_dst *config = compile(ALL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mc_headers headers;
        mc_address restored, out;
        char text[MC_ADDRESS_TEXT];
        uint32_t invalid;
        mc_headers_init(&headers, &arena);
        if (cases[i].header != NULL) {
            CHECK_INT(mc_headers_add(&headers, MC_SLICE("x-to"), mc_slice_cstr(cases[i].header)), MC_OK);
        }
        if (cases[i].restored != NULL) {
            CHECK_INT(mc_address_parse(&restored, mc_slice_cstr(cases[i].restored), 4), MC_OK);
        }
        const bool found =
            mc_original_dst_address(config, &headers, cases[i].metadata == NULL ? NULL : parse(cases[i].metadata),
                                    cases[i].state == NULL ? NULL : parse(cases[i].state),
                                    cases[i].restored == NULL ? NULL : &restored, &out, &invalid);
        CHECK_INT(found, cases[i].found != NULL);
        CHECK_U64(invalid, cases[i].invalid);
        if (found) {
            mc_address_text(&out, text);
            CHECK_SLICE(mc_slice_cstr(text), cases[i].found);
        }
    }
    mc_arena_fini(&arena);
}

TEST(another_port_takes_the_place_of_any) {
    mc_arena_init(&arena, NULL);
    const mc_original_dst *config =
        compile("{\"type\":\"ORIGINAL_DST\",\"original_dst_lb_config\":{\"upstream_port_override\":99}}");
    mc_headers headers;
    mc_address out;
    char text[MC_ADDRESS_TEXT];
    uint32_t invalid;
    mc_headers_init(&headers, &arena);
    CHECK(mc_original_dst_address(config, &headers, NULL, parse(STATE("[::2]:7")), NULL, &out, &invalid));
    mc_address_text(&out, text);
    CHECK_SLICE(mc_slice_cstr(text), "[::2]:99");
    mc_arena_fini(&arena);
}
