/* The token buckets of local_ratelimit (FL-30 to FL-32): one that takes all requests, and those that descriptors pick. A descriptor with
 * an empty value has a bucket for each value that comes, the least recently used giving way.
 *
 * They belong to a configuration and every worker takes from them at once: a bucket is atomic, the buckets that come and go are
 * behind a lock of their descriptor. Times are nanoseconds of the loop's clock. */
#ifndef MC_PROXY_FILTERS_RATE_BUCKETS_H
#define MC_PROXY_FILTERS_RATE_BUCKETS_H

#include <pthread.h>

#include "base/list.h"
#include "base/token_bucket.h"
#include "proxy/filters/kind.h"
#include "route/rate_limit.h"

/* A TokenBucket as configured. */
typedef struct mc_rate_limit_fill {
    uint64_t max_tokens, tokens_per_fill, fill_ms;
} mc_rate_limit_fill;

typedef struct mc_rate_bucket {
    mc_token_bucket tokens;
    uint64_t max_tokens;
    double rate; /* tokens a second */
} mc_rate_bucket;

/* Full at `now`. MC_EINVAL: no such bucket can be. */
MC_MUST_CHECK mc_status mc_rate_bucket_init(mc_rate_bucket *bucket, const mc_rate_limit_fill *fill, uint64_t now);
MC_MUST_CHECK mc_status mc_rate_bucket_read(mc_filter_compile *c, const mc_value *value, mc_rate_limit_fill *fill,
                                            mc_rate_bucket *bucket);

/* What the descriptors of requests are compared with. */
typedef struct mc_rate_descriptor {
    mc_rate_limit_entry *entries;
    uint32_t count;
    bool wildcard; /* some value is empty: any */
    bool shadow;   /* what it would limit passes */
    mc_rate_limit_fill fill;
    mc_rate_bucket bucket;
    pthread_mutex_t lock; /* of what follows */
    mc_list made;         /* a wildcard's buckets, newest use first */
    uint32_t made_count;
} mc_rate_descriptor;

typedef struct mc_rate_descriptors {
    mc_rate_descriptor *items;
    uint32_t count;
    uint32_t max_made; /* buckets of one wildcard at a time */
} mc_rate_descriptors;

/* The field `descriptors`; what they make is freed with the configuration's arena. */
MC_MUST_CHECK mc_status mc_rate_descriptors_read(mc_filter_compile *c, const mc_value *value, mc_rate_descriptors *out);
/* The one that a request's descriptor hits, rather one without wildcards; NULL: none. */
mc_rate_descriptor *mc_rate_descriptors_find(const mc_rate_descriptors *descriptors,
                                             const mc_rate_limit_descriptor *request);
/* Whether there were `cost` tokens, which are gone then; *seen is the bucket as it is afterwards. Where a bucket cannot be made for
 * want of memory the request passes, and *seen is a full one. */
bool mc_rate_descriptor_take(const mc_rate_descriptors *descriptors, mc_rate_descriptor *descriptor,
                             const mc_rate_limit_descriptor *request, uint64_t now, double cost, mc_rate_bucket *seen);

#endif
