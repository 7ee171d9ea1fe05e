/* Cookies that a configuration asks for (`name`, `path`, `ttl`, `attributes`): read once, given out by set-cookie with a value. */
#ifndef MC_HTTP_SET_COOKIE_H
#define MC_HTTP_SET_COOKIE_H

#include "base/read.h"

/* Bytes belong to the arena that it was read with. */
typedef struct mc_set_cookie {
    mc_slice name;
    mc_slice path;       /* empty: none is told */
    mc_slice attributes; /* "; name=value" each */
    uint64_t ttl_s;      /* 0: for as long as the client's session lasts */
    bool has_ttl;        /* configured, be it 0 */
} mc_set_cookie;

MC_MUST_CHECK mc_status mc_set_cookie_read(mc_arena *arena, const mc_value *cookie, mc_set_cookie *out,
                                           mc_error *error);
/* The value of a set-cookie header, in the arena. */
MC_MUST_CHECK mc_status mc_set_cookie_write(const mc_set_cookie *cookie, mc_slice value, mc_arena *arena,
                                            mc_slice *out);

#endif
