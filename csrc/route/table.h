/* The compiled table, private to this room: virtual hosts, a domain index that picks one (domains.h), and in
 * each an index over the paths of its routes (path_index.h). Everything lives in the table's arena but for
 * hash maps, which the table frees. */
#ifndef MC_ROUTE_TABLE_H
#define MC_ROUTE_TABLE_H

#include <stdatomic.h>

#include "route/domains.h"
#include "route/matcher_tree.h"
#include "route/path_index.h"
#include "route/path_rewrite.h"
#include "route/route.h"

typedef struct mc_host {
    mc_virtual_host public;
    mc_path_index paths;
    const struct mc_route_entry *const *entries;
    size_t entry_count;
    const mc_matcher_tree *tree; /* in place of routes (RT-15); its actions are mc_route_list */
} mc_host;

typedef struct mc_route_list {
    const struct mc_route_entry *const *entries;
    size_t count;
} mc_route_list;

typedef struct mc_rewrite {
    mc_path_rewrite path;
    mc_slice host_literal;
    mc_slice host_header;       /* lower-case */
    mc_substitution host_regex; /* of the path */
    const mc_format *host_format;
} mc_rewrite;

/* A route as compiled: the public part first, then what only this room looks at. */
typedef struct mc_route_entry {
    mc_route route;
    mc_path_pattern pattern;
    mc_matchers matchers;      /* conditions besides the path */
    const mc_rewrite *rewrite; /* NULL: neither host nor path is rewritten */
    const mc_slice *upgrade_types;
    const bool *upgrade_enabled;
    uint32_t upgrade_count;
} mc_route_entry;

static inline const mc_route_entry *mc_route_entry_of(const mc_route *route) { return (const mc_route_entry *)route; }

typedef struct mc_owned_map {
    mc_map map;
    struct mc_owned_map *next;
} mc_owned_map;

struct mc_route_table {
    atomic_uint refs;
    mc_arena arena;
    mc_arena cluster_names; /* side by side: a match hands one out */
    mc_owned_map *maps;
    mc_slice name;
    mc_host *hosts;
    size_t host_count;
    mc_domains domains;
    mc_slice vhost_header; /* lower-case; empty: :authority */
    bool ignore_port, ignore_path_parameters, most_specific_wins;
    bool reads_info;
    bool formats; /* some header is made with a format */
    const mc_value *filter_configs;
    const mc_value *metadata;
    mc_mirror_policies mirrors; /* where neither route nor virtual host has any */
    const mc_route_filters *filters;
    const mc_header_mutations *request_mutations, *response_mutations;
    mc_map cluster_ids; /* name -> id + 1 */
    mc_slice *clusters;
    size_t cluster_count, cluster_cap;
};

/* Splits the request's :path; also cuts at ';' where the table says so. */
void mc_match_input_init(mc_match_input *in, const mc_route_table *table, const mc_route_request *request);

/* The cluster of match->route (RT-20 to RT-23). */
MC_MUST_CHECK mc_status mc_route_choose_cluster(const mc_match_input *in, mc_route_match *match);
#endif
