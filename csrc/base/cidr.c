#include "base/cidr.h"

#include "base/read.h"

mc_status mc_cidr_read(const mc_value *range, mc_cidr *out, mc_error *error) {
    mc_slice prefix = MC_SLICE_NONE;
    uint32_t bits = 0;
    MC_TRY(mc_value_read_string(range, "address_prefix", &prefix, error));
    MC_TRY(mc_value_read_u32(range, "prefix_len", &bits, error));
    if (mc_address_parse(&out->network, prefix, 0) != MC_OK) {
        return mc_error_set(error, MC_EINVAL, "address_prefix", "must be an IP address: %.*s", MC_SLICE_ARG(prefix));
    }
    const unsigned most = out->network.any.sa_family == AF_INET ? 32 : 128;
    out->bits = bits < most ? bits : most;
    return MC_OK;
}

mc_status mc_cidrs_read(mc_arena *arena, const mc_value *object, const char *field, mc_cidrs *out, mc_error *error) {
    const mc_value *list;
    size_t count;
    MC_TRY(mc_value_read_list(object, field, &list, &count, error));
    mc_cidr *items = mc_arena_alloc(arena, (count + 1) * sizeof *items);
    if (items == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(mc_cidr_read(&list[i], &items[i], error), error, "%s[%zu]", field, i));
    }
    *out = (mc_cidrs){items, (uint32_t)count};
    return MC_OK;
}

bool mc_cidrs_contain(const mc_cidrs *ranges, const mc_address *address) {
    for (uint32_t i = 0; i < ranges->count; i++) {
        if (mc_address_in_prefix(address, &ranges->items[i].network, ranges->items[i].bits)) {
            return true;
        }
    }
    return false;
}

bool mc_address_is_private(const mc_address *address) {
    if (address->length == 0) {
        return false;
    }
    if (mc_address_is_loopback(address)) {
        return true;
    }
    if (address->any.sa_family == AF_INET) {
        const uint32_t ip = ntohl(address->v4.sin_addr.s_addr);
        return ip >> 24 == 10 || ip >> 20 == 0xac1 || ip >> 16 == 0xc0a8;
    }
    return address->v6.sin6_addr.s6_addr[0] == 0xfd;
}
