#include "route/context_reader.h"

#include "route/context.h"

mc_status mc_context_refuse(const mc_context_reader *r, const char *what) {
    return mc_error_set(r->error, MC_EINVAL, r->key, "must be %s", what);
}

mc_status mc_address_read(mc_slice text, mc_address *out) {
    uint64_t port = 0;
    size_t colon = text.n;
    bool bracketed = text.n > 0 && text.p[0] == '[';
    for (size_t i = 0, colons = 0; i < text.n; i++) {
        if (text.p[i] == ':' && (!bracketed || (i > 0 && text.p[i - 1] == ']'))) {
            colon = ++colons > 1 ? text.n : i; /* more than one: an IPv6 address without port */
        }
    }
    mc_slice host = mc_slice_until(text, colon), digits = mc_slice_from(text, colon + 1);
    if (bracketed) {
        if (host.n < 2 || host.p[host.n - 1] != ']') {
            return MC_EINVAL;
        }
        host = mc_slice_of(host.p + 1, host.n - 2);
    }
    if (colon < text.n && (mc_slice_u64(digits, &port) != MC_OK || port > UINT16_MAX)) {
        return MC_EINVAL;
    }
    return mc_address_parse(out, host, (uint16_t)port);
}

mc_status mc_context_address(const mc_context_reader *r, const mc_value *value, const mc_address **out) {
    mc_address *address = mc_arena_zalloc(r->arena, sizeof *address);
    if (address == NULL) {
        return MC_ENOMEM;
    }
    if (value->kind != MC_STRING || mc_address_read(value->string, address) != MC_OK) {
        return mc_context_refuse(r, "an IP address with or without port");
    }
    *out = address;
    return MC_OK;
}

mc_status mc_context_text(const mc_context_reader *r, const mc_value *value, mc_slice *out) {
    if (value->kind != MC_STRING) {
        return mc_context_refuse(r, "a string");
    }
    *out = value->string;
    return MC_OK;
}

mc_status mc_context_number(const mc_context_reader *r, const mc_value *value, double most, double *out) {
    if (value->kind != MC_NUMBER || !(value->number >= 0) || value->number > most) {
        return mc_context_refuse(r, "a number, and not negative");
    }
    *out = value->number;
    return MC_OK;
}

/* Text of digits, too: a double does not hold every 64-bit number. */
mc_status mc_context_u64(const mc_context_reader *r, const mc_value *value, uint64_t *out) {
    double number = 0;
    if (value->kind == MC_STRING && mc_slice_u64(value->string, out) == MC_OK) {
        return MC_OK;
    }
    MC_TRY(mc_context_number(r, value, 18446744073709549568.0, &number));
    *out = (uint64_t)number;
    return MC_OK;
}

mc_status mc_context_ms(const mc_context_reader *r, const mc_value *value, uint64_t *ns) {
    double ms = 0;
    MC_TRY(mc_context_number(r, value, 1e12, &ms));
    *ns = (uint64_t)(ms * 1e6 + 0.5);
    return MC_OK;
}

mc_status mc_context_texts(const mc_context_reader *r, const mc_value *value, mc_slices *out) {
    const size_t count = value->kind == MC_LIST ? value->count : 1;
    mc_slice *items = mc_arena_zalloc(r->arena, count * sizeof *items);
    if (items == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_context_text(r, value->kind == MC_LIST ? &value->items[i] : value, &items[i]));
    }
    *out = (mc_slices){items, (uint32_t)count};
    return MC_OK;
}

mc_status mc_context_flag(const mc_context_reader *r, const mc_value *value, bool *out) {
    if (value->kind != MC_BOOL) {
        return mc_context_refuse(r, "true or false");
    }
    *out = value->boolean;
    return MC_OK;
}

mc_status mc_context_object(const mc_context_reader *r, const mc_value *value, const mc_value **out) {
    if (value->kind != MC_OBJECT) {
        return mc_context_refuse(r, "a mapping");
    }
    *out = value;
    return MC_OK;
}
