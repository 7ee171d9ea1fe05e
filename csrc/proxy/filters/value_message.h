/* google.protobuf.Value on the wire. */
#ifndef MC_PROXY_FILTERS_VALUE_MESSAGE_H
#define MC_PROXY_FILTERS_VALUE_MESSAGE_H

#include "base/value_edit.h"

/* MC_EINVAL: not such a message. Text is borrowed from `bytes`. */
MC_MUST_CHECK mc_status mc_value_message_parse(mc_arena *arena, mc_slice bytes, mc_value *out);

/* One field of a message: its number, and either an integer (varint, fixed) or bytes. The way to read any message. */
typedef struct mc_wire_field {
    uint32_t number;
    uint8_t type; /* 0 varint, 1 fixed 64, 2 bytes, 5 fixed 32 */
    uint64_t integer;
    mc_slice bytes;
} mc_wire_field;
/* 1: a field was taken off *rest; 0: there is none; MC_EINVAL. */
int mc_wire_next(mc_slice *rest, mc_wire_field *field);

#endif
