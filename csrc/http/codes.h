/* HTTP status codes: the reason phrases that are written to the wire. */
#ifndef MC_HTTP_CODES_H
#define MC_HTTP_CODES_H

#include "base/slice.h"

/* "OK" for 200 etc.; "Unknown" for a status without a registered phrase. Static. */
mc_slice mc_http_reason(uint16_t status);
/* The status of a type.v3.StatusCode: its phrase without spaces and hyphens, "NotFound". 0: there is none such. */
uint16_t mc_http_status_named(mc_slice name);

#endif
