/* A race of connections to the addresses of one host (RFC 8305, as Envoy runs it): the next address is tried when the one before has
 * failed, or has not connected for a while; the first to connect stays and the others are closed.
 *
 * The pool knows one client of a race, its leader, which stands for all of them in lists, breakers, gauges and the connect timeout,
 * also when its own connection has failed. A race always has a connection under way; it ends with the last. */
#ifndef MC_POOL_RACE_H
#define MC_POOL_RACE_H

#include "pool/client.h"

enum { MC_RACE_STAGGER_MS = 300 };

/* Begins with the client under way; nothing when the host has one address, or without memory. */
void mc_race_begin(mc_client *leader);
/* A client of a race connected: it is the pool's own from now on. */
void mc_race_won(mc_client *client);
/* The connection of a client of a race ended. */
void mc_race_lost(mc_client *client, mc_close_reason why);
/* Ends them all, for this reason. */
void mc_race_stop(struct mc_race *race, mc_close_reason why);

#endif
