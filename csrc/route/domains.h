/* Virtual host by host name (RT-1, RT-2): exact, longest suffix wildcard, longest prefix wildcard, "*". */
#ifndef MC_ROUTE_DOMAINS_H
#define MC_ROUTE_DOMAINS_H

#include "base/map.h"

typedef struct mc_compile mc_compile;
typedef struct mc_host mc_host;

/* Wildcards of one side, by the text beside the '*'; one lookup for each distinct length that is shorter than
 * the host. */
typedef struct mc_wildcards {
    mc_map by_text;
    uint32_t *lengths; /* descending */
    size_t length_count, length_cap;
} mc_wildcards;

typedef struct mc_domains {
    mc_map exact;
    mc_wildcards suffixes; /* "*.example.com" */
    mc_wildcards prefixes; /* "example.*" */
    const mc_host *any;
} mc_domains;

void mc_domains_fini(mc_domains *domains);
/* MC_EINVAL with path "" when the domain is already there. */
MC_MUST_CHECK mc_status mc_domains_add(mc_compile *c, mc_domains *domains, mc_slice domain, const mc_host *host);
/* Only "*" is there, or nothing: any request has this host, even one without a name. */
static inline bool mc_domains_only_any(const mc_domains *domains) {
    return domains->exact.count + domains->suffixes.length_count + domains->prefixes.length_count == 0;
}
/* `name` in lower case, p == NULL when the request has none; NULL when nothing fits. */
const mc_host *mc_domains_find(const mc_domains *domains, mc_slice name);

#endif
