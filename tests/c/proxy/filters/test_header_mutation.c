#include "filter_test.h"

#define MUTATE(cfg) FILTER("hm", "header_mutation.v3.HeaderMutation", "," cfg)
#define AT(cfg)     PER_ROUTE("hm", "header_mutation.v3.HeaderMutationPerRoute", ",'mutations':{" cfg "}")
#define SET(name, value)                                                                                               \
    "{'append':{'header':{'key':'" name "','value':'" value "'},'append_action':'OVERWRITE_IF_EXISTS_OR_ADD'}}"
#define ADD(name, value) "{'append':{'header':{'key':'" name "','value':'" value "'}}}"

TEST(one_mutation_after_the_other) {
    begin((setup){
        .filters =
            MUTATE("'mutations':{'request_mutations':[" ADD("x-a", "1") ",{'remove':'X-A'}," ADD("x-a", "2") "," ADD(
                "x-b", "%REQ(x-a)%-%REQ(:METHOD)%") ",{'remove_on_match':{'key_matcher':"
                                                    "{'prefix':'x-secret'}}}],'response_mutations':[" ADD(
                                                        "x-status", "%RESPONSE_CODE%") ",{'remove':'x-up'}]}")});
    p.response = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-up: 1\r\n\r\n";
    const char *got = send_head("GET /old", "x-secret-1: a\r\nX-Secret-2: b\r\nx-c: c\r\n");
    CHECK_HAS(request, "GET /old HTTP/1.1");
    CHECK_HAS(request, "x-a: 2\r\n");
    CHECK_NOT(request, "x-a: 1\r\n");
    CHECK_HAS(request, "x-b: 2-GET\r\n");
    CHECK_NOT(request, "x-secret");
    CHECK_HAS(request, "x-c: c\r\n");
    CHECK_NOT(got, "x-up");
    CHECK_HAS(got, "x-status: 200\r\n");
    end();
}

#define LEVELS(most)                                                                                                   \
    {.filters = MUTATE("'most_specific_header_mutations_wins':" most                                                   \
                       ",'mutations':{'request_mutations':[" SET("x-at", "filter") "," ADD("x-all", "filter") "]}"),   \
     .table = AT("'request_mutations':[" SET("x-at", "table") "," ADD("x-all", "table") "]") ",",                      \
     .host = AT("'request_mutations':[" SET("x-at", "host") "," ADD("x-all", "host") "]") ",",                         \
     .routes = "{'match':{'prefix':'/'},'route':{'cluster':'web'}," AT(                                                \
         "'request_mutations':[" SET("x-at", "route") "," ADD("x-all", "route") "]") "}"}

TEST(every_level_has_a_say) {
    begin((setup)LEVELS("false"));
    send_head("GET /", "");
    CHECK_HAS(request, "x-at: table\r\n");
    CHECK_HAS(request, "x-all: filter\r\nx-all: route\r\nx-all: host\r\nx-at: table\r\nx-all: table\r\n");
    end();
    begin((setup)LEVELS("true"));
    send_head("GET /", "");
    CHECK_HAS(request, "x-at: route\r\n");
    CHECK_HAS(request, "x-all: filter\r\nx-all: table\r\nx-all: host\r\nx-at: route\r\nx-all: route\r\n");
    end();
}

#define QUERY(action, name, value) "{'append':{'record':{'key':'" name "','value':'" value "'},'action':'" action "'}}"

TEST(query_parameters) {
    begin((setup){.filters = MUTATE("'mutations':{'query_parameter_mutations':[{'remove':'gone'}," QUERY(
                      "APPEND_IF_EXISTS_OR_ADD", "b",
                      "2") "," QUERY("ADD_IF_ABSENT", "a",
                                     "no") "," QUERY("OVERWRITE_IF_EXISTS_OR_ADD", "c",
                                                     "%REQ(x-c)%") "," QUERY("OVERWRITE_IF_EXISTS", "d", "no") "]}")});
    send_head("GET /p?gone=1&b=1&a=0&gone", "x-c: see\r\n");
    CHECK_HAS(request, "GET /p?a=0&b=1&b=2&c=see HTTP/1.1");
    end();
}

TEST(trailers) {
    begin((setup){.manager = "'http_protocol_options':{'enable_trailers':true},",
                  .filters =
                      MUTATE("'mutations':{'response_trailers_mutations':[" ADD("x-t", "2") ",{'remove':'x-o'}]}")});
    p.response = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nx-o: 1\r\n\r\n";
    const char *got = send_head("GET /", "");
    CHECK_HAS(got, "200 OK");
    end();
}

TEST(wrong_configurations) {
    CHECK_SLICE(mc_slice_cstr(refused((setup){.filters = MUTATE("'mutations':{'request_mutations':[{}]}")})),
                "http_filters[0].typed_config.mutations.request_mutations[0]");
    CHECK_SLICE(
        mc_slice_cstr(refused((setup){.filters = MUTATE("'mutations':{'request_mutations':[" ADD("x", "%NO%") "]}")})),
        "http_filters[0].typed_config.mutations.request_mutations[0].append.header.value");
}
