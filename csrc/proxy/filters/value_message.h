/* google.protobuf.Value on the wire (base/wire.h), read into the tree that configuration and metadata are. */
#ifndef MC_PROXY_FILTERS_VALUE_MESSAGE_H
#define MC_PROXY_FILTERS_VALUE_MESSAGE_H

#include "base/value_edit.h"

/* MC_EINVAL: not such a message. Text is borrowed from `bytes`. */
MC_MUST_CHECK mc_status mc_value_message_parse(mc_arena *arena, mc_slice bytes, mc_value *out);

#endif
