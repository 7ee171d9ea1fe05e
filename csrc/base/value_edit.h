/* Values that grow: new trees that share what did not change with old ones. What was handed out before an edit stays as
 * it was; everything new lives in the arena given. */
#ifndef MC_BASE_VALUE_EDIT_H
#define MC_BASE_VALUE_EDIT_H

#include "base/value.h"

/* *out is `object` (NULL or not an object: an empty one) with the member `name` set to `value`; both are borrowed. */
MC_MUST_CHECK mc_status mc_value_put(mc_arena *arena, const mc_value *object, mc_slice name, const mc_value *value,
                                     const mc_value **out);
/* *out is `base` with `over` merged in: objects member by member, lists appended, anything else replaced. */
MC_MUST_CHECK mc_status mc_value_merge(mc_arena *arena, const mc_value *base, const mc_value *over, mc_value *out);
/* Member of an object, by a slice; NULL: none. */
const mc_value *mc_value_find(const mc_value *object, mc_slice name);

static inline mc_value mc_value_text(mc_slice text) { return (mc_value){.kind = MC_STRING, .string = text}; }
static inline mc_value mc_value_number(double number) { return (mc_value){.kind = MC_NUMBER, .number = number}; }
static inline mc_value mc_value_bool(bool boolean) { return (mc_value){.kind = MC_BOOL, .boolean = boolean}; }

#endif
