/* Token bucket, continuous (FL-30): tokens come back with time, not in ticks, up to max_tokens; it starts
 * full.
 *
 * The whole state is one number, the moment at which the bucket would have been empty, so that consuming is
 * one compare and swap: share it between threads freely. Time is the caller's, in nanoseconds of any clock
 * that does not go back; a moment before one already seen counts as that one. */
#ifndef MC_BASE_TOKEN_BUCKET_H
#define MC_BASE_TOKEN_BUCKET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

typedef struct mc_token_bucket {
    _Atomic(double) empty_at; /* ns since start; tokens = (now - empty_at) / per_token */
    double per_token;         /* ns */
    double capacity;          /* ns of refilling from empty to full */
    uint64_t start;           /* ns of the caller's clock; keeps the doubles small and exact */
} mc_token_bucket;

/* MC_EINVAL when max_tokens is below zero, or tokens_per_fill or fill_interval (ns) not above. */
MC_MUST_CHECK mc_status mc_token_bucket_init(mc_token_bucket *bucket, uint64_t now, double max_tokens,
                                             double tokens_per_fill, uint64_t fill_interval);
/* Takes n tokens, or none when fewer are left. n may exceed max_tokens, and is then always refused; below zero it gives tokens
 * back, up to max_tokens. */
bool mc_token_bucket_consume(mc_token_bucket *bucket, uint64_t now, double n);
/* Tokens there are. */
double mc_token_bucket_tokens(const mc_token_bucket *bucket, uint64_t now);
/* ns until n tokens will be there if nobody takes any: 0 when they are; UINT64_MAX when n exceeds max_tokens. */
uint64_t mc_token_bucket_wait(const mc_token_bucket *bucket, uint64_t now, double n);

#endif
