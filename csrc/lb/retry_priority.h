/* Retry priority `previous_priorities` (rule PR-12): a request that is tried again goes to priorities that it has not tried. One
 * state a request; what it does depends only on the hosts attempted and on the membership. */
#ifndef MC_LB_RETRY_PRIORITY_H
#define MC_LB_RETRY_PRIORITY_H

#include "lb/lb.h"
#include "lb/priority.h"

enum { MC_RETRY_PRIORITIES = 129 }; /* HS-7 */

typedef struct mc_retry_priority {
    uint32_t frequency;                          /* update_frequency, above 0 */
    uint32_t attempted;                          /* hosts since the exclusions were cleared */
    bool tried[MC_RETRY_PRIORITIES];             /* priorities of those hosts */
    bool excluded[MC_RETRY_PRIORITIES];          /* as of the last computation */
    mc_priority_load loads[MC_RETRY_PRIORITIES]; /* the last ones computed */
} mc_retry_priority;

void mc_retry_priority_init(mc_retry_priority *retry, uint32_t frequency);
/* A host was attempted. */
void mc_retry_priority_tried(mc_retry_priority *retry, uint32_t priority);
/* The loads to choose by now, as many as the membership has; NULL: the membership's own. */
const mc_priority_load *mc_retry_priority_loads(mc_retry_priority *retry, const mc_hosts *hosts);

/* Where counts come from, by priority. */
typedef struct mc_retry_counts {
    const mc_priority_counts *(*at)(const void *of, size_t priority);
    const void *of;
    size_t count;
    const mc_priority_options *options;
} mc_retry_counts;
/* The same of any list of priorities; NULL: leave the loads as they are. */
const mc_priority_load *mc_retry_priority_adjust(mc_retry_priority *retry, const mc_retry_counts *counts);

#endif
