/* Skipping sixteen at a time against the plain definitions, for every byte at every place. */
#include "../test.h"
#include "h1/bytes.h"

enum { LENGTH = 40 };

static size_t visible_length(const char *p, size_t n) {
    size_t i = 0;
    while (i < n && (unsigned char)p[i] > ' ' && (unsigned char)p[i] < 0x7f) {
        i++;
    }
    return i;
}

static bool is_control(unsigned char c) { return c < ' ' || c == 0x7f; }

static bool is_token(unsigned char c) {
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') ||
           (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

TEST(visible_length) {
    char text[LENGTH];
    for (int at = 0; at < LENGTH; at++) {
        for (int c = 0; c < 256; c++) {
            memset(text, 'a', sizeof text);
            text[at] = (char)c;
            for (size_t n = (size_t)at; n <= LENGTH; n += 3) {
                CHECK_INT(mc_h1_visible_length((mc_slice){text, n}), visible_length(text, n));
            }
        }
    }
}

TEST(find_control) {
    char text[LENGTH + MC_H1_SLACK];
    for (int at = 0; at < LENGTH; at++) {
        for (int c = 0; c < 256; c++) {
            memset(text, 'a', sizeof text);
            text[LENGTH - 1] = '\0';
            text[at] = (char)c;
            if (at == LENGTH - 1 && !is_control((unsigned char)c)) {
                continue;
            }
            char *expected = is_control((unsigned char)c) ? text + at : text + LENGTH - 1;
            CHECK(mc_h1_find_control(text) == expected);
        }
    }
}

TEST(lower_name) {
    char text[LENGTH + MC_H1_SLACK], before[LENGTH + MC_H1_SLACK];
    for (int at = 0; at < LENGTH - 1; at++) {
        for (int c = 0; c < 256; c++) {
            memset(text, 'B', sizeof text);
            text[LENGTH - 1] = ':';
            text[at] = (char)c;
            memcpy(before, text, sizeof text);
            size_t n = 0;
            while (is_token((unsigned char)before[n])) {
                n++;
            }
            CHECK(mc_h1_lower_name(text) == text + n);
            for (size_t i = 0; i < sizeof text; i++) { /* nothing behind the name is touched */
                CHECK_INT(text[i], i < n ? mc_ascii_lower(before[i]) : before[i]);
            }
        }
    }
}

TEST(lower_token_is_the_table_of_rfc_9110) {
    for (int c = 0; c < 256; c++) {
        CHECK_INT(mc_h1_lower_token[c], is_token((unsigned char)c) ? mc_ascii_lower((char)c) : 0);
    }
}
