/* X-Forwarded-For as the connection manager reads it (HC-11, HC-12). Pure functions. */
#ifndef MC_HTTP_FORWARDED_H
#define MC_HTTP_FORWARDED_H

#include "base/address.h"

/* The address `skip` entries from the right, 0 being the last. MC_ENOTFOUND: the list is too short, or that entry is no IP
 * address. */
MC_MUST_CHECK mc_status mc_xff_address(mc_slice xff, uint32_t skip, mc_address *out);

#endif
