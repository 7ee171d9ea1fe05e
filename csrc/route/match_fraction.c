/* runtime_fraction: the default value of a RuntimeFractionalPercent against the stream's stable random
 * (RT-10). */
#include "route/compile.h"
#include "route/matcher.h"

typedef struct fraction_match {
    uint64_t numerator, denominator;
} fraction_match;

static int fraction_holds(const void *self, const mc_match_input *in) {
    const fraction_match *match = self;
    return in->request->random % match->denominator < match->numerator;
}

static const mc_name_value denominators[] = {
    {"HUNDRED", 100}, {"TEN_THOUSAND", 10000}, {"MILLION", 1000000}, {NULL, 0}};

mc_status mc_match_fraction_compile(mc_arena *arena, const mc_value *value, mc_matcher *out, mc_error *error) {
    fraction_match *match = mc_arena_zalloc(arena, sizeof *match);
    const mc_value *percent;
    if (match == NULL) {
        return MC_ENOMEM;
    }
    match->denominator = 100;
    MC_TRY(mc_value_read_object(value, "default_value", &percent, error));
    if (percent == NULL) {
        return mc_error_set(error, MC_EINVAL, "default_value", "is required");
    }
    MC_TRY(mc_error_in(mc_value_read_u64(percent, "numerator", &match->numerator, error), error, "default_value"));
    MC_TRY(mc_error_in(mc_read_enum(percent, "denominator", denominators, &match->denominator, error), error,
                       "default_value"));
    *out = (mc_matcher){fraction_holds, match};
    return MC_OK;
}
