#include "route/metadata.h"

#include "base/value_edit.h"

mc_status mc_metadata_place_read(mc_arena *arena, const mc_value *message, const char *field, mc_metadata_place *out,
                                 mc_error *error) {
    const mc_value *segments;
    size_t count;
    MC_TRY(mc_read_name(arena, message, field, &out->space, error));
    MC_TRY(mc_value_read_list(message, "path", &segments, &count, error));
    if (count == 0) {
        return mc_error_set(error, MC_EINVAL, "path", "must have at least one entry");
    }
    mc_slice *keys = mc_arena_alloc(arena, count * sizeof *keys);
    if (keys == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(mc_read_name(arena, &segments[i], "key", &keys[i], error), error, "path[%zu]", i));
    }
    out->keys = keys;
    out->count = (uint32_t)count;
    return MC_OK;
}

const mc_value *mc_metadata_find(const mc_value *metadata, const mc_metadata_place *place) {
    const mc_value *at = mc_value_find(metadata, place->space);
    for (uint32_t i = 0; at != NULL && i < place->count; i++) {
        at = mc_value_find(at, place->keys[i]);
    }
    return at;
}
