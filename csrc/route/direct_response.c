/* Direct responses (RT-32). */
#include "route/compile.h"
#include "route/format.h"

mc_status mc_compile_direct_response(mc_compile *c, const mc_value *value, mc_route *out) {
    static const char *const known[] = {"status", "body", "body_format", NULL};
    MC_TRY(mc_refuse_unknown(value, known, c->error));
    mc_direct_response *response = mc_arena_zalloc(c->arena, sizeof *response);
    const mc_value *format;
    uint32_t status = 0;
    if (response == NULL) {
        return MC_ENOMEM;
    }
    MC_TRY(mc_value_read_u32(value, "status", &status, c->error));
    if (status < 200 || status > 599) {
        return mc_error_set(c->error, MC_EINVAL, "status", "must be between 200 and 599");
    }
    response->status = (uint16_t)status;
    MC_TRY(mc_read_data_source(c->arena, value, "body", &response->body, c->error));
    if (response->body.n > c->max_direct_response_body) {
        return mc_error_set(c->error, MC_EINVAL, "body", "is %zu bytes long, more than %llu", response->body.n,
                            (unsigned long long)c->max_direct_response_body);
    }
    MC_TRY(mc_value_read_object(value, "body_format", &format, c->error));
    if (format != NULL) {
        c->table->formats = true;
        MC_TRY(mc_error_in(mc_format_compile(c->arena, format, &response->format, c->error), c->error, "body_format"));
        if (mc_value_get(format, "content_type") != NULL || mc_value_get(format, "json_format") != NULL) {
            MC_TRY(mc_error_in(mc_format_content_type(c->arena, format, &response->content_type, c->error), c->error,
                               "body_format"));
        }
    }
    out->action = MC_ROUTE_DIRECT_RESPONSE;
    out->direct_response = response;
    return MC_OK;
}
