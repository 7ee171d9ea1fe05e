/* Listener: accepts connections from a listening socket of its own worker.
 *
 * The socket is level-triggered (THR-7). An event accepts one connection, and an event in the very next turn twice as many as
 * the last, if all were there: so a lone connection costs no accept4 that finds nothing, and a burst few turns. Out of
 * descriptors or memory it stops asking for a moment instead of spinning; connections wait in the backlog. */
#ifndef MC_NET_LISTENER_H
#define MC_NET_LISTENER_H

#include "net/conn.h"

typedef struct mc_listener {
    mc_io io;
    mc_net *net;
    /* Owns fd from here. May close or pause the listener. */
    void (*on_accept)(struct mc_listener *listener, int fd, const mc_address *peer);
    mc_timer back_off;
    uint32_t batch;     /* connections the next event accepts */
    uint64_t last_turn; /* of the last event */
    bool paused;
    uint64_t accepted; /* connections so far */
    uint64_t refused;  /* times that accept failed for want of descriptors or memory */
} mc_listener;

/* `fd` listens already (mc_socket_listen) and is taken over, also on failure. */
MC_MUST_CHECK mc_status mc_listener_open(mc_listener *listener, mc_net *net, int fd,
                                         void (*on_accept)(mc_listener *, int fd, const mc_address *peer));
/* Accepts what waits in the backlog, then closes: who has connected is served. Paused: as mc_listener_close. */
void mc_listener_finish(mc_listener *listener);
/* Closes the socket; connections still in its backlog are reset. Idempotent. */
void mc_listener_close(mc_listener *listener);
/* Not counted. */
void mc_listener_pause(mc_listener *listener);
void mc_listener_resume(mc_listener *listener);

#endif
