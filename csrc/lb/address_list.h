/* The addresses of one host, in the order in which a connection tries them (RFC 8305, section 4). Immutable, reference-counted. */
#ifndef MC_LB_ADDRESS_LIST_H
#define MC_LB_ADDRESS_LIST_H

#include <stdatomic.h>

#include "base/address.h"
#include "base/status.h"

typedef struct mc_address_list {
    _Atomic uint32_t refs;
    uint32_t count;
    mc_address items[];
} mc_address_list;

/* Families take turns. `first_family` (AF_INET, AF_INET6; 0: that of the first address) begins with `first_count` addresses. NULL: out
 * of memory. */
MC_MUST_CHECK mc_address_list *mc_address_list_new(const mc_address *addresses, uint32_t count, int first_family,
                                                   uint32_t first_count);
mc_address_list *mc_address_list_ref(mc_address_list *list); /* NULL stays NULL */
void mc_address_list_unref(mc_address_list *list);
bool mc_address_list_eq(const mc_address_list *list, const mc_address *addresses, uint32_t count);

#endif
