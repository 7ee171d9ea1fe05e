#include "pool/race.h"

#include "base/alloc.h"

typedef struct mc_race {
    mc_client *leader;
    bool leader_lost; /* its own connection has ended */
    bool stopped;     /* no further address is tried */
    mc_list others;
    mc_timer next;
    uint32_t next_index; /* of the host's addresses */
    uint32_t running;    /* connections that have not ended */
} mc_race;

static mc_loop *loop_of(const mc_client *client) { return mc_net_loop(client->pool->upstream->net); }

static bool has_address(const mc_pool *pool, uint32_t index) {
    return mc_upstream_address_at(pool->upstream, pool->host, index) != NULL;
}

static void race_free(mc_race *race) {
    mc_timer_cancel(loop_of(race->leader), &race->next);
    mc_free(race);
}

static void await_next(mc_race *race) {
    if (has_address(race->leader->pool, race->next_index)) {
        mc_timer_arm(loop_of(race->leader), &race->next, MC_RACE_STAGGER_MS);
    }
}

/* Tries the next address that can be tried; false: there is none. */
static bool try_next(mc_race *race) {
    mc_pool *pool = race->leader->pool;
    mc_client *client = NULL;
    mc_timer_cancel(loop_of(race->leader), &race->next);
    while (client == NULL) {
        if (!has_address(pool, race->next_index)) {
            return false;
        }
        if (mc_client_new(pool, race->next_index++, &client) != MC_OK) {
            client = NULL;
        }
    }
    client->race = race;
    mc_list_push_back(&race->others, &client->link);
    race->running++;
    await_next(race);
    return true;
}

static void next_due(mc_timer *timer) { (void)!try_next(MC_CONTAINER(timer, mc_race, next)); }

void mc_race_begin(mc_client *leader) {
    mc_race *race = has_address(leader->pool, 1) ? mc_calloc(1, sizeof *race) : NULL;
    if (race != NULL) {
        race->leader = leader;
        race->running = race->next_index = 1;
        race->next.fire = next_due;
        mc_list_init(&race->others);
        leader->race = race;
        await_next(race);
    }
}

void mc_race_won(mc_client *client) {
    mc_race *race = client->race;
    mc_client *leader = race->leader;
    if (client != leader) {
        mc_link_unlink(&client->link);
    }
    MC_LIST_EACH(&race->others, node) {
        mc_client *other = MC_CONTAINER(node, mc_client, link);
        mc_link_unlink(&other->link);
        other->race = NULL;
        mc_conn_abort(&other->conn, MC_CLOSE_LOCAL);
    }
    const bool leader_lost = race->leader_lost;
    race_free(race);
    client->race = leader->race = NULL;
    if (client != leader) {
        mc_client_replace(leader, client);
        if (leader_lost) {
            mc_client_free(leader);
        } else {
            mc_conn_abort(&leader->conn, MC_CLOSE_LOCAL);
        }
    }
}

void mc_race_lost(mc_client *client, mc_close_reason why) {
    mc_race *race = client->race;
    mc_client *leader = race->leader;
    const int error = client->conn.connect_error;
    race->running--;
    if (client == leader) {
        race->leader_lost = true;
    } else {
        mc_client_free(client);
    }
    if ((race->stopped || !try_next(race)) && race->running == 0) {
        race_free(race);
        leader->race = NULL;
        mc_client_failed(leader, why, error);
    }
}

void mc_race_stop(mc_race *race, mc_close_reason why) {
    race->stopped = true;
    mc_timer_cancel(loop_of(race->leader), &race->next);
    if (!race->leader_lost) {
        mc_conn_abort(&race->leader->conn, why);
    }
    MC_LIST_EACH(&race->others, node) { mc_conn_abort(&MC_CONTAINER(node, mc_client, link)->conn, why); }
}
