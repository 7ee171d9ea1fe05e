/* The values of a context by their kinds, private to context*.c: each is read out of its tree or refused under its key.
 *
 * What is read borrows from the tree and the reader's arena. */
#ifndef MC_ROUTE_CONTEXT_READER_H
#define MC_ROUTE_CONTEXT_READER_H

#include "http/stream_info.h"

typedef struct mc_context_reader {
    mc_arena *arena;
    mc_stream_info *info; /* what is filled */
    mc_error *error;
    const char *key; /* where the reader stands */
} mc_context_reader;

/* MC_EINVAL: the value of the key "must be" `what`. */
mc_status mc_context_refuse(const mc_context_reader *r, const char *what);
MC_MUST_CHECK mc_status mc_context_text(const mc_context_reader *r, const mc_value *value, mc_slice *out);
/* A list of texts, or one alone. */
MC_MUST_CHECK mc_status mc_context_texts(const mc_context_reader *r, const mc_value *value, mc_slices *out);
MC_MUST_CHECK mc_status mc_context_flag(const mc_context_reader *r, const mc_value *value, bool *out);
/* From 0 to `most`. */
MC_MUST_CHECK mc_status mc_context_number(const mc_context_reader *r, const mc_value *value, double most, double *out);
MC_MUST_CHECK mc_status mc_context_u64(const mc_context_reader *r, const mc_value *value, uint64_t *out);
/* Milliseconds, as nanoseconds. */
MC_MUST_CHECK mc_status mc_context_ms(const mc_context_reader *r, const mc_value *value, uint64_t *ns);
MC_MUST_CHECK mc_status mc_context_address(const mc_context_reader *r, const mc_value *value, const mc_address **out);
MC_MUST_CHECK mc_status mc_context_object(const mc_context_reader *r, const mc_value *value, const mc_value **out);

#endif
