#include "../test.h"
#include "http/grpc.h"

TEST(content_types) {
    static const struct {
        const char *type;
        bool grpc;
    } cases[] = {
        {"application/grpc", true},      {"application/grpc+proto", true},
        {"application/grpc+", true},     {"application/grpc-web", false},
        {"application/grpc;x=1", false}, {"application/grpcx", false},
        {"Application/grpc", false},     {"", false},
        {"text/plain", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK_INT(mc_grpc_content_type(mc_slice_cstr(cases[i].type)), cases[i].grpc);
    }
}

TEST(statuses) {
    static const unsigned from_http[][2] = {{400, 13}, {401, 16}, {403, 7}, {404, 12}, {429, 14}, {502, 14},
                                            {503, 14}, {504, 14}, {200, 2}, {500, 2},  {302, 2},  {0, 2}};
    for (size_t i = 0; i < sizeof from_http / sizeof from_http[0]; i++) {
        CHECK_INT(mc_grpc_from_http((uint16_t)from_http[i][0]), from_http[i][1]);
    }
    static const unsigned to_http[] = {200, 499, 500, 400, 504, 404, 409, 403, 429,
                                       400, 409, 400, 501, 500, 503, 500, 401, 500};
    for (uint64_t i = 0; i < sizeof to_http / sizeof to_http[0]; i++) {
        CHECK_INT(mc_grpc_to_http(i), to_http[i]);
    }
    CHECK_INT(mc_grpc_to_http(UINT64_MAX), 500);
}

TEST(timeouts_are_read) {
    static const struct {
        const char *text;
        long long ms; /* negative: refused */
    } cases[] = {
        {"1H", 3600000},
        {"2M", 120000},
        {"3S", 3000},
        {"4m", 4},
        {"1u", 1},
        {"1000u", 1},
        {"1001u", 2},
        {"1n", 1},
        {"1000001n", 2},
        {"0m", 0},
        {"0n", 0},
        {"99999999m", 99999999},
        {"99999999H", 359999996400000},
        {"100000000m", -1},
        {"m", -1},
        {"", -1},
        {"1", -1},
        {"1s", -1},
        {"-1m", -1},
        {"+1m", -1},
        {" 1m", -1},
        {"1 m", -1},
        {"1.5S", -1},
        {"1mm", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t ms = 0;
        mc_status status = mc_grpc_timeout_parse(mc_slice_cstr(cases[i].text), &ms);
        CHECK_INT(status, cases[i].ms < 0 ? MC_EINVAL : MC_OK);
        if (cases[i].ms >= 0) {
            CHECK_INT(ms, cases[i].ms);
        }
    }
}

TEST(timeouts_are_written) {
    static const struct {
        uint64_t ms;
        const char *text;
    } cases[] = {
        {0, "0m"},
        {1, "1m"},
        {99999999, "99999999m"},
        {100000000, "100000S"},
        {99999999999, "99999999S"},
        {100000000000, "1666666M"},
        {6000000000000, "1666666H"},
        {UINT64_MAX, "99999999H"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[MC_GRPC_TIMEOUT_TEXT];
        CHECK_SLICE(mc_slice_of(text, mc_grpc_timeout_write(cases[i].ms, text)), cases[i].text);
    }
}
