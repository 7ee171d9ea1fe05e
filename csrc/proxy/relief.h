/* Relief: what overload asks of connections and requests that are already there (BOOT-16). */
#ifndef MC_PROXY_RELIEF_H
#define MC_PROXY_RELIEF_H

#include "proxy/proxy.h"

/* Limits of time were shortened, or are again what they were. */
void mc_relief_rescale(mc_proxy *proxy);
/* Resets streams that hold much, at most MC_RELIEF_RESETS of them, and the heaviest first. They are told apart by powers of two, from
 * 2^shift bytes on, in eight classes; the greater `value` (0 to 1), the more classes are reset. The number of streams that were. */
enum { MC_RELIEF_RESETS = 50 };
unsigned mc_relief_reset_heavy(mc_proxy *proxy, unsigned shift, double value);

#endif
