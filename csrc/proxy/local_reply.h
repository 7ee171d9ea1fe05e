/* Local replies as configured: the first mapper whose filter holds changes a reply, then a format makes its body (HC-50). */
#ifndef MC_PROXY_LOCAL_REPLY_H
#define MC_PROXY_LOCAL_REPLY_H

#include "base/runtime.h"
#include "base/value.h"
#include "http/headers.h"
#include "http/stream_info.h"

typedef struct mc_local_replies mc_local_replies;

/* local_reply_config of an HttpConnectionManager, which may be NULL: *out NULL then. */
MC_MUST_CHECK mc_status mc_local_replies_compile(mc_arena *arena, const mc_value *config, const mc_local_replies **out,
                                                 mc_error *error);

/* A reply on its way. `info` is that of its stream, `info->response` the reply's headers, with its status. */
typedef struct mc_local_reply {
    mc_headers *headers;
    uint16_t status;
    mc_slice body;
    mc_slice content_type; /* of the body; empty: nothing was formatted */
} mc_local_reply;
MC_MUST_CHECK mc_status mc_local_replies_apply(const mc_local_replies *replies, mc_stream_info *info,
                                               const mc_runtime *runtime, mc_random *random, mc_local_reply *reply);

#endif
