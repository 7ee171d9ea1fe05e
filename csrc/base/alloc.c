#include "base/alloc.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef MC_TEST_ALLOC
#include <stdatomic.h>
static atomic_long fail_countdown;
static atomic_long live_blocks;
static atomic_long total_blocks;

void mc_test_alloc_fail_at(long countdown) { atomic_store(&fail_countdown, countdown); }
long mc_test_alloc_pending(void) { return atomic_load(&fail_countdown); }
long mc_test_alloc_live(void) { return atomic_load(&live_blocks); }
long mc_test_alloc_count(void) { return atomic_load(&total_blocks); }

static int refuse(void) {
    atomic_fetch_add(&total_blocks, 1);
    if (atomic_load(&fail_countdown) == 0) {
        return 0;
    }
    return atomic_fetch_sub(&fail_countdown, 1) == 1;
}
static void *counted(void *ptr) {
    if (ptr != NULL) {
        atomic_fetch_add(&live_blocks, 1);
    }
    return ptr;
}
static void uncounted(void) { atomic_fetch_sub(&live_blocks, 1); }
#else
static inline int refuse(void) { return 0; }
static inline void *counted(void *ptr) { return ptr; }
static inline void uncounted(void) {}
#endif

void *mc_malloc(size_t size) { return refuse() ? NULL : counted(malloc(size == 0 ? 1 : size)); }

void *mc_calloc(size_t count, size_t size) {
    return refuse() ? NULL : counted(calloc(count ? count : 1, size ? size : 1));
}

void *mc_realloc(void *ptr, size_t size) {
    if (refuse()) {
        return NULL;
    }
    if (ptr == NULL) {
        return counted(malloc(size == 0 ? 1 : size));
    }
    return realloc(ptr, size == 0 ? 1 : size);
}

void *mc_aligned_alloc(size_t alignment, size_t size) {
    if (refuse() || size > SIZE_MAX - alignment) {
        return NULL;
    }
    return counted(aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment));
}

void mc_free(void *ptr) {
    if (ptr != NULL) {
        uncounted();
        free(ptr);
    }
}

mc_status mc_grow(void *items_ptr, size_t *cap, size_t need, size_t size) {
    if (need <= *cap) {
        return MC_OK;
    }
    size_t wanted = *cap < 8 ? 8 : *cap;
    while (wanted < need) {
        if (wanted > SIZE_MAX / 2) {
            return MC_ENOMEM;
        }
        wanted *= 2;
    }
    if (wanted > SIZE_MAX / size) {
        return MC_ENOMEM;
    }
    void *old;
    memcpy(&old, items_ptr, sizeof old);
    void *grown = mc_realloc(old, wanted * size);
    if (grown == NULL) {
        return MC_ENOMEM;
    }
    memcpy(items_ptr, &grown, sizeof grown);
    *cap = wanted;
    return MC_OK;
}
