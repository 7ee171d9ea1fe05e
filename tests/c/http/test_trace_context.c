#include "../test.h"
#include "http/trace_context.h"

typedef struct pair {
    const char *name, *value;
} pair;

static void fill(mc_headers *headers, mc_arena *arena, const pair *pairs) {
    mc_arena_init(arena, NULL);
    mc_headers_init(headers, arena);
    for (; pairs->name != NULL; pairs++) {
        CHECK_INT(mc_headers_add(headers, mc_slice_cstr(pairs->name), mc_slice_cstr(pairs->value)), MC_OK);
    }
}

TEST(b3_is_read) {
    static const struct {
        pair headers[5];
        bool w3c;
        mc_trace_found found;
        int sampled;
        mc_trace_context context;
    } cases[] = {
        {{{0}}, false, MC_TRACE_ABSENT, -1, {0}},
        {{{"x-b3-traceid", "1"}}, false, MC_TRACE_ABSENT, -1, {0}},
        {{{"x-b3-sampled", "0"}}, false, MC_TRACE_ABSENT, 0, {0}},
        {{{"x-b3-sampled", "true"}}, false, MC_TRACE_ABSENT, 1, {0}},
        {{{"x-b3-sampled", "yes"}}, false, MC_TRACE_ABSENT, 0, {0}},
        {{{"x-b3-traceid", "0000000000000abc"}, {"x-b3-spanid", "f"}},
         false,
         MC_TRACE_PRESENT,
         -1,
         {0, 0xabc, 15, 0, 0}},
        {{{"x-b3-traceid", "00000000000000010000000000000002"},
          {"x-b3-spanid", "0000000000000003"},
          {"x-b3-parentspanid", "4"},
          {"x-b3-sampled", "1"}},
         false,
         MC_TRACE_PRESENT,
         1,
         {1, 2, 3, 4, 0}},
        {{{"x-b3-traceid", "zz"}, {"x-b3-spanid", "1"}}, false, MC_TRACE_INVALID, -1, {0}},
        {{{"x-b3-traceid", "1"}, {"x-b3-spanid", ""}}, false, MC_TRACE_INVALID, -1, {0}},
        {{{"x-b3-traceid", "1"}, {"x-b3-spanid", "1"}, {"x-b3-parentspanid", "p"}}, false, MC_TRACE_INVALID, -1, {0}},
        {{{"x-b3-traceid", "12345678901234567"}, {"x-b3-spanid", "1"}}, false, MC_TRACE_INVALID, -1, {0}},
        {{{"b3", "0"}}, false, MC_TRACE_ABSENT, 0, {0}},
        {{{"b3", "d"}}, false, MC_TRACE_ABSENT, 1, {0}},
        {{{"b3", "x"}}, false, MC_TRACE_INVALID, -1, {0}},
        {{{"b3", ""}}, false, MC_TRACE_INVALID, -1, {0}},
        {{{"b3", "garbage"}}, false, MC_TRACE_INVALID, -1, {0}},
        {{{"b3", "0000000000000001-0000000000000002"}}, false, MC_TRACE_PRESENT, -1, {0, 1, 2, 0, 0}},
        {{{"b3", "0000000000000001-0000000000000002-d"}}, false, MC_TRACE_PRESENT, 1, {0, 1, 2, 0, 0}},
        {{{"b3", "00000000000000090000000000000001-0000000000000002-0-0000000000000003"}},
         false,
         MC_TRACE_PRESENT,
         0,
         {9, 1, 2, 3, 0}},
        {{{"b3", "0000000000000001-0000000000000002-0000000000000003"}}, false, MC_TRACE_INVALID, -1, {0}},
        {{{"b3", "0000000000000001-0000000000000002-"}}, false, MC_TRACE_INVALID, -1, {0}},
        {{{"b3", "0000000000000001-0000000000000002-1-"}}, false, MC_TRACE_INVALID, -1, {0}},
        {{{"b3", "0000000000000001-0000000000000002-x"}}, false, MC_TRACE_INVALID, -1, {0}},
        {{{"b3", "0"}, {"x-b3-traceid", "1"}, {"x-b3-spanid", "2"}}, false, MC_TRACE_ABSENT, 0, {0}},
        {{{"traceparent", "00-00000000000000010000000000000002-0000000000000003-01"}}, false, MC_TRACE_ABSENT, -1, {0}},
        {{{"traceparent", "00-00000000000000010000000000000002-0000000000000003-01"}},
         true,
         MC_TRACE_PRESENT,
         1,
         {1, 2, 3, 0, 1}},
        {{{"traceparent", "garbage"}}, true, MC_TRACE_ABSENT, -1, {0}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mc_arena arena;
        mc_headers headers;
        mc_trace_context context;
        int sampled;
        fill(&headers, &arena, cases[i].headers);
        CHECK_INT(mc_b3_read(&headers, cases[i].w3c, &context, &sampled), cases[i].found);
        CHECK_INT(sampled, cases[i].sampled);
        if (cases[i].found == MC_TRACE_PRESENT) {
            CHECK_U64(context.trace_high, cases[i].context.trace_high);
            CHECK_U64(context.trace_low, cases[i].context.trace_low);
            CHECK_U64(context.span, cases[i].context.span);
            CHECK_U64(context.parent, cases[i].context.parent);
        }
        mc_arena_fini(&arena);
    }
}

TEST(w3c_is_read) {
    static const struct {
        const char *text;
        mc_trace_found found;
        bool sampled;
    } cases[] = {
        {"00-00000000000000010000000000000002-0000000000000003-01", MC_TRACE_PRESENT, true},
        {"00-00000000000000010000000000000002-0000000000000003-00", MC_TRACE_PRESENT, false},
        {"ff-00000000000000010000000000000002-0000000000000003-03", MC_TRACE_PRESENT, true},
        {"00-00000000000000000000000000000000-0000000000000003-01", MC_TRACE_INVALID, false},
        {"00-00000000000000010000000000000002-0000000000000000-01", MC_TRACE_INVALID, false},
        {"00-0000000000000001000000000000000g-0000000000000003-01", MC_TRACE_INVALID, false},
        {"00-00000000000000010000000000000002-0000000000000003-0", MC_TRACE_INVALID, false},
        {"00-00000000000000010000000000000002-0000000000000003-011", MC_TRACE_INVALID, false},
        {"00_00000000000000010000000000000002-0000000000000003-01", MC_TRACE_INVALID, false},
        {"", MC_TRACE_INVALID, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mc_arena arena;
        mc_headers headers;
        mc_trace_context context;
        fill(&headers, &arena, (pair[]){{"traceparent", cases[i].text}, {0}});
        CHECK_INT(mc_w3c_read(&headers, &context), cases[i].found);
        CHECK_INT(cases[i].found == MC_TRACE_PRESENT && context.sampled, cases[i].sampled);
        mc_arena_fini(&arena);
    }
}

TEST(contexts_are_written) {
    mc_arena arena;
    mc_headers headers;
    fill(&headers, &arena, (pair[]){{"x-b3-spanid", "old"}, {0}});
    mc_trace_context context = {.trace_low = 0xabc, .span = 2, .sampled = true};
    CHECK_INT(mc_b3_write(&headers, &context), MC_OK);
    CHECK_SLICE(mc_headers_get(&headers, MC_SLICE("x-b3-traceid")), "0000000000000abc");
    CHECK_SLICE(mc_headers_get(&headers, MC_SLICE("x-b3-spanid")), "0000000000000002");
    CHECK_SLICE(mc_headers_get(&headers, MC_SLICE("x-b3-sampled")), "1");
    CHECK(mc_headers_get(&headers, MC_SLICE("x-b3-parentspanid")).p == NULL);
    context = (mc_trace_context){.trace_high = 1, .trace_low = 2, .span = 3, .parent = 4};
    CHECK_INT(mc_b3_write(&headers, &context), MC_OK);
    CHECK_INT(mc_w3c_write(&headers, &context), MC_OK);
    CHECK_SLICE(mc_headers_get(&headers, MC_SLICE("x-b3-traceid")), "00000000000000010000000000000002");
    CHECK_SLICE(mc_headers_get(&headers, MC_SLICE("x-b3-parentspanid")), "0000000000000004");
    CHECK_SLICE(mc_headers_get(&headers, MC_SLICE("x-b3-sampled")), "0");
    CHECK_SLICE(mc_headers_get_known(&headers, MC_H_TRACEPARENT),
                "00-00000000000000010000000000000002-0000000000000003-00");
    mc_arena_fini(&arena);
}

TEST(request_ids) {
    uint64_t number;
    CHECK(mc_request_id_number(MC_SLICE("0000000a-rest"), &number));
    CHECK_U64(number, 10);
    CHECK(!mc_request_id_number(MC_SLICE("0000000"), &number));
    CHECK(!mc_request_id_number(MC_SLICE("0000000x"), &number));
    CHECK(mc_request_id_number(MC_SLICE("0X000031-rest"), &number));
    CHECK_U64(number, 0x31);
    char id[] = "00000000-0000-4000-8000-000000000000";
    for (int reason = MC_TRACE_NOT_TRACEABLE; reason <= MC_TRACE_CLIENT_FORCED; reason++) {
        id[MC_REQUEST_ID_REASON] = mc_trace_reason_digit((mc_trace_reason)reason);
        CHECK_INT(mc_request_id_reason(mc_slice_cstr(id)), reason);
    }
    CHECK_INT(mc_request_id_reason(mc_slice_of(id, 35)), MC_TRACE_NOT_TRACEABLE);
}
