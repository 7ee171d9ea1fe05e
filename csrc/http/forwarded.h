/* X-Forwarded-For as the connection manager reads it (HC-11, HC-12). Pure functions. */
#ifndef MC_HTTP_FORWARDED_H
#define MC_HTTP_FORWARDED_H

#include "base/cidr.h"

/* The address `skip` entries from the right, 0 being the last. MC_ENOTFOUND: the list is too short, or that entry is no IP
 * address. */
MC_MUST_CHECK mc_status mc_xff_address(mc_slice xff, uint32_t skip, mc_address *out);
/* From the right, the first address that is not in `trusted`; when all are, the leftmost. MC_ENOTFOUND: the list is empty, or an
 * entry on the way is no IP address. */
MC_MUST_CHECK mc_status mc_xff_untrusted_address(mc_slice xff, const mc_cidrs *trusted, mc_address *out);

#endif
