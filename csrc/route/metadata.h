/* Places in metadata: a namespace and a path of keys below it (MetadataKey, MetadataMatcher). */
#ifndef MC_ROUTE_METADATA_H
#define MC_ROUTE_METADATA_H

#include "base/read.h"

typedef struct mc_metadata_place {
    mc_slice space;
    const mc_slice *keys;
    uint32_t count;
} mc_metadata_place;

/* From `field` ("key" or "filter") and "path" of a message; a path must have at least one key. */
MC_MUST_CHECK mc_status mc_metadata_place_read(mc_arena *arena, const mc_value *message, const char *field,
                                               mc_metadata_place *out, mc_error *error);
/* The value at the place; NULL when there is none. */
const mc_value *mc_metadata_find(const mc_value *metadata, const mc_metadata_place *place);

#endif
