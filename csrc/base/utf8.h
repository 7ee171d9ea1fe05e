/* UTF-8 (RFC 3629 section 4). Pure functions. */
#ifndef MC_BASE_UTF8_H
#define MC_BASE_UTF8_H

#include "base/slice.h"

/* The length of the sequence that `text` starts with; 0: it starts with none. */
size_t mc_utf8_length(mc_slice text);
bool mc_utf8_valid(mc_slice text);
/* Writes a code point of at most 0x1fffff; returns the number of bytes, 1 to 4. A surrogate is written like any other. */
size_t mc_utf8_write(char *out, uint32_t code);

#endif
