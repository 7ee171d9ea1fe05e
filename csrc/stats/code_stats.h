/* Code stats: what is counted of the responses of one scope (rule RF-45): upstream_rq_completed, upstream_rq_<n>xx,
 * upstream_rq_<code>, upstream_rq_time, and the counters of RF-46.
 *
 * A scope is a prefix of stat names; its stats are made on first use, by any thread. Scopes whose names only a request
 * knows (a zone, a virtual cluster) are found through mc_code_scopes. */
#ifndef MC_STATS_CODE_STATS_H
#define MC_STATS_CODE_STATS_H

#include "stats/stats.h"

enum { MC_STATUS_CODES = 600 };

/* RF-46: names after "upstream_rq_". X(id, name) */
#define MC_CODE_COUNTERS(X)                                                                                            \
    X(TOTAL, "total")                                                                                                  \
    X(RETRY, "retry")                                                                                                  \
    X(RETRY_SUCCESS, "retry_success")                                                                                  \
    X(RETRY_LIMIT_EXCEEDED, "retry_limit_exceeded")                                                                    \
    X(RETRY_OVERFLOW, "retry_overflow")                                                                                \
    X(TIMEOUT, "timeout")

typedef enum mc_code_counter {
#define MC_CODE_ENUM(id, name) MC_CODE_##id,
    MC_CODE_COUNTERS(MC_CODE_ENUM)
#undef MC_CODE_ENUM
        MC_CODE_COUNTER_COUNT
} mc_code_counter;

/* One scope. Embedded; the store is borrowed. */
typedef struct mc_code_stats {
    mc_stats *store;
    mc_slice scope; /* without a final dot; owned */
    /* A status at its number; below 100 the rest (see code_stats.c). 0: not made yet. */
    _Atomic mc_stat cells[MC_STATUS_CODES];
} mc_code_stats;

/* The parts of the scope's name are joined. */
MC_MUST_CHECK mc_status mc_code_stats_init(mc_code_stats *codes, mc_stats *store, const mc_slice *parts, size_t count);
/* Releases the stats; nobody may count any more. */
void mc_code_stats_fini(mc_code_stats *codes);

/* A response: completed and, with `with_code`, class and code. */
void mc_code_stats_response(mc_code_stats *codes, mc_slab *slab, uint16_t status, bool with_code);
void mc_code_stats_time(mc_code_stats *codes, mc_slab *slab, uint64_t ms);
void mc_code_stats_inc(mc_code_stats *codes, mc_slab *slab, mc_code_counter counter);

/* Scopes by name; zero-initialised but for the store. Grows only; finding takes no lock. */
enum { MC_CODE_BUCKETS = 32, MC_CODE_SCOPES_MAX = 10000 };
typedef struct mc_code_scopes {
    mc_stats *store;
    _Atomic uint32_t count;
    struct mc_code_scope *_Atomic buckets[MC_CODE_BUCKETS];
} mc_code_scopes;

/* NULL when out of memory, over MC_CODE_SCOPES_MAX, or when the name is longer than MC_CODE_SCOPE_NAME: not counted. */
enum { MC_CODE_SCOPE_NAME = 512 };
mc_code_stats *mc_code_scopes_get(mc_code_scopes *scopes, const mc_slice *parts, size_t count);
void mc_code_scopes_fini(mc_code_scopes *scopes);

#endif
