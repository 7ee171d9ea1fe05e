#include "proxy/hcm_stats.h"

#include "http/flags.h"

#define SCOPED(kind, name) mc_stats_scoped(store, kind, scope, MC_SLICE(#name));

static void register_manager(mc_hcm_stats *stats, mc_stats *store, mc_slice scope) {
#define COUNTER(name)   stats->name = SCOPED(MC_COUNTER, name)
#define GAUGE(name)     stats->name = SCOPED(MC_GAUGE, name)
#define HISTOGRAM(name) stats->name = SCOPED(MC_HISTOGRAM, name)
    MC_HCM_STATS(COUNTER, GAUGE, HISTOGRAM)
    stats->shadow_rq_total = mc_stats_scoped(store, MC_COUNTER, MC_SLICE("http.async-client."), MC_SLICE("rq_total"));
}

static void register_user_agent(mc_user_agent_stats *stats, mc_stats *store, mc_slice scope) {
    MC_USER_AGENT_STATS(COUNTER, HISTOGRAM)
}
#undef COUNTER
#undef GAUGE
#undef HISTOGRAM

static void register_listener(mc_hcm_stats *stats, mc_stats *store, mc_slice scope) {
#define COUNTER(name) stats->listener.name = SCOPED(MC_COUNTER, name)
    MC_LISTENER_HTTP_STATS(COUNTER)
#undef COUNTER
}

static void register_tracing(mc_hcm_stats *stats, mc_stats *store, mc_slice scope) {
#define COUNTER(name) stats->tracing.name = SCOPED(MC_COUNTER, name)
    MC_TRACING_STATS(COUNTER)
#undef COUNTER
}

static void register_http1(mc_hcm_stats *stats, mc_stats *store, mc_slice scope) {
#define COUNTER(name) stats->http1.name = SCOPED(MC_COUNTER, name)
    MC_HTTP1_STATS(COUNTER)
#undef COUNTER
}

static void register_flags(mc_hcm_stats *stats, mc_stats *store, mc_slice scope) {
    for (unsigned i = 0; i < MC_FLAG_COUNT; i++) {
        stats->flags[i] = mc_stats_scoped(store, MC_COUNTER, scope, mc_flag_name(i));
    }
}

mc_status mc_hcm_stats_register(mc_hcm_stats *stats, mc_stats *store, mc_arena *arena, mc_slice scope,
                                mc_slice listener_scope) {
    const mc_slice flags[] = {scope, MC_SLICE("response_flags.")}, tracing[] = {scope, MC_SLICE("tracing.")},
                   ios[] = {scope, MC_SLICE("user_agent.ios.")}, android[] = {scope, MC_SLICE("user_agent.android.")},
                   listener[] = {MC_SLICE("listener."), listener_scope, MC_SLICE("."), scope};
    mc_slice below;
    register_manager(stats, store, scope);
    MC_TRY(mc_arena_concat(arena, flags, 2, &below));
    register_flags(stats, store, below);
    MC_TRY(mc_arena_concat(arena, listener, 4, &below));
    register_listener(stats, store, below);
    MC_TRY(mc_arena_concat(arena, tracing, 2, &below));
    register_tracing(stats, store, below);
    register_http1(stats, store, MC_SLICE("http1."));
    MC_TRY(mc_arena_concat(arena, ios, 2, &below));
    register_user_agent(&stats->user_agents[MC_AGENT_IOS], store, below);
    MC_TRY(mc_arena_concat(arena, android, 2, &below));
    register_user_agent(&stats->user_agents[MC_AGENT_ANDROID], store, below);
    return MC_OK;
}
