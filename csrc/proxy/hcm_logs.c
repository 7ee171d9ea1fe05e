#include "base/read.h"
#include "proxy/hcm_internal.h"

/* AL-6: the options' own message, or the older fields beside it. */
static mc_status read_access_logs(mc_hcm *hcm, const mc_value *config, const mc_hcm_context *context, mc_error *error) {
    static const char *const older[] = {"access_log_flush_interval", "flush_access_log_on_new_request"};
    const mc_value *options;
    MC_TRY(mc_value_read_object(config, "access_log_options", &options, error));
    for (size_t i = 0; i < 2 && options != NULL; i++) {
        if (mc_value_get(config, older[i]) != NULL) {
            return mc_error_set(error, MC_EINVAL, older[i], "must not be set together with access_log_options");
        }
    }
    const mc_value *from = options == NULL ? config : options;
    MC_TRY(mc_value_read_duration_ms(from, older[0], &hcm->access.interval_ms, error));
    if (mc_value_get(from, older[0]) != NULL && hcm->access.interval_ms == 0) {
        return mc_error_set(error, MC_EINVAL, older[0], "must be at least 1 ms");
    }
    MC_TRY(mc_value_read_bool(from, older[1], &hcm->access.on_new_request, error));
    MC_TRY(mc_value_read_bool(options, "flush_log_on_tunnel_successfully_established", &hcm->access.on_tunnel, error));
    return mc_access_logs_compile(config, "access_log", context->log_writer, &hcm->access.logs, error);
}

/* upstream_log of the router: a record for each try. */
static mc_status read_upstream_logs(mc_hcm *hcm, const mc_value *router, const mc_hcm_context *context,
                                    mc_error *error) {
    static const char interval[] = "upstream_log_flush_interval";
    const mc_value *options;
    MC_TRY(mc_access_logs_compile(router, "upstream_log", context->log_writer, &hcm->access.upstream, error));
    MC_TRY(mc_value_read_object(router, "upstream_log_options", &options, error));
    MC_TRY(mc_value_read_bool(options, "flush_upstream_log_on_upstream_stream", &hcm->access.on_upstream, error));
    if (mc_value_get(options, interval) == NULL) {
        return MC_OK;
    }
    MC_TRY(mc_value_read_duration_ms(options, interval, &hcm->access.upstream_ms, error));
    if (hcm->access.upstream_ms == 0) {
        mc_error_set(error, MC_EINVAL, interval, "must be at least 1 ms");
        return mc_error_in(MC_EINVAL, error, "upstream_log_options");
    }
    return MC_OK;
}

mc_status mc_hcm_read_logs(mc_hcm *hcm, const mc_value *config, const mc_hcm_context *context, mc_error *error) {
    const mc_value *filters;
    size_t count;
    MC_TRY(read_access_logs(hcm, config, context, error));
    MC_TRY(mc_value_read_list(config, "http_filters", &filters, &count, error));
    if (count > 0) { /* the router is the last one */
        MC_TRY(mc_error_in(read_upstream_logs(hcm, mc_value_get(&filters[count - 1], "typed_config"), context, error),
                           error, "http_filters[%zu].typed_config", count - 1));
    }
    hcm->access.connections = context->connection_logs == NULL ? NULL : mc_access_logs_ref(context->connection_logs);
    return MC_OK;
}
