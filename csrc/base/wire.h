/* Protobuf's wire format (protobuf.dev, "Encoding"): fields appended to a text, and taken off bytes one by one.
 *
 * As proto3 has it, what is 0, false or empty adds nothing; a message that is begun and ended is there even when it is empty. */
#ifndef MC_BASE_WIRE_H
#define MC_BASE_WIRE_H

#include "base/text.h"

typedef enum mc_wire_type {
    MC_WIRE_VARINT = 0,
    MC_WIRE_FIXED64 = 1,
    MC_WIRE_LENGTH = 2,
    MC_WIRE_FIXED32 = 5
} mc_wire_type;

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

/* One field of a message: its number, and either an integer (varint, fixed) or bytes. Bytes are borrowed. */
typedef struct mc_wire_field {
    uint32_t number;
    uint8_t type; /* mc_wire_type */
    uint64_t integer;
    mc_slice bytes;
} mc_wire_field;
/* 1: a field was taken off *rest; 0: there is none; MC_EINVAL. */
int mc_wire_next(mc_slice *rest, mc_wire_field *field);

#endif
