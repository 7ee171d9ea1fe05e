/* Increments per second of one worker's slab and of two at once, on a core each, without Python.
 *
 * A second is one of the thread's own CPU time, so that what other programs take of a core is left out and what the
 * two take from one another (a shared cache line, a lock) is not.
 *
 * Prints two numbers: increments/s of one thread alone, and of two together; medians of interleaved rounds. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "stats/stats.h"

enum { ROUNDS = 9, COUNTERS = 64 };
static const uint64_t INCREMENTS = UINT64_C(100000000);

typedef struct worker {
    pthread_t thread;
    mc_slab *slab;
    const mc_stat *counters;
    int core;
    double seconds; /* CPU time of its increments */
} worker;

static double cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void *increment(void *arg) {
    worker *self = arg;
    cpu_set_t cores;
    CPU_ZERO(&cores);
    CPU_SET(self->core, &cores);
    (void)pthread_setaffinity_np(pthread_self(), sizeof cores, &cores);
    double start = cpu_seconds();
    for (uint64_t i = 0; i < INCREMENTS; i++) {
        mc_counter_inc(self->slab, self->counters[i % COUNTERS]);
    }
    self->seconds = cpu_seconds() - start;
    return NULL;
}

/* Increments per second of the first n workers together. */
static double rate(worker *workers, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++) {
        pthread_create(&workers[i].thread, NULL, increment, &workers[i]);
    }
    for (int i = 0; i < n; i++) {
        pthread_join(workers[i].thread, NULL);
        sum += (double)INCREMENTS / workers[i].seconds;
    }
    return sum;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(void) {
    mc_stats *stats = mc_stats_new();
    mc_stat counters[COUNTERS];
    worker workers[2];
    double one[ROUNDS], two[ROUNDS];
    for (int i = 0; i < COUNTERS; i++) {
        char name[16];
        int n = snprintf(name, sizeof name, "counter%d", i);
        counters[i] = mc_stats_counter(stats, (mc_slice){name, (size_t)n});
    }
    for (int i = 0; i < 2; i++) {
        workers[i] = (worker){.slab = mc_slab_open(stats), .counters = counters, .core = i};
    }
    for (int i = 0; i < ROUNDS; i++) {
        one[i] = rate(workers, 1);
        two[i] = rate(workers, 2);
    }
    qsort(one, ROUNDS, sizeof one[0], ascending);
    qsort(two, ROUNDS, sizeof two[0], ascending);
    printf("%.0f %.0f\n", one[ROUNDS / 2], two[ROUNDS / 2]);
    for (int i = 0; i < 2; i++) {
        mc_slab_close(workers[i].slab);
    }
    mc_stats_unref(stats);
    return 0;
}
