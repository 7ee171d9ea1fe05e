/* IP address and port as a value; text as Envoy writes it: "1.2.3.4:80", "[::1]:80". Pure functions. */
#ifndef MC_BASE_ADDRESS_H
#define MC_BASE_ADDRESS_H

#include <netinet/in.h>

#include "base/slice.h"

typedef struct mc_address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    };
    uint32_t length; /* 0: no address (memory transport) */
} mc_address;

enum { MC_ADDRESS_TEXT = 64 };

/* Numeric ip (v6 without brackets) and port; MC_EINVAL when not an IP literal. */
MC_MUST_CHECK mc_status mc_address_parse(mc_address *out, mc_slice ip, uint16_t port);
/* "ip:port", NUL-terminated; returns the length. "" for no address. */
size_t mc_address_text(const mc_address *address, char out[MC_ADDRESS_TEXT]);
/* Without port and brackets. */
size_t mc_address_ip(const mc_address *address, char out[MC_ADDRESS_TEXT]);
uint16_t mc_address_port(const mc_address *address);
/* 127.0.0.1 or ::1: of 127.0.0.0/8 Envoy takes no other address for it. */
bool mc_address_is_loopback(const mc_address *address);
/* 0.0.0.0 or ::, or no address: a socket bound to it takes the address that each connection came to. */
bool mc_address_is_any(const mc_address *address);
/* True when the first `bits` bits agree; addresses of different families never match. */
bool mc_address_in_prefix(const mc_address *address, const mc_address *network, unsigned bits);

#endif
