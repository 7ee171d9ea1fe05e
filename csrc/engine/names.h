/* The control side of names that are resolved on demand (rule CL-17): what caches there are, what is known, and which clusters
 * have hosts of it. Who resolves is told what workers ask for (mc_engine_names_take) and says what came of it
 * (mc_engine_names_set). Control thread only, but mc_engine_names_ask. */
#ifndef MC_ENGINE_NAMES_H
#define MC_ENGINE_NAMES_H

#include "engine/members.h"
#include "pool/names.h"

typedef struct mc_engine_names {
    mc_map caches; /* by name; they stay for the engine's life */
    struct mc_question *asked, **last;
} mc_engine_names;

void mc_engine_names_init(mc_engine_names *names);
void mc_engine_names_fini(mc_engine_names *names);

/* Opens a cache, or sets the limits of one that is open. */
MC_MUST_CHECK mc_status mc_engine_names_open(mc_engine *engine, mc_slice cache, uint32_t max_hosts,
                                             uint32_t max_pending);
/* From a worker's thread: a request waits for this key. */
mc_status mc_engine_names_ask(mc_engine *engine, mc_name_cache *cache, mc_slice key);
/* The oldest question, whose bytes are then the caller's to free (key->p); false: there is none. */
bool mc_engine_names_take(mc_engine *engine, mc_name_cache **cache, mc_slice *key);
/* How many hosts there are, resolved or not. */
mc_status mc_engine_names_count(mc_engine *engine, mc_slice cache, uint32_t hosts);
/* What is known of a key from now on: addresses, or (count 0) why there are none. MC_ENOTFOUND: no such cache. */
MC_MUST_CHECK mc_status mc_engine_names_set(mc_engine *engine, mc_slice cache, mc_slice key,
                                            const mc_address *addresses, uint32_t count, mc_slice details);
void mc_engine_names_drop(mc_engine *engine, mc_slice cache, mc_slice key);
/* Milliseconds since a request was last sent there; UINT64_MAX: never. */
uint64_t mc_engine_names_age(const mc_engine *engine, mc_slice cache, mc_slice key);
/* A cluster came into use: it gets hosts for what is known. */
void mc_engine_names_introduce(mc_engine *engine, mc_member *member);

#endif
