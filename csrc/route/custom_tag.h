/* Custom tags of spans (TR-4). Each kind becomes a format program, so that what a tag can name is what a log line can. */
#ifndef MC_ROUTE_CUSTOM_TAG_H
#define MC_ROUTE_CUSTOM_TAG_H

#include "route/format.h"

typedef struct mc_custom_tag {
    mc_slice name;
    const mc_format *value;
    mc_slice otherwise; /* when there is no value; empty: no tag */
    bool keeps_empty;   /* of metadata, a value that is empty is a tag */
} mc_custom_tag;

typedef struct mc_custom_tags {
    const mc_custom_tag *items;
    uint32_t count;
} mc_custom_tags;

/* The field custom_tags of `object`; all of it lives in `arena`. */
MC_MUST_CHECK mc_status mc_custom_tags_compile(mc_arena *arena, const mc_value *object, mc_custom_tags *out,
                                               mc_error *error);

#endif
