/* Slots: names as small integers, for the engine's life, so that workers find by index what configurations name. Control thread only. */
#ifndef MC_ENGINE_SLOTS_H
#define MC_ENGINE_SLOTS_H

#include "base/arena.h"
#include "base/map.h"

typedef struct mc_slots {
    mc_map map; /* name -> slot + 1 */
    mc_arena arena;
    uint32_t count;
} mc_slots;

void mc_slots_init(mc_slots *slots);
void mc_slots_fini(mc_slots *slots);
/* The slot of a name, its own from the first call on; UINT32_MAX: out of memory. */
uint32_t mc_slots_get(mc_slots *slots, mc_slice name);

#endif
