/* The one door to the heap.
 *
 * Every allocation of the core goes through here, so that a test can fail the nth one (built with MC_TEST_ALLOC, see
 * tests/c/test.h). A NULL result is an error that is returned: the core is a guest in someone's process. Thread-safe. */
#ifndef MC_BASE_ALLOC_H
#define MC_BASE_ALLOC_H

#include <stddef.h>

#include "base/status.h"

MC_MUST_CHECK void *mc_malloc(size_t size);
MC_MUST_CHECK void *mc_calloc(size_t count, size_t size);
MC_MUST_CHECK void *mc_realloc(void *ptr, size_t size);
MC_MUST_CHECK void *mc_aligned_alloc(size_t alignment, size_t size);
void mc_free(void *ptr);

/* Grows *items (capacity *cap, element size `size`) to hold at least `need` elements, doubling. */
MC_MUST_CHECK mc_status mc_grow(void *items_ptr, size_t *cap, size_t need, size_t size);

#ifdef MC_TEST_ALLOC
/* Test builds only: the countdown-th allocation from now on fails (0 = never); mc_test_alloc_live() counts live blocks. */
void mc_test_alloc_fail_at(long countdown);
/* Allocations still to come before the failing one; 0: it has failed, or none was asked for. */
long mc_test_alloc_pending(void);
long mc_test_alloc_live(void);
long mc_test_alloc_count(void);
#endif

#endif
