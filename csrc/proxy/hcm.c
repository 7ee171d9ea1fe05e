#include "base/alloc.h"
#include "base/defaults.h"
#include "base/read.h"
#include "proxy/hcm_internal.h"

mc_hcm *mc_hcm_ref(mc_hcm *hcm) {
    atomic_fetch_add_explicit(&hcm->refs, 1, memory_order_relaxed);
    return hcm;
}

void mc_hcm_unref(mc_hcm *hcm) {
    if (hcm == NULL || atomic_fetch_sub_explicit(&hcm->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    mc_hcm_routes_fini(hcm);
    mc_access_logs_unref(hcm->access.logs);
    mc_access_logs_unref(hcm->access.connections);
    mc_access_logs_unref(hcm->access.upstream);
    if (hcm->code_scopes != NULL) {
        mc_code_scopes_fini(hcm->code_scopes);
    }
    mc_stats_unref(hcm->stats_store);
    mc_arena_fini(&hcm->arena);
    mc_free(hcm);
}

mc_hcm_pin *mc_hcm_pin_new(mc_hcm *hcm) {
    mc_hcm_pin *pin = mc_calloc(1, sizeof *pin + hcm->filter_count * sizeof(void *));
    if (pin != NULL) {
        pin->hcm = mc_hcm_ref(hcm);
        pin->refs = 1;
    }
    return pin;
}

void mc_hcm_pin_unref(mc_hcm_pin *pin) {
    if (pin != NULL && --pin->refs == 0) {
        for (uint32_t i = 0; i < pin->hcm->filter_count; i++) {
            if (pin->filter_states[i] != NULL) {
                pin->hcm->filters[i].kind->worker_close(pin->filter_states[i]);
            }
        }
        mc_hcm_unref(pin->hcm);
        mc_free(pin);
    }
}

static mc_status copy_metadata(mc_hcm *hcm, const mc_value *from, const mc_value **out) {
    return from == NULL ? MC_OK : mc_value_copy(&hcm->arena, from, out);
}

/* What the HCM keeps of where it stands. */
static mc_status copy_context(mc_hcm *hcm, const mc_hcm_context *context) {
    hcm->buffer_limit = context->buffer_limit;
    hcm->node_address = context->node_address;
    hcm->direction = context->direction;
    MC_TRY(mc_arena_dup(&hcm->arena, context->node_id, &hcm->node_id));
    MC_TRY(mc_arena_dup(&hcm->arena, context->node_cluster, &hcm->node_cluster));
    MC_TRY(mc_arena_dup(&hcm->arena, context->node_zone, &hcm->node_zone));
    MC_TRY(mc_arena_dup(&hcm->arena, context->filter_chain_name, &hcm->filter_chain_name));
    MC_TRY(copy_metadata(hcm, context->listener_metadata, &hcm->listener_metadata));
    MC_TRY(copy_metadata(hcm, context->filter_chain_metadata, &hcm->filter_chain_metadata));
    return copy_metadata(hcm, context->node, &hcm->node);
}

static mc_status read_codec(mc_hcm *hcm, const mc_value *config, mc_error *error) {
    static const mc_name_value codecs[] = {{"AUTO", 0}, {"HTTP1", 1}, {NULL, 0}};
    uint64_t codec = 0;
    uint32_t headers_kib = (uint32_t)MC_DEFAULT_MAX_REQUEST_HEADERS;
    mc_h1_limits_init(&hcm->h1, MC_H1_REQUEST);
    MC_TRY(mc_read_enum(config, "codec_type", codecs, &codec, error));
    MC_TRY(mc_value_read_u32(config, "max_request_headers_kb", &headers_kib, error));
    hcm->h1.max_headers_bytes = headers_kib * 1024;
    return MC_OK;
}

/* Which facts of a request somebody may read. */
static void decide_facts(mc_hcm *hcm) {
    const mc_hcm_logs *access = &hcm->access;
    const bool formats = hcm->formats, tries = access->upstream != NULL;
    const unsigned parts = access->logs == NULL ? 0 : access->logs->parts;
    hcm->keeps_facts = access->logs != NULL || tries || formats || hcm->filter_count > 1;
    hcm->keeps_local = formats || tries || (parts & MC_READS_LOCAL);
    hcm->keeps_place = formats || tries || (parts & MC_READS_PLACE);
}

static mc_status compile(mc_hcm *hcm, const mc_value *config, const mc_hcm_context *context, mc_error *error) {
    mc_slice stat_prefix = MC_SLICE_NONE;
    mc_filter_compile filters = {.arena = &hcm->arena,
                                 .error = error,
                                 .stats = context->stats,
                                 .local_cluster = context->local_cluster,
                                 .cluster_slot = context->cluster_slot,
                                 .ctx = context->ctx};
    MC_TRY(copy_context(hcm, context));
    MC_TRY(read_codec(hcm, config, error));
    MC_TRY(mc_value_read_string(config, "stat_prefix", &stat_prefix, error));
    const mc_slice scope[] = {MC_SLICE("http."), stat_prefix, MC_SLICE(".")};
    MC_TRY(mc_arena_concat(&hcm->arena, scope, 3, &filters.scope));
    filters.node_cluster = hcm->node_cluster;
    MC_TRY(mc_hcm_read_options(hcm, config, context->runtime, error));
    MC_TRY(mc_hcm_read_logs(hcm, config, context, error));
    MC_TRY(mc_tracing_compile(&hcm->arena, config, context, &hcm->tracing, error));
    MC_TRY(mc_hcm_read_filters(hcm, config, context, &filters));
    MC_TRY(mc_hcm_routes_read(hcm, config, context, &filters, error));
    decide_facts(hcm);
    return mc_hcm_stats_register(&hcm->stats, hcm->stats_store, &hcm->arena, filters.scope, context->listener_scope);
}

mc_status mc_hcm_compile(const mc_value *config, const mc_hcm_context *context, mc_hcm **out, mc_error *error) {
    mc_hcm *hcm = mc_calloc(1, sizeof *hcm);
    if (hcm == NULL) {
        return mc_error_set(error, MC_ENOMEM, "", "out of memory");
    }
    atomic_init(&hcm->refs, 1);
    mc_arena_init(&hcm->arena, NULL);
    hcm->stats_store = mc_stats_ref(context->stats);
    hcm->code_scopes = mc_arena_zalloc(&hcm->arena, sizeof *hcm->code_scopes);
    if (hcm->code_scopes != NULL) {
        hcm->code_scopes->store = hcm->stats_store;
    }
    mc_status status = hcm->code_scopes == NULL ? MC_ENOMEM : compile(hcm, config, context, error);
    if (status == MC_OK) {
        *out = hcm;
        return MC_OK;
    }
    mc_hcm_unref(hcm);
    return status == MC_ENOMEM ? mc_error_set(error, status, "", "out of memory") : status;
}
