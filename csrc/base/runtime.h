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
/* RuntimeFractionalPercent; the key is copied to `arena`. */
MC_MUST_CHECK mc_status mc_fraction_read_message(mc_arena *arena, const mc_value *message, mc_fraction *out,
                                                 mc_error *error);
/* RuntimeFractionalPercent `field` of `object`; *out is kept when it is absent. The key is copied to `arena`. */
MC_MUST_CHECK mc_status mc_fraction_read(mc_arena *arena, const mc_value *object, const char *field, mc_fraction *out,
                                         mc_error *error);

/* The static layers of a bootstrap's layered_runtime as one object for mc_runtime_init, in `arena`: nested names joined by '.', later
 * layers over earlier ones; *out NULL: no values. `layered` may be NULL. */
MC_MUST_CHECK mc_status mc_runtime_flatten(mc_arena *arena, const mc_value *layered, const mc_value **out,
                                           mc_error *error);

/* RuntimeFeatureFlag: a field that is absent keeps *out. */
typedef struct mc_feature_flag {
    bool value;
    mc_slice runtime_key; /* empty: none */
} mc_feature_flag;
MC_MUST_CHECK mc_status mc_feature_flag_read(mc_arena *arena, const mc_value *object, const char *field,
                                             mc_feature_flag *out, mc_error *error);
static inline bool mc_feature_flag_on(const mc_feature_flag *flag, const mc_runtime *runtime) {
    return runtime == NULL ? flag->value : mc_runtime_bool(runtime, flag->runtime_key, flag->value);
}

/* RuntimeDouble, RuntimePercent and RuntimeUInt32: a field that is absent keeps *out. */
typedef struct mc_runtime_number {
    double value;
    mc_slice runtime_key; /* empty: none */
} mc_runtime_number;
MC_MUST_CHECK mc_status mc_runtime_number_read(mc_arena *arena, const mc_value *object, const char *field,
                                               mc_runtime_number *out, mc_error *error);
static inline double mc_runtime_number_now(const mc_runtime_number *number, const mc_runtime *runtime) {
    return runtime == NULL ? number->value : mc_runtime_double(runtime, number->runtime_key, number->value);
}

#endif
