/* The slabs of Python's threads: C of the bindings, that knows nothing of Python. */
#include "../../../src/meshcore/_core/thread_slabs.h"

#include <semaphore.h>

#include "../test.h"

typedef struct job {
    thread_slabs *owner;
    mc_stat stat;
    int count;
    sem_t *ready, *leave; /* may be NULL */
} job;

static void *count_up(void *arg) {
    job *self = arg;
    for (int i = 0; i < self->count; i++) {
        mc_counter_inc(thread_slabs_get(self->owner), self->stat);
    }
    if (self->ready != NULL) {
        sem_post(self->ready);
        sem_wait(self->leave);
    }
    return NULL;
}

static thread_slabs *owner_of(mc_stat *counter) {
    thread_slabs *owner = thread_slabs_new(mc_stats_new());
    *counter = mc_stats_counter(owner->stats, MC_SLICE("c"));
    return owner;
}

TEST(each_thread_has_its_own_and_leaves_its_sum) {
    enum { THREADS = 4, COUNT = 50000 };
    pthread_t threads[THREADS];
    mc_stat counter;
    thread_slabs *owner = owner_of(&counter);
    job same = {owner, counter, COUNT, NULL, NULL};
    for (size_t i = 0; i < THREADS; i++) {
        CHECK_INT(pthread_create(&threads[i], NULL, count_up, &same), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK_INT(thread_slabs_count(owner), 0);
    CHECK_U64(mc_stats_value(owner->stats, counter), THREADS * COUNT);
    thread_slabs_free(owner);
}

TEST(a_thread_writes_to_two_stores_by_turns) {
    pthread_t thread;
    thread_slabs *owners[2];
    mc_stat counters[2];
    for (int i = 0; i < 2; i++) {
        owners[i] = owner_of(&counters[i]);
    }
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 2; i++) {
            job one = {owners[i], counters[i], i + 1, NULL, NULL};
            CHECK_INT(pthread_create(&thread, NULL, count_up, &one), 0);
            pthread_join(thread, NULL);
            mc_counter_add(thread_slabs_get(owners[i]), counters[i], 10);
        }
    }
    CHECK_U64(mc_stats_value(owners[0]->stats, counters[0]), 33);
    CHECK_U64(mc_stats_value(owners[1]->stats, counters[1]), 36);
    CHECK_INT(thread_slabs_count(owners[0]), 1); /* this thread's */
    thread_slabs_free(owners[0]);
    thread_slabs_free(owners[1]);
    thread_slabs_thread_ends(NULL); /* as when this thread ended; it may go on */
}

TEST(a_store_may_end_before_its_threads) {
    pthread_t thread;
    mc_stat counter;
    sem_t ready, leave;
    sem_init(&ready, 0, 0);
    sem_init(&leave, 0, 0);
    thread_slabs *owner = owner_of(&counter);
    mc_stats *stats = mc_stats_ref(owner->stats);
    job waiting = {owner, counter, 7, &ready, &leave};
    CHECK_INT(pthread_create(&thread, NULL, count_up, &waiting), 0);
    sem_wait(&ready);
    CHECK_INT(thread_slabs_count(owner), 1);
    thread_slabs_free(owner);
    CHECK_U64(mc_stats_value(stats, counter), 7);
    mc_stats_unref(stats);
    sem_post(&leave);
    pthread_join(thread, NULL);
    sem_destroy(&ready);
    sem_destroy(&leave);
}

TEST(entries_of_dead_stores_are_pruned) {
    long live = 0;
    for (int i = 0; i < 20; i++) {
        mc_stat counter;
        thread_slabs *owner = owner_of(&counter);
        mc_counter_inc(thread_slabs_get(owner), counter);
        CHECK_U64(mc_stats_value(owner->stats, counter), 1); /* not the slab of a store before it */
        thread_slabs_free(owner);
        CHECK(i == 0 || mc_test_alloc_live() == live);
        live = mc_test_alloc_live();
    }
    thread_slabs_thread_ends(NULL);
}

TEST(out_of_memory) {
    mc_stat counter;
    thread_slabs *owner = owner_of(&counter);
    for (int nth = 1; nth <= 2; nth++) {
        mc_test_alloc_fail_at(nth);
        CHECK(thread_slabs_get(owner) == NULL);
        mc_test_alloc_fail_at(0);
    }
    CHECK(thread_slabs_get(owner) != NULL);
    thread_slabs_free(owner);
    thread_slabs_thread_ends(NULL);
}
