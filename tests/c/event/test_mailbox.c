/* The mailbox under four producers: every message runs once, those of one producer in order; a message stops
 * the loop. */
#include <pthread.h>

#include "../test.h"
#include "event/loop.h"

enum { PRODUCERS = 4, EACH = 20000 };

typedef struct numbered {
    mc_message message;
    unsigned producer, number;
} numbered;

static unsigned seen[PRODUCERS];
static unsigned finished;
static bool in_order;

static void drop(mc_message *message) { mc_free(MC_CONTAINER(message, numbered, message)); }

static void run(mc_message *message, mc_loop *loop) {
    numbered *m = MC_CONTAINER(message, numbered, message);
    in_order = in_order && seen[m->producer] == m->number;
    seen[m->producer]++;
    finished += m->number + 1 == EACH;
    mc_free(m);
    if (finished == PRODUCERS) {
        mc_loop_stop(loop);
    }
}

typedef struct producer {
    pthread_t thread;
    mc_loop *loop;
    unsigned index;
} producer;

static void *produce(void *arg) {
    producer *p = arg;
    for (unsigned i = 0; i < EACH; i++) {
        numbered *m = mc_malloc(sizeof *m);
        if (m == NULL) {
            return NULL;
        }
        m->message.run = run;
        m->message.drop = drop;
        m->producer = p->index;
        m->number = i;
        mc_mailbox_post(p->loop, &m->message);
    }
    return NULL;
}

TEST(every_message_runs_once_and_in_order) {
    mc_loop *loop = mc_loop_new_epoll(1);
    CHECK(loop != NULL);
    memset(seen, 0, sizeof seen);
    finished = 0;
    in_order = true;
    producer producers[PRODUCERS];
    for (unsigned i = 0; i < PRODUCERS; i++) {
        producers[i] = (producer){.loop = loop, .index = i};
        CHECK_INT(pthread_create(&producers[i].thread, NULL, produce, &producers[i]), 0);
    }
    CHECK_INT(mc_loop_run(loop), MC_OK);
    for (unsigned i = 0; i < PRODUCERS; i++) {
        pthread_join(producers[i].thread, NULL);
        CHECK_INT(seen[i], EACH);
    }
    CHECK(in_order);
    mc_loop_free(loop);
}

static void *turn_until_stopped(void *loop) { return mc_loop_run(loop) == MC_OK ? loop : NULL; }

static void stop(mc_message *message, mc_loop *loop) { mc_loop_stop(loop); }

TEST(a_message_from_another_thread_stops_a_waiting_loop) {
    mc_loop *loop = mc_loop_new_epoll(1);
    CHECK(loop != NULL);
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, turn_until_stopped, loop), 0);
    mc_message message = {.run = stop};
    mc_mailbox_post(loop, &message);
    void *result = NULL;
    pthread_join(thread, &result);
    CHECK(result == loop);
    mc_loop_free(loop);
}

TEST(messages_never_run_are_dropped) {
    mc_loop *loop = mc_loop_new_epoll(1);
    producer p = {.loop = loop};
    produce(&p);
    mc_loop_free(loop); /* the frame counts the live allocations */
}
