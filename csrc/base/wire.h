/* Protobuf's wire format, for messages that the core writes itself (protobuf.dev, "Encoding"): fields appended to a text.
 *
 * As proto3 has it, what is 0, false or empty adds nothing; a message that is begun and ended is there even when it is empty. */
#ifndef MC_BASE_WIRE_H
#define MC_BASE_WIRE_H

#include "base/text.h"

void mc_wire_u64(mc_text *out, uint32_t field, uint64_t value); /* any integer, a bool, an enum */
void mc_wire_i64(mc_text *out, uint32_t field, int64_t value);
void mc_wire_fixed64(mc_text *out, uint32_t field, uint64_t value);
/* Written even when it is 0, for members of a oneof. */
void mc_wire_double(mc_text *out, uint32_t field, double value);
void mc_wire_bytes(mc_text *out, uint32_t field, mc_slice bytes);
/* Each byte that is of no UTF-8 becomes '!', as in what Envoy sends. */
void mc_wire_text(mc_text *out, uint32_t field, mc_slice text);

/* A message inside: mark = begin, its fields, end(mark). */
size_t mc_wire_begin(mc_text *out, uint32_t field);
void mc_wire_end(mc_text *out, size_t mark);

#endif
