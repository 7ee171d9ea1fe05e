#include "event/loop_internal.h"

/* A stack that producers push by compare-and-swap and the loop takes whole: no ABA, since nothing is popped
 * singly, and "was empty" is known exactly, so that one wake is paid for each batch. */
void mc_mailbox_post(mc_loop *loop, mc_message *message) {
    mc_message *head = atomic_load_explicit(&loop->mailbox, memory_order_relaxed);
    do {
        atomic_store_explicit(&message->next, head, memory_order_relaxed);
    } while (!atomic_compare_exchange_weak_explicit(&loop->mailbox, &head, message, memory_order_release,
                                                    memory_order_relaxed));
    if (head == NULL) {
        loop->backend->wake(loop);
    }
}

/* Everything posted so far, oldest first. */
static mc_message *take(mc_loop *loop) {
    mc_message *newest = atomic_exchange_explicit(&loop->mailbox, NULL, memory_order_acquire);
    mc_message *oldest = NULL;
    while (newest != NULL) {
        mc_message *next = atomic_load_explicit(&newest->next, memory_order_relaxed);
        atomic_store_explicit(&newest->next, oldest, memory_order_relaxed);
        oldest = newest;
        newest = next;
    }
    return oldest;
}

void mc_mailbox_run(mc_loop *loop) {
    for (mc_message *message = take(loop), *next; message != NULL; message = next) {
        next = atomic_load_explicit(&message->next, memory_order_relaxed);
        message->run(message, loop);
        mc_loop_after_callback(loop);
    }
}

void mc_mailbox_drop(mc_loop *loop) {
    for (mc_message *message = take(loop), *next; message != NULL; message = next) {
        next = atomic_load_explicit(&message->next, memory_order_relaxed);
        message->drop(message);
    }
}
