#include "base/wire.h"

#include <stdlib.h>
#include <string.h>

#include "../test.h"

static void expect(mc_text *text, const char *bytes, size_t n) {
    CHECK(!text->failed);
    CHECK_U64(text->n, n);
    CHECK(text->n == n && memcmp(text->p, bytes, n) == 0);
    mc_text_fini(text);
    mc_text_init(text);
}
#define EXPECT(text, literal) expect(text, literal, sizeof(literal) - 1)

TEST(numbers) {
    mc_text text;
    mc_text_init(&text);
    mc_wire_u64(&text, 1, 0);
    mc_wire_u64(&text, 1, 150);
    EXPECT(&text, "\x08\x96\x01");
    mc_wire_u64(&text, 16, 127);
    EXPECT(&text, "\x80\x01\x7f");
    mc_wire_i64(&text, 1, -1);
    EXPECT(&text, "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
    mc_wire_fixed64(&text, 2, 0);
    mc_wire_fixed64(&text, 2, 258);
    EXPECT(&text, "\x11\x02\x01\0\0\0\0\0\0");
    mc_wire_double(&text, 2, 0);
    EXPECT(&text, "\x11\0\0\0\0\0\0\0\0");
    mc_wire_bytes(&text, 3, MC_SLICE("ab"));
    EXPECT(&text, "\x1a\2ab");
}

TEST(what_is_no_utf8) {
    static const struct {
        const char *from, *to;
    } cases[] = {
        {"plain", "plain"},
        {"\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80", "\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80"},
        {"\xff\xfe\\ x", "!!\\ x"},
        {"a\xc3", "a!"},
        {"\xc0\x80", "!!"},           /* overlong */
        {"\xe0\x80\x80|", "!!!|"},    /* overlong */
        {"\xed\xa0\x80", "!!!"},      /* a surrogate */
        {"\xf4\x90\x80\x80", "!!!!"}, /* beyond Unicode */
        {"\xe4\xb8x", "!!x"},         /* broken off */
        {"\xed\x9f\xbf\xf4\x8f\xbf\xbf", "\xed\x9f\xbf\xf4\x8f\xbf\xbf"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mc_text text;
        mc_text_init(&text);
        mc_wire_text(&text, 1, mc_slice_cstr(cases[i].from));
        CHECK_U64(text.n, 2 + strlen(cases[i].to));
        CHECK(memcmp(text.p + 2, cases[i].to, text.n - 2) == 0);
        mc_text_fini(&text);
    }
}

TEST(messages_of_every_length) {
    static const size_t lengths[] = {0, 1, 127, 128, 300, 16383, 16384, 70000};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        char *content = calloc(1, lengths[i] + 1);
        memset(content, 'x', lengths[i]);
        mc_text text, plain;
        mc_text_init(&text);
        mc_text_init(&plain);
        mc_text_lit(&text, "before");
        const size_t outer = mc_wire_begin(&text, 1), inner = mc_wire_begin(&text, 2);
        mc_text_add(&text, mc_slice_of(content, lengths[i]));
        mc_wire_end(&text, inner);
        mc_wire_end(&text, outer);
        if (lengths[i] > 0) { /* as bytes, which are written with their length known */
            mc_text whole;
            mc_text_init(&whole);
            mc_wire_bytes(&plain, 2, mc_slice_of(content, lengths[i]));
            mc_wire_bytes(&whole, 1, mc_text_slice(&plain));
            CHECK_U64(text.n, whole.n + 6);
            CHECK(memcmp(text.p + 6, whole.p, whole.n) == 0);
            mc_text_fini(&whole);
        } else {
            CHECK_U64(text.n, 10);
            CHECK(memcmp(text.p, "before\x0a\2\x12\0", 10) == 0);
        }
        mc_text_fini(&text);
        mc_text_fini(&plain);
        free(content);
    }
}
