#include "../test.h"
#include "http/coding.h"
#include "http/forwarded.h"

TEST(xff_address) {
    static const struct {
        const char *xff;
        unsigned skip;
        const char *address; /* NULL: none */
    } cases[] = {
        {"1.2.3.4", 0, "1.2.3.4"},
        {"1.1.1.1, 2.2.2.2,3.3.3.3", 0, "3.3.3.3"},
        {"1.1.1.1, 2.2.2.2,3.3.3.3", 1, "2.2.2.2"},
        {"1.1.1.1, 2.2.2.2,3.3.3.3", 2, "1.1.1.1"},
        {"1.1.1.1, 2.2.2.2,3.3.3.3", 3, NULL},
        {"\t::1 ", 0, "::1"},
        {"1.1.1.1,", 1, "1.1.1.1"},
        {"1.1.1.1:80", 0, NULL},
        {"unknown, 1.1.1.1", 1, NULL},
        {"", 0, NULL},
        {",", 0, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mc_address address;
        mc_status status = mc_xff_address(mc_slice_cstr(cases[i].xff), cases[i].skip, &address);
        CHECK_INT(status, cases[i].address == NULL ? MC_ENOTFOUND : MC_OK);
        if (status == MC_OK) {
            char text[MC_ADDRESS_TEXT];
            CHECK_SLICE(mc_slice_of(text, mc_address_ip(&address, text)), cases[i].address);
        }
    }
}

TEST(xff_untrusted_address) {
    static const struct {
        const char *xff;
        const char *address; /* NULL: none */
    } cases[] = {
        {"1.1.1.1, 10.0.0.1", "1.1.1.1"}, {"10.0.0.2, 10.0.0.1", "10.0.0.2"}, {"10.0.0.1,", NULL}, {",10.0.0.1", NULL},
        {"1.1.1.1, ,10.0.0.1", NULL},     {",1.1.1.1,10.0.0.1", "1.1.1.1"},   {"", NULL},
    };
    mc_arena arena;
    mc_cidrs trusted;
    mc_error error;
    const mc_value *config;
    const char *text = "{\"cidrs\": [{\"address_prefix\": \"10.0.0.0\", \"prefix_len\": 8}]}";
    mc_arena_init(&arena, NULL);
    CHECK_INT(mc_value_parse(&arena, mc_slice_cstr(text), &config, &error), MC_OK);
    CHECK_INT(mc_cidrs_read(&arena, config, "cidrs", &trusted, &error), MC_OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mc_address address;
        mc_status status = mc_xff_untrusted_address(mc_slice_cstr(cases[i].xff), &trusted, &address);
        CHECK_INT(status, cases[i].address == NULL ? MC_ENOTFOUND : MC_OK);
        if (status == MC_OK) {
            char ip[MC_ADDRESS_TEXT];
            CHECK_SLICE(mc_slice_of(ip, mc_address_ip(&address, ip)), cases[i].address);
        }
    }
    mc_arena_fini(&arena);
}

TEST(coding) {
    static const mc_coding three[] = {
        {MC_SLICE_INIT("gzip"), false}, {MC_SLICE_INIT("br"), false}, {MC_SLICE_INIT("zstd"), false}};
    static const mc_coding first[] = {{MC_SLICE_INIT("gzip"), false}, {MC_SLICE_INIT("br"), true}};
    static const mc_coding late[] = {{MC_SLICE_INIT("zstd"), false}, {MC_SLICE_INIT("br"), false}};
    static const struct {
        const char *accept;
        const mc_coding *codings;
        unsigned count;
        int chosen;
        mc_coding_reason reason;
    } cases[] = {
        {NULL, three, 3, -1, MC_CODING_NO_HEADER},
        {"", three, 3, -1, MC_CODING_NOT_VALID},
        {"gzip", three, 3, 0, MC_CODING_COMPRESSOR},
        {"br, gzip", three, 3, 1, MC_CODING_COMPRESSOR},
        {"gzip, br", first, 2, 1, MC_CODING_COMPRESSOR},
        {"gzip;q=0.5, br;q=0.9", three, 3, 1, MC_CODING_COMPRESSOR},
        {"gzip;q=1, br;q=0.9", first, 2, 0, MC_CODING_COMPRESSOR},
        {"*", three, 3, 0, MC_CODING_WILDCARD},
        {"gzip;q=0, *", three, 3, 1, MC_CODING_WILDCARD},
        {"gzip;q=0, br ; q=0, zstd;q=0, *", three, 3, -1, MC_CODING_NOT_VALID},
        {"gzip;q=0, br ; q=0, zstd;q=0, identity", three, 3, -1, MC_CODING_NOT_VALID},
        {"*, *;q=0.5", three, 3, 0, MC_CODING_WILDCARD},
        {"*, *", three, 3, -1, MC_CODING_WILDCARD},
        {"*;q=0, *", three, 3, -1, MC_CODING_WILDCARD},
        {"*, identity", three, 3, 0, MC_CODING_WILDCARD},
        {"*, identity, gzip;q=0", three, 3, -1, MC_CODING_WILDCARD},
        {"identity;q=0, *, gzip;q=0", three, 3, -1, MC_CODING_WILDCARD},
        {"*, identity;q=0.9, gzip;q=0", three, 3, 1, MC_CODING_WILDCARD},
        {"*, identity", late, 2, -1, MC_CODING_WILDCARD},
        {"*", late, 2, 0, MC_CODING_WILDCARD},
        {"identity", three, 3, -1, MC_CODING_IDENTITY},
        {"identity, gzip", three, 3, -1, MC_CODING_IDENTITY},
        {"identity;q=0.1, gzip", three, 3, 0, MC_CODING_COMPRESSOR},
        {"deflate", three, 3, -1, MC_CODING_NOT_VALID},
        {"gzip;q=0", three, 3, -1, MC_CODING_NOT_VALID},
        {"gzip;q=x, br;q=.2", three, 3, 1, MC_CODING_COMPRESSOR},
        {"gzip;level=3", three, 3, 0, MC_CODING_COMPRESSOR},
        {"GZIP", three, 3, -1, MC_CODING_NOT_VALID},
        {",,gzip,", three, 3, 0, MC_CODING_COMPRESSOR},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mc_coding_reason reason;
        CHECK_INT(mc_coding_choose(mc_slice_cstr(cases[i].accept), cases[i].codings, cases[i].count, &reason),
                  cases[i].chosen);
        CHECK_INT(reason, cases[i].reason);
    }
}
