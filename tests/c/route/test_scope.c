/* Scoped routes: keys out of headers, and what is refused. */
#include "route/scope.h"

#include "route_test.h"

static mc_status compile(fixture *f, const char *config, mc_scopes **out) {
    CHECK_INT(fixture_parse(f, config), MC_OK);
    return mc_scopes_compile(f->config, out, &f->error);
}

/* A ScopedRoutes of these fragments and scopes. */
#define SCOPES(fragments, list)                                                                                        \
    "{'scope_key_builder': {'fragments': [" fragments                                                                  \
    "]}, 'scoped_route_configurations_list': {'scoped_route_configurations': [" list "]}}"
#define EXTRACT(name, rest) "{'header_value_extractor': {'name': '" name "'" rest "}}"
#define WHOLE               EXTRACT("x", ", 'index': 0")
#define SCOPE(name, keys)                                                                                              \
    "{'name': '" name "', 'route_configuration_name': 'r-" name "', 'key': {'fragments': [" keys "]}}"
#define KEY(text) "{'string_key': '" text "'}"

#define ZONE EXTRACT("X-Tenant", ", 'element_separator': ';', 'element': {'separator': '=', 'key': 'zone'}")
#define PART EXTRACT("x-part", ", 'element_separator': ',', 'index': 1")

TEST(keys_out_of_headers) {
    fixture f;
    mc_scopes *scopes;
    static const struct {
        const char *request, *scope;
    } cases[] = {{"/\nx-tenant: a;zone=eu,vip=1;c\nx-part: p,q", "vip"},
                 {"/\nx-tenant: z;zone=eu\nx-part: p,q", "one"},
                 {"/\nx-tenant: zone=us;zone=eu\nx-part: p,q", "two"},
                 {"/\nx-tenant: zone=us\nx-part: p,q,r", "two"},
                 {"/\nx-tenant: zone=us\nx-part: p", ""},
                 {"/\nx-tenant: zones=us\nx-part: p,q", ""},
                 {"/\nx-tenant: zone\nx-part: p,q", "empty"},
                 {"/\nx-tenant: zone=\nx-part: p,q", "empty"},
                 {"/\nx-part: p,q", ""},
                 {"/\nx-tenant: zone=xx\nx-part: p,q", ""}};
    static const char config[] = SCOPES(
        ZONE "," PART, SCOPE("one", KEY("eu") "," KEY("q")) "," SCOPE("vip", KEY("eu,vip=1") "," KEY("q")) "," SCOPE(
                           "two", KEY("us") "," KEY("q")) "," SCOPE("empty", KEY("") "," KEY("q")));
    CHECK_INT(compile(&f, config, &scopes), MC_OK);
    CHECK_INT(mc_scopes_count(scopes), 4);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        request r;
        uint32_t at;
        request_init(&r, cases[i].request);
        CHECK_INT(mc_scopes_find(scopes, &r.headers, &r.arena, &at), MC_OK);
        CHECK_SLICE(at == UINT32_MAX ? MC_SLICE("") : mc_scopes_at(scopes, at)->name, cases[i].scope);
        request_fini(&r);
    }
    CHECK_SLICE(mc_scopes_at(scopes, 0)->route_configuration_name, "r-one");
    mc_scopes_free(scopes);
    fixture_fini(&f);
}

TEST(a_whole_value_is_one_element) {
    fixture f;
    mc_scopes *scopes;
    request r;
    uint32_t at;
    CHECK_INT(compile(&f, SCOPES(WHOLE, SCOPE("a", KEY("1,2"))), &scopes), MC_OK);
    request_init(&r, "/\nx: 1,2");
    CHECK_INT(mc_scopes_find(scopes, &r.headers, &r.arena, &at), MC_OK);
    CHECK_INT(at, 0);
    request_fini(&r);
    mc_scopes_free(scopes);
    fixture_fini(&f);
}

#define FRAGMENT "scope_key_builder.fragments[0]"
#define LIST     "scoped_route_configurations_list.scoped_route_configurations"

TEST(scopes_that_are_refused) {
    static const struct {
        const char *config, *path;
    } cases[] = {
        {"{}", "scope_key_builder.fragments"},
        {"{'scope_key_builder': {'fragments': [" WHOLE "]}}", "scoped_route_configurations_list"},
        {SCOPES("{}", ""), FRAGMENT ".header_value_extractor"},
        {SCOPES(EXTRACT("", ", 'index': 0"), ""), FRAGMENT ".header_value_extractor.name"},
        {SCOPES(EXTRACT("x", ""), ""), FRAGMENT ".header_value_extractor"},
        {SCOPES(EXTRACT("x", ", 'index': 1"), ""), FRAGMENT ".header_value_extractor.index"},
        {SCOPES(EXTRACT("x", ", 'element': {'separator': '='}"), ""), FRAGMENT ".header_value_extractor.element.key"},
        {SCOPES(WHOLE, SCOPE("a", KEY("1")) "," SCOPE("b", KEY("1"))), LIST "[1].key"},
        {SCOPES(WHOLE, SCOPE("a", KEY("1")) "," SCOPE("a", KEY("2"))), LIST "[1].name"},
        {SCOPES(WHOLE, SCOPE("a", "")), LIST "[0].key.fragments"},
        {SCOPES(WHOLE, "{'name': 'a', 'key': {'fragments': [" KEY("1") "]}}"), LIST "[0]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fixture f;
        mc_scopes *scopes;
        CHECK_INT(compile(&f, cases[i].config, &scopes), MC_EINVAL);
        CHECK_SLICE(mc_slice_cstr(f.error.path), cases[i].path);
        fixture_fini(&f);
    }
}

TEST(every_failed_allocation_is_an_error) {
    for (long n = 1;; n++) {
        fixture f;
        mc_scopes *scopes = NULL;
        CHECK_INT(fixture_parse(&f, SCOPES(WHOLE, SCOPE("a", KEY("1")))), MC_OK);
        mc_test_alloc_fail_at(n);
        mc_status status = mc_scopes_compile(f.config, &scopes, &f.error);
        mc_test_alloc_fail_at(0);
        mc_scopes_free(scopes);
        fixture_fini(&f);
        if (status == MC_OK) {
            CHECK(n > 2);
            break;
        }
        CHECK_INT(status, MC_ENOMEM);
    }
}
