#include "proxy/filters/value_message.h"

#include "base/read.h"
#include "base/wire.h"

enum { MAX_DEPTH = 64 };

static mc_status parse(mc_arena *arena, mc_slice bytes, int depth, mc_value *out);

/* Struct: entries of key (1) and value (2). */
static mc_status parse_struct(mc_arena *arena, mc_slice bytes, int depth, mc_value *out) {
    mc_wire_field field, part;
    const mc_value *object = NULL;
    int more;
    while ((more = mc_wire_next(&bytes, &field)) == 1) {
        mc_slice rest = field.bytes, key = MC_SLICE("");
        mc_value value = {.kind = MC_NULL};
        int inner;
        if (field.number != 1 || field.type != 2) {
            continue;
        }
        while ((inner = mc_wire_next(&rest, &part)) == 1) {
            if (part.number == 1 && part.type == 2) {
                key = part.bytes;
            } else if (part.number == 2 && part.type == 2) {
                MC_TRY(parse(arena, part.bytes, depth, &value));
            }
        }
        if (inner < 0) {
            return (mc_status)inner;
        }
        MC_TRY(mc_value_put(arena, object, key, &value, &object));
    }
    *out = object == NULL ? (mc_value){.kind = MC_OBJECT} : *object;
    return more < 0 ? (mc_status)more : MC_OK;
}

static mc_status parse_list(mc_arena *arena, mc_slice bytes, int depth, mc_value *out) {
    mc_wire_field field;
    size_t count = 0;
    int more;
    for (mc_slice rest = bytes; (more = mc_wire_next(&rest, &field)) == 1;) {
        count += field.number == 1 && field.type == 2;
    }
    mc_value *items = mc_arena_alloc(arena, count * sizeof *items);
    if (more < 0 || items == NULL) {
        return more < 0 ? (mc_status)more : MC_ENOMEM;
    }
    for (size_t i = 0; mc_wire_next(&bytes, &field) == 1;) {
        if (field.number == 1 && field.type == 2) {
            MC_TRY(parse(arena, field.bytes, depth, &items[i++]));
        }
    }
    *out = (mc_value){.kind = MC_LIST, .items = items, .count = count};
    return MC_OK;
}

static mc_status parse(mc_arena *arena, mc_slice bytes, int depth, mc_value *out) {
    mc_wire_field field;
    int more;
    *out = (mc_value){.kind = MC_NULL};
    if (depth == 0) {
        return MC_EINVAL;
    }
    while ((more = mc_wire_next(&bytes, &field)) == 1) {
        switch (field.number << 3 | field.type) {
        case 1 << 3: *out = (mc_value){.kind = MC_NULL}; break;
        case 2 << 3 | 1: {
            double number;
            memcpy(&number, &field.integer, sizeof number);
            *out = mc_value_number(number);
            break;
        }
        case 3 << 3 | 2: *out = mc_value_text(field.bytes); break;
        case 4 << 3: *out = mc_value_bool(field.integer != 0); break;
        case 5 << 3 | 2: MC_TRY(parse_struct(arena, field.bytes, depth - 1, out)); break;
        case 6 << 3 | 2: MC_TRY(parse_list(arena, field.bytes, depth - 1, out)); break;
        default: break; /* unknown fields are passed over */
        }
    }
    return more < 0 ? (mc_status)more : MC_OK;
}

mc_status mc_value_message_parse(mc_arena *arena, mc_slice bytes, mc_value *out) {
    return parse(arena, bytes, MAX_DEPTH, out);
}
