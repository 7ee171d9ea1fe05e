/* Codec: a content coding as a stream transformation, for compressor and decompressor. gzip is always there; brotli and zstd when the
 * build found their libraries. */
#ifndef MC_PROXY_FILTERS_CODEC_H
#define MC_PROXY_FILTERS_CODEC_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/value.h"
#include "proxy/filters/kind.h"
#include "proxy/stream.h"

typedef struct mc_codec {
    const char *name;                                /* in content-encoding */
    const char *prefix;                              /* of stats: "gzip." */
    const char *compressor_type, *decompressor_type; /* full names of the libraries' messages */
    mc_status (*compile)(mc_arena *arena, const mc_value *config, bool compress, void **out, mc_error *error);
    /* NULL: out of memory. */
    void *(*open)(const void *config, bool compress);
    /* Transforms all of `in`, appends to `out`: with `finish` the end, else everything that can be read so far. MC_EINVAL: not the
     * coding; nothing more will come. */
    mc_status (*run)(void *stream, mc_slice in, bool finish, mc_buffer *out);
    void (*close)(void *stream);
} mc_codec;

/* The codec of a TypedExtensionConfig's message; NULL: not built in, or unknown. */
const mc_codec *mc_codec_find(mc_slice type, bool compress);

/* Passes on what a codec made of a piece, and with it the end of the body; the bytes stay until the callback ends. */
void mc_codec_give(mc_filter *filter, mc_direction direction, mc_buffer *out, bool end_stream);

extern const mc_codec mc_codec_gzip;
#ifdef MC_WITH_BROTLI
extern const mc_codec mc_codec_brotli;
#endif
#ifdef MC_WITH_ZSTD
extern const mc_codec mc_codec_zstd;
#endif

#endif
