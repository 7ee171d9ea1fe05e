/* Ranges of IP addresses: CidrRange messages, compiled. Immutable. */
#ifndef MC_BASE_CIDR_H
#define MC_BASE_CIDR_H

#include "base/address.h"
#include "base/value.h"

typedef struct mc_cidr {
    mc_address network;
    unsigned bits;
} mc_cidr;

typedef struct mc_cidrs {
    const mc_cidr *items;
    uint32_t count;
} mc_cidrs;

/* One CidrRange: address_prefix and prefix_len (absent: 0, as in Envoy). */
MC_MUST_CHECK mc_status mc_cidr_read(const mc_value *range, mc_cidr *out, mc_error *error);
/* A list of them; *out is empty when the field is absent. */
MC_MUST_CHECK mc_status mc_cidrs_read(mc_arena *arena, const mc_value *object, const char *field, mc_cidrs *out,
                                      mc_error *error);
bool mc_cidrs_contain(const mc_cidrs *ranges, const mc_address *address);
/* RFC 1918, RFC 4193 as far as it is assigned (fd00::/8), and loopback (HC-14). */
bool mc_address_is_private(const mc_address *address);

#endif
