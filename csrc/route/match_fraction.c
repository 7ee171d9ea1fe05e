/* runtime_fraction: a RuntimeFractionalPercent against the stream's stable random (RT-10). */
#include "route/compile.h"
#include "route/matcher.h"

static int fraction_holds(const void *self, const mc_match_input *in) {
    return mc_fraction_holds(self, in->request->runtime, in->request->random);
}

mc_status mc_match_fraction_compile(mc_arena *arena, const mc_value *value, mc_matcher *out, mc_error *error) {
    mc_fraction *fraction = mc_arena_zalloc(arena, sizeof *fraction);
    if (fraction == NULL) {
        return MC_ENOMEM;
    }
    *out = (mc_matcher){fraction_holds, fraction};
    return mc_fraction_read_message(arena, value, fraction, error);
}
