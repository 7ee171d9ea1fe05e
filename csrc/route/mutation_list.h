/* HeaderMutation messages: headers changed one mutation after the other. Immutable, in the arena it was compiled into. */
#ifndef MC_ROUTE_MUTATION_LIST_H
#define MC_ROUTE_MUTATION_LIST_H

#include "route/mutate.h"

typedef struct mc_mutation mc_mutation;

typedef struct mc_mutation_list {
    const mc_mutation *items;
    uint32_t count;
    bool formats; /* some value is not a constant */
} mc_mutation_list;

/* A repeated HeaderMutation; error paths are relative to `object`. */
MC_MUST_CHECK mc_status mc_mutation_list_compile(mc_arena *arena, const mc_value *object, const char *field,
                                                 mc_headers_kind kind, mc_mutation_list *out, mc_error *error);
/* `info` may be NULL when nothing formats. */
MC_MUST_CHECK mc_status mc_mutation_list_apply(const mc_mutation_list *list, mc_headers *headers,
                                               const mc_stream_info *info);

#endif
