/* What of the CPU is in use, of the machine or of this container.
 *
 * Two readings and the time between them tell a share; who asks keeps the one before. A virtual loop has the use that it was
 * told. */
#ifndef MC_EVENT_CPU_H
#define MC_EVENT_CPU_H

#include "event/loop.h"

typedef struct mc_cpu_use {
    double worked, passed; /* of all cores together, since some moment; in one unit */
    double cores;          /* how many there are; of a container with a quota, its part of them */
} mc_cpu_use;

/* MC_EINVAL: it cannot be told. */
MC_MUST_CHECK mc_status mc_cpu_read(mc_loop *loop, bool container, mc_cpu_use *out);
/* Virtual loops only. */
void mc_cpu_tell(mc_loop *loop, mc_cpu_use use);

#endif
