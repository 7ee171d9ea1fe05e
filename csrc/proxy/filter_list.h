/* Lists of filters, compiled: of a connection manager, of an upgrade, of a router's tries, of the tries to a cluster.
 *
 * Lists that belong together stand in one array, whose indexes are the filters' slots; a chain is a run of it and ends with the
 * filter that is terminal there. */
#ifndef MC_PROXY_FILTER_LIST_H
#define MC_PROXY_FILTER_LIST_H

#include "pool/cluster.h"
#include "proxy/filters/kind.h"
#include "proxy/router.h"

typedef struct mc_filter_list {
    mc_filter_config *filters; /* in the compile's arena */
    uint32_t count, room;
    const mc_filter_factory *factories; /* filters from outside the core */
    size_t factory_count;
} mc_filter_list;

typedef struct mc_filter_chain {
    uint32_t begin, end;
    mc_router_options router; /* of the last one, if that is the router */
} mc_filter_chain;

/* Makes room; what is too much is told of `field`. */
MC_MUST_CHECK mc_status mc_filter_list_init(mc_filter_list *list, size_t room, const char *field, mc_filter_compile *c);
/* Appends what a field of `object` lists, which ends with `last`. */
MC_MUST_CHECK mc_status mc_filter_list_read(mc_filter_compile *c, mc_filter_list *list, const mc_value *object,
                                            const char *field, const mc_filter_type *last, mc_filter_chain *out);
/* The same of filters of tries, which end with the codec. */
MC_MUST_CHECK mc_status mc_filter_list_read_tries(mc_filter_compile *c, mc_filter_list *list, const mc_value *object,
                                                  const char *field, mc_filter_chain *out);

/* What stands between requests to a cluster and its connections, in place of the router's own (mc_cluster.filters). */
struct mc_cluster_filters {
    mc_filter_list list;
    mc_filter_chain chain;
};

/* From a Cluster message into the cluster's arena; `c` says what is not the cluster's own. */
MC_MUST_CHECK mc_status mc_cluster_filters_compile(mc_cluster *cluster, const mc_value *config, mc_filter_compile *c);
/* Closes what a worker keeps for them, and frees the array itself. */
void mc_cluster_filters_close(const struct mc_cluster_filters *filters, void **states);

#endif
