#include "engine/slots.h"

void mc_slots_init(mc_slots *slots) {
    mc_map_init(&slots->map);
    mc_arena_init(&slots->arena, NULL);
    slots->count = 0;
}

void mc_slots_fini(mc_slots *slots) {
    mc_map_fini(&slots->map);
    mc_arena_fini(&slots->arena);
}

uint32_t mc_slots_get(mc_slots *slots, mc_slice name) {
    uintptr_t known = (uintptr_t)mc_map_get(&slots->map, name);
    if (known != 0) {
        return (uint32_t)(known - 1);
    }
    mc_slice copy;
    if (mc_arena_dup(&slots->arena, name, &copy) != MC_OK ||
        mc_map_put(&slots->map, copy, (void *)(uintptr_t)(slots->count + 1u)) != MC_OK) {
        return UINT32_MAX;
    }
    return slots->count++;
}
