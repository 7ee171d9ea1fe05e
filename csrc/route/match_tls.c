/* tls_context: what the client showed of itself (RT-11). */
#include "route/compile.h"
#include "route/matcher.h"

typedef struct tls_match {
    int8_t presented, validated; /* 1, 0, -1: either way */
} tls_match;

static int tls_holds(const void *self, const mc_match_input *in) {
    const tls_match *match = self;
    const mc_tls_info *tls = in->request->info == NULL ? NULL : in->request->info->downstream_tls;
    bool presented = tls != NULL && tls->peer != NULL;
    bool validated = tls != NULL && tls->validated;
    return (match->presented < 0 || match->presented == presented) &&
           (match->validated < 0 || match->validated == validated);
}

mc_status mc_match_tls_compile(mc_arena *arena, const mc_value *value, mc_matcher *out, mc_error *error) {
    static const char *const known[] = {"presented", "validated", NULL};
    MC_TRY(mc_refuse_unknown(value, known, error));
    tls_match *match = mc_arena_zalloc(arena, sizeof *match);
    if (match == NULL) {
        return MC_ENOMEM;
    }
    MC_TRY(mc_read_tri(value, "presented", &match->presented, error));
    MC_TRY(mc_read_tri(value, "validated", &match->validated, error));
    *out = (mc_matcher){tls_holds, match};
    return MC_OK;
}
