/* Addresses: text both ways, and what kind they are. */
#include "base/address.h"

#include "../test.h"

static mc_address at(const char *ip, uint16_t port) {
    mc_address address;
    CHECK_INT(mc_address_parse(&address, mc_slice_cstr(ip), port), MC_OK);
    return address;
}

TEST(text_is_what_was_parsed) {
    static const struct {
        const char *ip;
        const char *text, *canonical;
    } rows[] = {
        {"1.2.3.4", "1.2.3.4:80", "1.2.3.4"},
        {"::1", "[::1]:80", "::1"},
        {"2001:db8:0:0:0:0:0:1", "[2001:db8::1]:80", "2001:db8::1"},
        {"ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:80",
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        mc_address address = at(rows[i].ip, 80);
        char out[MC_ADDRESS_TEXT];
        CHECK_U64(mc_address_text(&address, out), strlen(rows[i].text));
        CHECK_SLICE(mc_slice_cstr(out), rows[i].text);
        CHECK_U64(mc_address_ip(&address, out), strlen(rows[i].canonical));
        CHECK_SLICE(mc_slice_cstr(out), rows[i].canonical);
        CHECK_INT(mc_address_port(&address), 80);
    }
}

TEST(what_is_no_literal_is_refused) {
    static const char *const rows[] = {"",          "localhost", "1.2.3", "1.2.3.4.5",
                                       "1.2.3.256", "[::1]",     "::1::", "1.2.3.4 "};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        mc_address address;
        CHECK_INT(mc_address_parse(&address, mc_slice_cstr(rows[i]), 1), MC_EINVAL);
    }
    mc_address address;
    CHECK_INT(mc_address_parse(&address, mc_slice_of("1.2.3.4\0", 8), 1), MC_EINVAL);
}

TEST(kinds) {
    static const struct {
        const char *ip;
        bool any, loopback;
    } rows[] = {
        {"0.0.0.0", true, false}, {"::", true, false},        {"127.0.0.1", false, true},  {"127.9.9.9", false, false},
        {"::1", false, true},     {"10.0.0.1", false, false}, {"128.0.0.1", false, false}, {"2001:db8::", false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        mc_address address = at(rows[i].ip, 0);
        CHECK_INT(mc_address_is_any(&address), rows[i].any);
        CHECK_INT(mc_address_is_loopback(&address), rows[i].loopback);
    }
    mc_address none = {.length = 0};
    char out[MC_ADDRESS_TEXT];
    CHECK(mc_address_is_any(&none) && !mc_address_is_loopback(&none) && mc_address_port(&none) == 0);
    CHECK_U64(mc_address_text(&none, out), 0);
}

TEST(prefixes) {
    static const struct {
        const char *ip, *network;
        unsigned bits;
        bool in;
    } rows[] = {
        {"10.1.2.3", "10.0.0.0", 8, true},         {"11.1.2.3", "10.0.0.0", 8, false},
        {"10.1.2.3", "10.1.2.0", 23, true},        {"10.1.4.3", "10.1.2.0", 23, false},
        {"1.2.3.4", "9.9.9.9", 0, true},           {"1.2.3.4", "1.2.3.4", 32, true},
        {"1.2.3.5", "1.2.3.4", 32, false},         {"1.2.3.4", "::", 0, false},
        {"2001:db8::1", "2001:db8::", 32, true},   {"2001:db9::1", "2001:db8::", 32, false},
        {"2001:db8::1", "2001:db8::", 127, true},  {"2001:db8::2", "2001:db8::", 127, false},
        {"2001:db8::2", "2001:db8::", 999, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        mc_address address = at(rows[i].ip, 1), network = at(rows[i].network, 2);
        CHECK_INT(mc_address_in_prefix(&address, &network, rows[i].bits), rows[i].in);
    }
}
