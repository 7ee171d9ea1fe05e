#include "base/address.h"

#include <arpa/inet.h>

mc_status mc_address_parse(mc_address *out, mc_slice ip, uint16_t port) {
    char text[MC_ADDRESS_TEXT];
    if (ip.n == 0 || ip.n >= sizeof text || memchr(ip.p, 0, ip.n) != NULL) {
        return MC_EINVAL;
    }
    memcpy(text, ip.p, ip.n);
    text[ip.n] = '\0';
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, text, &out->v4.sin_addr) == 1) {
        out->v4.sin_family = AF_INET;
        out->v4.sin_port = htons(port);
        out->length = sizeof out->v4;
        return MC_OK;
    }
    if (inet_pton(AF_INET6, text, &out->v6.sin6_addr) == 1) {
        out->v6.sin6_family = AF_INET6;
        out->v6.sin6_port = htons(port);
        out->length = sizeof out->v6;
        return MC_OK;
    }
    return MC_EINVAL;
}

size_t mc_address_ip(const mc_address *address, char out[MC_ADDRESS_TEXT]) {
    out[0] = '\0';
    if (address->length != 0) {
        const void *raw = address->any.sa_family == AF_INET ? (const void *)&address->v4.sin_addr
                                                            : (const void *)&address->v6.sin6_addr;
        if (inet_ntop(address->any.sa_family, raw, out, MC_ADDRESS_TEXT) == NULL) {
            out[0] = '\0';
        }
    }
    return strlen(out);
}

size_t mc_address_text(const mc_address *address, char out[MC_ADDRESS_TEXT]) {
    size_t at = 0;
    out[0] = '\0';
    if (address->length == 0) {
        return 0;
    }
    bool v6 = address->any.sa_family == AF_INET6;
    at += v6;
    at += mc_address_ip(address, out + at);
    if (v6) {
        out[0] = '[';
        out[at++] = ']';
    }
    out[at++] = ':';
    at += mc_format_u64(out + at, mc_address_port(address));
    out[at] = '\0';
    return at;
}

uint16_t mc_address_port(const mc_address *address) {
    return address->length == 0                ? 0
           : address->any.sa_family == AF_INET ? ntohs(address->v4.sin_port)
                                               : ntohs(address->v6.sin6_port);
}

bool mc_address_is_loopback(const mc_address *address) {
    if (address->length == 0) {
        return false;
    }
    return address->any.sa_family == AF_INET ? address->v4.sin_addr.s_addr == htonl(INADDR_LOOPBACK)
                                             : IN6_IS_ADDR_LOOPBACK(&address->v6.sin6_addr);
}

bool mc_address_is_any(const mc_address *address) {
    if (address->length == 0) {
        return true;
    }
    return address->any.sa_family == AF_INET ? address->v4.sin_addr.s_addr == htonl(INADDR_ANY)
                                             : IN6_IS_ADDR_UNSPECIFIED(&address->v6.sin6_addr);
}

bool mc_address_in_prefix(const mc_address *address, const mc_address *network, unsigned bits) {
    if (address->length == 0 || address->any.sa_family != network->any.sa_family) {
        return false;
    }
    bool v4 = address->any.sa_family == AF_INET;
    const unsigned char *a = v4 ? (const void *)&address->v4.sin_addr : (const void *)&address->v6.sin6_addr;
    const unsigned char *n = v4 ? (const void *)&network->v4.sin_addr : (const void *)&network->v6.sin6_addr;
    unsigned width = v4 ? 32 : 128;
    bits = bits < width ? bits : width;
    if (memcmp(a, n, bits / 8) != 0) {
        return false;
    }
    return bits % 8 == 0 || ((a[bits / 8] ^ n[bits / 8]) >> (8 - bits % 8)) == 0;
}
