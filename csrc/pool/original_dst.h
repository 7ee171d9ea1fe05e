/* ORIGINAL_DST clusters: the host is where the client was going, as the request says (rule CL-15). */
#ifndef MC_POOL_ORIGINAL_DST_H
#define MC_POOL_ORIGINAL_DST_H

#include "base/address.h"
#include "base/arena.h"
#include "base/value.h"
#include "http/headers.h"

typedef struct mc_original_dst {
    bool use_header;
    mc_slice header;
    mc_slice metadata; /* namespace; empty: not looked at */
    const mc_slice *path;
    uint32_t path_count;
    uint32_t port; /* in place of the address's own; 0: none */
    uint64_t cleanup_ms;
} mc_original_dst;

/* NULL for a cluster of another type. Lives in `arena`. */
MC_MUST_CHECK mc_status mc_original_dst_compile(const mc_value *cluster, mc_arena *arena, mc_original_dst **out,
                                                mc_error *error);
/* The address from filter state, metadata, header, or the connection's restored destination (`restored` may be NULL), in this order.
 * False: there is none. *invalid counts sources whose text is no address; in the filter state such a text is as good as none. */
bool mc_original_dst_address(const mc_original_dst *config, const mc_headers *request, const mc_value *metadata,
                             const mc_value *filter_state, const mc_address *restored, mc_address *out,
                             uint32_t *invalid);

#endif
