/* Conditions on the kind of request: gRPC (RT-11) and CONNECT (RT-6). */
#include "route/compile.h"
#include "route/matcher.h"

static int grpc_holds(const void *self, const mc_match_input *in) {
    (void)self;
    mc_slice type = mc_headers_get_known(in->request->headers, MC_H_CONTENT_TYPE);
    return in->path.p != NULL && (mc_slice_eq(type, MC_SLICE("application/grpc")) ||
                                  mc_slice_has_prefix(type, MC_SLICE("application/grpc+")));
}

mc_status mc_match_grpc_compile(mc_arena *arena, const mc_value *value, mc_matcher *out, mc_error *error) {
    (void)arena;
    static const char *const known[] = {NULL};
    MC_TRY(mc_refuse_unknown(value, known, error));
    *out = (mc_matcher){grpc_holds, NULL};
    return MC_OK;
}

static int connect_holds(const void *self, const mc_match_input *in) {
    (void)self;
    const mc_headers *headers = in->request->headers;
    return mc_slice_eq(mc_headers_get_known(headers, MC_H_METHOD), MC_SLICE("CONNECT")) ||
           mc_slice_ieq(mc_headers_get_known(headers, MC_H_UPGRADE), MC_SLICE("connect-udp"));
}

mc_status mc_match_connect_compile(mc_arena *arena, const mc_value *value, mc_matcher *out, mc_error *error) {
    (void)arena;
    static const char *const known[] = {NULL};
    MC_TRY(mc_refuse_unknown(value, known, error));
    *out = (mc_matcher){connect_holds, NULL};
    return MC_OK;
}
