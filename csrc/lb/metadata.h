/* Metadata of hosts and of requests, of which balancing reads the namespace `envoy.lb`: copies, comparison, and the canonical text
 * by which equal values are known.
 *
 * mc_lb_metadata is a host's, a copy of its own, immutable and reference-counted. It is replaced as a whole by the control side. */
#ifndef MC_LB_METADATA_H
#define MC_LB_METADATA_H

#include <stdatomic.h>

#include "base/text.h"
#include "base/value.h"

typedef struct mc_lb_metadata {
    _Atomic uint32_t refs;
    mc_arena arena;
    mc_value spaces; /* MC_OBJECT: namespace to object */
    mc_value object; /* MC_OBJECT: `envoy.lb`, which may be empty */
    mc_slice text;   /* of the spaces, canonical */
} mc_lb_metadata;

MC_MUST_CHECK mc_status mc_lb_metadata_new(const mc_value *spaces, mc_lb_metadata **out);
void mc_lb_metadata_unref(mc_lb_metadata *metadata);

/* Field of an object, a null too; NULL: there is none. */
const mc_value *mc_lb_field(const mc_value *object, mc_slice name);
/* By type and value: numbers as doubles, members of objects in any order (SB-2). */
bool mc_lb_value_equal(const mc_value *a, const mc_value *b);
/* Whether the metadata (NULL: none) has all members of `labels`; with `list_as_any` a list has what one of its elements is. */
bool mc_lb_labels_match(const mc_value *labels, const mc_lb_metadata *metadata, bool list_as_any);

/* Text that is equal for equal values only. */
void mc_lb_value_text(mc_text *out, const mc_value *value);
/* A deep copy. */
MC_MUST_CHECK mc_status mc_lb_value_copy(mc_arena *arena, const mc_value *value, mc_value *out);

#endif
