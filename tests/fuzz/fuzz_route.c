/* Route tables out of arbitrary JSON, and arbitrary requests to them. A configuration may be refused but must not hurt; what it
 * compiles into must answer as trying every route in order does, and its routes must finalise any request.
 *
 * Input: the configuration, a zero byte, then "host/path" and "name: value" lines. */
#include "route/rate_limit.h"
#include "route/table.h"

#include <stdlib.h>

#include "lines.h"

/* Exactly what the index must find. */
static const mc_route *naive(const mc_host *host, const mc_match_input *in) {
    for (size_t i = 0; i < host->entry_count; i++) {
        const mc_route_entry *entry = host->entries[i];
        if (!entry->route.no_plugin && mc_path_pattern_test(&entry->pattern, in) == 1 &&
            mc_matchers_test(&entry->matchers, in) == 1) {
            return &entry->route;
        }
    }
    return NULL;
}

static mc_status fill(mc_headers *headers, mc_slice text) {
    mc_slice line = take_line(&text);
    size_t slash = mc_slice_find(line, '/');
    mc_status status = add_header(headers, MC_SLICE(":authority"), mc_slice_until(line, slash));
    if (status == MC_OK && slash < line.n) {
        status = add_header(headers, MC_SLICE(":path"), mc_slice_from(line, slash));
    }
    return status == MC_OK ? add_lines(headers, text) : status;
}

static void use(const mc_route_table *table, mc_slice text) {
    mc_arena arena;
    mc_headers headers;
    mc_route_match match;
    mc_request_hash hash;
    mc_slice location;
    mc_arena_init(&arena, NULL);
    mc_headers_init(&headers, &arena);
    mc_stream_info info;
    mc_rate_limit_descriptors limits = {.count = 0};
    mc_route_request request = {.headers = &headers, .arena = &arena, .random = text.n, .info = &info};
    mc_stream_info_init(&info);
    info.request = &headers;
    if (fill(&headers, text) != MC_OK || mc_route_table_match(table, &request, &match) != MC_OK) {
        abort();
    }
    if (match.virtual_host != NULL && !match.tls_redirect) {
        const mc_host *host = (const mc_host *)match.virtual_host;
        mc_match_input in;
        mc_match_input_init(&in, table, &request);
        mc_slice proto = mc_headers_get_known(&headers, MC_H_X_FORWARDED_PROTO);
        bool refused = proto.n == 0 && (proto.p != NULL || host->public.require_tls != 0);
        if (host->tree == NULL && match.route != (refused ? NULL : naive(host, &in))) {
            abort();
        }
    }
    if (match.route != NULL && (mc_route_hash(match.route, &request, &hash) != MC_OK ||
                                mc_route_rate_limits(&match, &request, MC_SLICE("here"), 0, false,
                                                     MC_VH_RATE_LIMITS_INCLUDE, &limits) != MC_OK ||
                                mc_route_redirect_location(&match, &request, &location) != MC_OK ||
                                mc_route_finalize_request(table, &match, &request, &headers, false) != MC_OK ||
                                mc_route_finalize_response(table, &match, &request, &headers) != MC_OK)) {
        abort();
    }
    mc_arena_fini(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    mc_slice input = mc_slice_of(data, size);
    size_t zero = mc_slice_find(input, 0);
    mc_arena arena;
    mc_error error;
    const mc_value *config;
    mc_route_table *table;
    mc_arena_init(&arena, NULL);
    if (mc_value_parse(&arena, mc_slice_until(input, zero), &config, &error) == MC_OK &&
        mc_route_table_compile(config, &table, &error) == MC_OK) {
        use(table, mc_slice_from(input, zero + 1));
        mc_route_table_unref(table);
    }
    mc_arena_fini(&arena);
    return 0;
}
