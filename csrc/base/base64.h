/* Base64 (RFC 4648). */
#ifndef MC_BASE_BASE64_H
#define MC_BASE_BASE64_H

#include "base/arena.h"

/* Decodes either alphabet (sections 4 and 5), padding optional, into `out`, which has room for 3 bytes of 4 characters. Returns the
 * length, or -1. */
long mc_base64_decode(mc_slice text, char *out);
/* Whether this is how the alphabet of section 4 writes something, padded or not: no bits are left over that say something. */
bool mc_base64_canonical(mc_slice text);
/* Encodes in the alphabet of section 4, into `arena`. */
MC_MUST_CHECK mc_status mc_base64_encode(mc_arena *arena, mc_slice bytes, bool pad, mc_slice *out);

#endif
