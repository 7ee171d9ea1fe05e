/* Runtime: values by key that take the place of configured defaults at the moment of a decision. Immutable once built; NULL has no
 * values. A value is a number, a boolean, text, or an object in the form of FractionalPercent. */
#ifndef MC_BASE_RUNTIME_H
#define MC_BASE_RUNTIME_H

#include "base/map.h"
#include "base/value.h"

typedef struct mc_runtime {
    mc_map values; /* -> const mc_value */
} mc_runtime;

/* From an object, key to value; borrows it. */
MC_MUST_CHECK mc_status mc_runtime_init(mc_runtime *runtime, const mc_value *values);
void mc_runtime_fini(mc_runtime *runtime);

/* NULL when absent. */
const mc_value *mc_runtime_get(const mc_runtime *runtime, mc_slice key);
/* `otherwise` when the key is absent or its value no whole number (text of digits is one). */
uint64_t mc_runtime_u64(const mc_runtime *runtime, mc_slice key, uint64_t otherwise);
/* true, false, or their text. */
bool mc_runtime_bool(const mc_runtime *runtime, mc_slice key, bool otherwise);
double mc_runtime_double(const mc_runtime *runtime, mc_slice key, double otherwise);

/* RuntimeFractionalPercent: of `denominator`, `numerator` hold (RT-10). */
typedef struct mc_fraction {
    uint32_t numerator, denominator;
    mc_slice runtime_key; /* empty: none */
} mc_fraction;

#define MC_FRACTION_ALL ((mc_fraction){100, 100, {NULL, 0}})
/* Whether this `random` is among them; a whole number in the runtime counts as percent. */
bool mc_fraction_holds(const mc_fraction *fraction, const mc_runtime *runtime, uint64_t random);
/* FractionalPercent: *out keeps its runtime_key; a field that is absent counts as 0 of HUNDRED. */
MC_MUST_CHECK mc_status mc_fraction_read_percent(const mc_value *percent, mc_fraction *out, mc_error *error);
/* RuntimeFractionalPercent `field` of `object`; *out is kept when it is absent. The key is copied to `arena`. */
MC_MUST_CHECK mc_status mc_fraction_read(mc_arena *arena, const mc_value *object, const char *field, mc_fraction *out,
                                         mc_error *error);

#endif
