/* What a compressor is configured with (FL-41, FL-44), and its counters: of the filter, and of a route in its stead.
 *
 * Lives in the arena of what is compiled; immutable. */
#ifndef MC_PROXY_FILTERS_COMPRESSOR_CONFIG_H
#define MC_PROXY_FILTERS_COMPRESSOR_CONFIG_H

#include "proxy/filters/codec.h"
#include "proxy/filters/kind.h"

#define MC_COMPRESSOR_SIDE_STATS(X)                                                                                    \
    X(compressed) X(not_compressed) X(total_uncompressed_bytes) X(total_compressed_bytes) X(content_length_too_small)
#define MC_COMPRESSOR_STATS(X)                                                                                         \
    X(no_accept_header)                                                                                                \
    X(header_identity)                                                                                                 \
    X(header_compressor_used)                                                                                          \
    X(header_compressor_overshadowed) X(header_wildcard) X(header_not_valid) X(not_compressed_etag)

/* Of one direction. */
typedef struct mc_compressor_side {
    bool set; /* configured at all */
    mc_feature_flag enabled;
    uint32_t min_length;
    mc_slice *types;
    uint32_t type_count;
    struct {
        MC_COMPRESSOR_SIDE_STATS(MC_STAT_FIELD)
    } stats;
} mc_compressor_side;

/* A coding and how it is made. */
typedef struct mc_compressor_library {
    const mc_codec *codec; /* NULL: none is said */
    void *config;
} mc_compressor_library;

typedef struct mc_compressor {
    mc_compressor_library library;
    bool choose_first;
    mc_compressor_side request, response;
    bool refuse_etag, weaken_etag, hide_accept, tell_status;
    uint32_t *refused_codes;
    uint32_t refused_count;
    struct {
        MC_COMPRESSOR_STATS(MC_STAT_FIELD)
    } stats;
} mc_compressor;

typedef struct mc_compressor_route {
    bool disabled;
    bool response;                 /* response compression is on here */
    int8_t hide_accept;            /* -1: as the filter */
    mc_compressor_library library; /* takes the place of the filter's */
} mc_compressor_route;

/* Of messages Compressor and CompressorPerRoute; *out is an mc_compressor, an mc_compressor_route. */
MC_MUST_CHECK mc_status mc_compressor_compile(mc_filter_compile *c, const mc_value *value, void **out);
MC_MUST_CHECK mc_status mc_compressor_compile_route(mc_filter_compile *c, const mc_value *value, void **out);

#endif
