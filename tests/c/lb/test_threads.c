/* Workers pick and count while the control side replaces the membership: what they share is read-only or atomic. Meant for
 * ThreadSanitizer. */
#include <pthread.h>
#include <sched.h>

#include "fixture.h"
#include "health/outlier.h"

enum { WORKERS = 2, ROUNDS = 200 };

typedef struct shared {
    mc_lb_config config;
    mc_outlier_config outlier;
    pthread_mutex_t lock; /* of `hosts`: the mailbox's part */
    mc_hosts *hosts;
    atomic_int publications;
    atomic_long picks;
    atomic_bool stop;
} shared;

static mc_hosts *current(shared *s) {
    pthread_mutex_lock(&s->lock);
    mc_hosts *hosts = mc_hosts_ref(s->hosts);
    pthread_mutex_unlock(&s->lock);
    return hosts;
}

static void publish(shared *s, mc_hosts *hosts) {
    pthread_mutex_lock(&s->lock);
    mc_hosts *old = s->hosts;
    s->hosts = hosts;
    pthread_mutex_unlock(&s->lock);
    mc_hosts_unref(old);
    atomic_fetch_add(&s->publications, 1);
}

static void use(shared *s, mc_host *host, bool fail) {
    atomic_fetch_add(&host->rq_active, 1);
    if (host->outlier != NULL) {
        mc_outlier_put(host->outlier, &s->outlier, fail ? MC_OUTLIER_REQUEST_FAILED : MC_OUTLIER_REQUEST_SUCCESS, 0);
    }
    atomic_fetch_sub(&host->rq_active, 1);
    atomic_fetch_add(&s->picks, 1);
}

static void *work(void *ctx) {
    static const mc_lb_stats no_stats = {.slab = NULL};
    shared *s = ctx;
    mc_random random;
    mc_random_seed(&random, 1);
    mc_hosts *hosts = current(s);
    mc_lb *lb = mc_lb_new(&s->config, hosts, &random, 0, &no_stats);
    uint64_t now = 0;
    while (lb != NULL && !atomic_load(&s->stop)) {
        for (int i = 0; i < 50; i++) {
            mc_lb_request request = {.has_hash = true, .hash = mc_random_next(&random), .now_ms = ++now};
            mc_host *host = mc_lb_choose(lb, &request);
            if (host != NULL) {
                use(s, host, i % 3 == 0);
            }
        }
        mc_hosts *next = current(s);
        if (mc_lb_update(lb, next, now) == MC_OK) {
            mc_hosts_unref(hosts);
            hosts = next;
        } else {
            mc_hosts_unref(next);
        }
    }
    mc_lb_free(lb);
    mc_hosts_unref(hosts);
    return NULL;
}

static void control(shared *s, mc_outlier *detector) {
    static const char *versions[] = {
        CLA(GROUP(0, ENDPOINT(1, ""), ENDPOINT(2, WEIGHT(2)), ENDPOINT(3, ""))),
        CLA(GROUP(0, ENDPOINT(1, WEIGHT(5)), ENDPOINT(3, ""), ENDPOINT(4, ""))),
        CLA(GROUP(0, ENDPOINT(2, ""),
                  ENDPOINT(3, ",\"metadata\":{\"filter_metadata\":{\"envoy.lb\":{\"hash_key\":\"k\"}}}")),
            GROUP(1, ENDPOINT(1, STATUS(DEGRADED)))),
    };
    for (int i = 0; i < ROUNDS; i++) {
        mc_hosts *next = hosts_of(versions[i % 3], &s->config, s->hosts);
        CHECK_INT(mc_outlier_set_hosts(detector, next), MC_OK);
        publish(s, next);
        mc_host *host = mc_hosts_at(next, (size_t)i % mc_hosts_count(next));
        if (mc_outlier_report(detector, host, MC_OUTLIER_CONSECUTIVE_5XX, (uint64_t)i * 1000)) {
            mc_hosts *refreshed = NULL;
            CHECK_INT(mc_hosts_refresh(next, &refreshed), MC_OK);
            publish(s, refreshed);
        }
        mc_outlier_tick(detector, (uint64_t)i * 1000);
        for (long seen = atomic_load(&s->picks); atomic_load(&s->picks) == seen;) {
            sched_yield(); /* no round without the workers */
        }
    }
}

static void run(const char *cluster) {
    static const mc_outlier_stats no_stats = {.slab = NULL};
    shared s = {.config = config_of(cluster)};
    mc_error error;
    mc_random random;
    mc_outlier detector;
    pthread_t threads[WORKERS];
    CHECK_INT(mc_outlier_config_compile(NULL, &s.outlier, &error), MC_OK);
    s.outlier.max_ejection_percent = 50;
    mc_random_seed(&random, 2);
    mc_outlier_init(&detector, &s.outlier, &no_stats, &random, &random, NULL, NULL);
    pthread_mutex_init(&s.lock, NULL);
    s.hosts = hosts_of(CLA(GROUP(0, ENDPOINT(1, ""))), &s.config, NULL);
    for (int i = 0; i < WORKERS; i++) {
        CHECK_INT(pthread_create(&threads[i], NULL, work, &s), 0);
    }
    control(&s, &detector);
    atomic_store(&s.stop, true);
    for (int i = 0; i < WORKERS; i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK(atomic_load(&s.publications) >= ROUNDS);
    mc_outlier_fini(&detector);
    mc_hosts_unref(s.hosts);
    pthread_mutex_destroy(&s.lock);
}

TEST(weighted_round_robin) {
    run("{\"type\":\"EDS\",\"round_robin_lb_config\":{\"slow_start_config\":{\"slow_start_window\":\"60s\"}}}");
}

TEST(least_request) { run("{\"type\":\"EDS\",\"lb_policy\":\"LEAST_REQUEST\"}"); }

TEST(maglev_bounded) {
    run("{\"type\":\"EDS\",\"lb_policy\":\"MAGLEV\",\"maglev_lb_config\":{\"table_size\":\"101\"},"
        "\"common_lb_config\":{\"consistent_hashing_lb_config\":{\"hash_balance_factor\":120}}}");
}
