/* FilterStateMatcher: an object of the filter state as text or as an address (RT-14). */
#include "base/cidr.h"
#include "base/value_edit.h"
#include "route/compile.h"
#include "route/context.h"
#include "route/matcher.h"

typedef struct state_match {
    mc_slice key;
    bool by_address, invert; /* `invert` is of addresses */
    mc_string_match string;
    mc_cidrs ranges;
} state_match;

static int state_holds(const void *self, const mc_match_input *in) {
    const state_match *match = self;
    const mc_stream_info *info = in->request->info;
    const mc_value *value = info == NULL ? NULL : mc_value_find(info->filter_state, match->key);
    mc_address address;
    if (value == NULL || value->kind != MC_STRING) {
        return 0;
    }
    if (!match->by_address) {
        return mc_string_match_test(&match->string, value->string);
    }
    return mc_address_read(value->string, &address) == MC_OK &&
           mc_cidrs_contain(&match->ranges, &address) != match->invert;
}

mc_status mc_match_filter_state_compile(mc_arena *arena, const mc_value *value, mc_matcher *out, mc_error *error) {
    static const char *const known[] = {"key", "string_match", "address_match", NULL};
    const mc_value *sub;
    MC_TRY(mc_refuse_unknown(value, known, error));
    state_match *match = mc_arena_zalloc(arena, sizeof *match);
    if (match == NULL) {
        return MC_ENOMEM;
    }
    *out = (mc_matcher){state_holds, match};
    MC_TRY(mc_read_name(arena, value, "key", &match->key, error));
    MC_TRY(mc_value_read_object(value, "string_match", &sub, error));
    if (sub != NULL) {
        return mc_error_in(mc_string_match_compile(arena, sub, &match->string, error), error, "string_match");
    }
    MC_TRY(mc_value_read_object(value, "address_match", &sub, error));
    if (sub == NULL) {
        return mc_error_set(error, MC_EINVAL, "", "must have one of string_match, address_match");
    }
    match->by_address = true;
    MC_TRY(mc_error_in(mc_cidrs_read(arena, sub, "ranges", &match->ranges, error), error, "address_match"));
    return mc_error_in(mc_value_read_bool(sub, "invert_match", &match->invert, error), error, "address_match");
}
