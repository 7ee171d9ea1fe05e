/* Arithmetic, equality and order. Overflow is an error; numbers of different kinds compare as numbers and do not add. */
#include <math.h>

#include "cel/node.h"

static mc_cel arith_int(mc_cel_op op, int64_t a, int64_t b) {
    int64_t result;
    bool bad;
    switch (op) {
    case MC_CEL_ADD: bad = __builtin_add_overflow(a, b, &result); break;
    case MC_CEL_SUBTRACT: bad = __builtin_sub_overflow(a, b, &result); break;
    case MC_CEL_MULTIPLY: bad = __builtin_mul_overflow(a, b, &result); break;
    default:
        if (b == 0 || (a == INT64_MIN && b == -1)) {
            return MC_CEL_FAILED;
        }
        return mc_cel_int(op == MC_CEL_DIVIDE ? a / b : a % b);
    }
    return bad ? MC_CEL_FAILED : mc_cel_int(result);
}

static mc_cel arith_uint(mc_cel_op op, uint64_t a, uint64_t b) {
    uint64_t result;
    bool bad;
    switch (op) {
    case MC_CEL_ADD: bad = __builtin_add_overflow(a, b, &result); break;
    case MC_CEL_SUBTRACT: bad = __builtin_sub_overflow(a, b, &result); break;
    case MC_CEL_MULTIPLY: bad = __builtin_mul_overflow(a, b, &result); break;
    default:
        if (b == 0) {
            return MC_CEL_FAILED;
        }
        return mc_cel_uint(op == MC_CEL_DIVIDE ? a / b : a % b);
    }
    return bad ? MC_CEL_FAILED : mc_cel_uint(result);
}

static mc_cel arith_double(mc_cel_op op, double a, double b) {
    switch (op) {
    case MC_CEL_ADD: return mc_cel_double(a + b);
    case MC_CEL_SUBTRACT: return mc_cel_double(a - b);
    case MC_CEL_MULTIPLY: return mc_cel_double(a * b);
    case MC_CEL_DIVIDE: return mc_cel_double(a / b);
    default: return MC_CEL_FAILED;
    }
}

/* Times add up to `kind`. */
static mc_cel arith_time(const mc_cel *a, const mc_cel *b, bool add, mc_cel_kind kind) {
    mc_cel result = {.kind = (uint8_t)kind};
    const int64_t ns = (int64_t)a->ns + (add ? (int64_t)b->ns : -(int64_t)b->ns);
    const int64_t carry = ns < 0 ? -1 : ns / 1000000000;
    if ((add ? __builtin_add_overflow(a->seconds, b->seconds, &result.seconds)
             : __builtin_sub_overflow(a->seconds, b->seconds, &result.seconds)) ||
        __builtin_add_overflow(result.seconds, carry, &result.seconds)) {
        return MC_CEL_FAILED;
    }
    result.ns = (uint32_t)(ns - carry * 1000000000);
    return result;
}

mc_cel mc_cel_arith(mc_cel_op op, const mc_cel *a, const mc_cel *b) {
    const bool stamp = a->kind == MC_CEL_TIMESTAMP, other = b->kind == MC_CEL_TIMESTAMP;
    const bool times = (stamp || a->kind == MC_CEL_DURATION) && (other || b->kind == MC_CEL_DURATION);
    if (times && op == MC_CEL_ADD && !(stamp && other)) {
        return arith_time(a, b, true, stamp || other ? MC_CEL_TIMESTAMP : MC_CEL_DURATION);
    }
    if (times && op == MC_CEL_SUBTRACT && (stamp || !other)) {
        return arith_time(a, b, false, stamp && !other ? MC_CEL_TIMESTAMP : MC_CEL_DURATION);
    }
    if (a->kind != b->kind) {
        return MC_CEL_FAILED;
    }
    switch (a->kind) {
    case MC_CEL_INT: return arith_int(op, a->i, b->i);
    case MC_CEL_UINT: return arith_uint(op, a->u, b->u);
    case MC_CEL_DOUBLE: return arith_double(op, a->d, b->d);
    default: return MC_CEL_FAILED;
    }
}

mc_cel mc_cel_negate(const mc_cel *a) {
    if (a->kind == MC_CEL_INT && a->i != INT64_MIN) {
        return mc_cel_int(-a->i);
    }
    return a->kind == MC_CEL_DOUBLE ? mc_cel_double(-a->d) : MC_CEL_FAILED;
}

/* --- equality and order ------------------------------------------------------------------------------------------------------ */

enum { UNORDERED = 2 };

static int order_doubles(double a, double b) { return a < b ? -1 : a > b ? 1 : a == b ? 0 : UNORDERED; }

static bool is_number(const mc_cel *v) { return v->kind >= MC_CEL_INT && v->kind <= MC_CEL_DOUBLE; }

static double as_double(const mc_cel *v) {
    return v->kind == MC_CEL_INT ? (double)v->i : v->kind == MC_CEL_UINT ? (double)v->u : v->d;
}

static int order_numbers(const mc_cel *a, const mc_cel *b) {
    if (a->kind == MC_CEL_DOUBLE || b->kind == MC_CEL_DOUBLE) {
        return order_doubles(as_double(a), as_double(b));
    }
    const bool below_a = a->kind == MC_CEL_INT && a->i < 0, below_b = b->kind == MC_CEL_INT && b->i < 0;
    if (below_a != below_b) {
        return below_a ? -1 : 1;
    }
    return a->u < b->u ? -1 : a->u > b->u; /* two's complement keeps the order of negative ones */
}

static int order_times(const mc_cel *a, const mc_cel *b) {
    if (a->seconds != b->seconds) {
        return a->seconds < b->seconds ? -1 : 1;
    }
    return a->ns < b->ns ? -1 : a->ns > b->ns;
}

mc_cel mc_cel_order(mc_cel_op op, const mc_cel *a, const mc_cel *b) {
    int order;
    if (is_number(a) && is_number(b)) {
        order = order_numbers(a, b);
    } else if (a->kind != b->kind) {
        return MC_CEL_FAILED;
    } else {
        switch (a->kind) {
        case MC_CEL_BOOL: order = a->boolean - b->boolean; break;
        case MC_CEL_STRING:
        case MC_CEL_BYTES: order = mc_slice_cmp(a->text, b->text); break;
        case MC_CEL_DURATION:
        case MC_CEL_TIMESTAMP: order = order_times(a, b); break;
        default: return MC_CEL_FAILED;
        }
    }
    if (order == UNORDERED) {
        return mc_cel_bool(false);
    }
    switch (op) {
    case MC_CEL_LT: return mc_cel_bool(order < 0);
    case MC_CEL_LE: return mc_cel_bool(order <= 0);
    case MC_CEL_GT: return mc_cel_bool(order > 0);
    default: return mc_cel_bool(order >= 0);
    }
}

static bool lists_equal(const mc_cel *a, const mc_cel *b, mc_cel_context *ctx) {
    const uint32_t count = mc_cel_size(a);
    bool equal = count == mc_cel_size(b);
    for (uint32_t i = 0; i < count && equal; i++) {
        mc_cel left = mc_cel_list_item(a, i), right = mc_cel_list_item(b, i);
        equal = mc_cel_equal(&left, &right, ctx);
    }
    return equal;
}

/* Keys are none of them twice, so that it is enough to ask one side's. */
static bool maps_equal(const mc_cel *a, const mc_cel *b, mc_cel_context *ctx) {
    bool equal = mc_cel_size(a) == mc_cel_size(b);
    for (uint32_t i = 0, slots = mc_cel_map_slots(a); i < slots && equal; i++) {
        const mc_cel key = mc_cel_map_key(a, i);
        if (key.kind == MC_CEL_ERROR) {
            continue;
        }
        const mc_cel left = mc_cel_map_get(a, &key, ctx);
        const mc_cel right = mc_cel_map_get(b, &key, ctx);
        equal = right.kind != MC_CEL_ERROR && mc_cel_equal(&left, &right, ctx);
    }
    return equal;
}

static bool json_equal(const mc_value *a, const mc_value *b, mc_cel_context *ctx) {
    const mc_cel left = {.kind = MC_CEL_MAP, .form = MC_CEL_JSON, .json = a};
    const mc_cel right = {.kind = MC_CEL_MAP, .form = MC_CEL_JSON, .json = b};
    return maps_equal(&left, &right, ctx);
}

bool mc_cel_equal(const mc_cel *a, const mc_cel *b, mc_cel_context *ctx) {
    if (is_number(a) && is_number(b)) {
        return order_numbers(a, b) == 0;
    }
    if (a->kind != b->kind) {
        return false;
    }
    switch (a->kind) {
    case MC_CEL_NULL: return true;
    case MC_CEL_BOOL: return a->boolean == b->boolean;
    case MC_CEL_STRING:
    case MC_CEL_BYTES: return mc_slice_eq(a->text, b->text);
    case MC_CEL_DURATION:
    case MC_CEL_TIMESTAMP: return order_times(a, b) == 0;
    case MC_CEL_LIST: return lists_equal(a, b, ctx);
    case MC_CEL_MAP: return maps_equal(a, b, ctx);
    case MC_CEL_TYPE: return a->which == b->which;
    case MC_CEL_MESSAGE: return a->which == b->which && json_equal(a->json, b->json, ctx);
    default: return false;
    }
}
