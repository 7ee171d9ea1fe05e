/* The router: the terminal filter. It answers redirects and direct responses, or sends the request to a host of the route's
 * cluster, retries as the policy allows, and brings the response back (rules RF-*). */
#ifndef MC_PROXY_ROUTER_H
#define MC_PROXY_ROUTER_H

#include "proxy/filter.h"

extern const mc_filter_type mc_router_filter;

#endif
