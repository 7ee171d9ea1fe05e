/* gzip by zlib. */
#include <zlib.h>

#include "base/alloc.h"
#include "base/read.h"
#include "proxy/filters/codec.h"

enum { GZIP = 16, CHUNK = 4096 }; /* GZIP added to the window bits asks zlib for that wrapping */

typedef struct settings {
    int level, strategy, window, memory;
    uint64_t ratio; /* of decompressing */
} settings;

typedef struct stream {
    z_stream z;
    bool compress, failed, ended;
    uint64_t ratio;
} stream;

static const mc_name_value levels[] = {{"DEFAULT_COMPRESSION", 10},
                                       {"BEST_SPEED", 1},
                                       {"COMPRESSION_LEVEL_1", 1},
                                       {"COMPRESSION_LEVEL_2", 2},
                                       {"COMPRESSION_LEVEL_3", 3},
                                       {"COMPRESSION_LEVEL_4", 4},
                                       {"COMPRESSION_LEVEL_5", 5},
                                       {"COMPRESSION_LEVEL_6", 6},
                                       {"COMPRESSION_LEVEL_7", 7},
                                       {"COMPRESSION_LEVEL_8", 8},
                                       {"COMPRESSION_LEVEL_9", 9},
                                       {"BEST_COMPRESSION", 9},
                                       {NULL, 0}};
static const mc_name_value strategies[] = {{"DEFAULT_STRATEGY", Z_DEFAULT_STRATEGY},
                                           {"FILTERED", Z_FILTERED},
                                           {"HUFFMAN_ONLY", Z_HUFFMAN_ONLY},
                                           {"RLE", Z_RLE},
                                           {"FIXED", Z_FIXED},
                                           {NULL, 0}};

static mc_status compile(mc_arena *arena, const mc_value *config, bool compress, void **out, mc_error *error) {
    settings *settings = mc_arena_zalloc(arena, sizeof *settings);
    uint64_t level = 10, strategy = Z_DEFAULT_STRATEGY, window = compress ? 12 : 15, memory = 5, ratio = 100;
    *out = settings;
    if (settings == NULL) {
        return MC_ENOMEM;
    }
    MC_TRY(mc_read_enum(config, "compression_level", levels, &level, error));
    MC_TRY(mc_read_enum(config, "compression_strategy", strategies, &strategy, error));
    MC_TRY(mc_value_read_u64(config, "window_bits", &window, error));
    MC_TRY(mc_value_read_u64(config, "memory_level", &memory, error));
    MC_TRY(mc_value_read_u64(config, "max_inflate_ratio", &ratio, error));
    if (window < 9 || window > 15) {
        return mc_error_set(error, MC_EINVAL, "window_bits", "must be between 9 and 15");
    }
    if (memory < 1 || memory > 9) {
        return mc_error_set(error, MC_EINVAL, "memory_level", "must be between 1 and 9");
    }
    settings->level = level == 10 ? Z_DEFAULT_COMPRESSION : (int)level;
    settings->strategy = (int)strategy;
    settings->window = (int)window;
    settings->memory = (int)memory;
    settings->ratio = ratio;
    return MC_OK;
}

static void *allocate(void *opaque, unsigned items, unsigned size) { return mc_malloc((size_t)items * size); }
static void release(void *opaque, void *memory) { mc_free(memory); }

static void *open_stream(const void *config, bool compress) {
    const settings *settings = config;
    stream *stream = mc_calloc(1, sizeof *stream);
    if (stream == NULL) {
        return NULL;
    }
    stream->compress = compress;
    stream->ratio = settings->ratio;
    stream->z.zalloc = allocate;
    stream->z.zfree = release;
    int status = compress ? deflateInit2(&stream->z, settings->level, Z_DEFLATED, settings->window + GZIP,
                                         settings->memory, settings->strategy)
                          : inflateInit2(&stream->z, settings->window + GZIP);
    if (status != Z_OK) {
        mc_free(stream);
        return NULL;
    }
    return stream;
}

static mc_status run(void *object, mc_slice in, bool finish, mc_buffer *out) {
    stream *stream = object;
    unsigned char piece[CHUNK];
    const uint64_t limit = out->length + stream->ratio * in.n;
    stream->z.next_in = (unsigned char *)in.p;
    stream->z.avail_in = (unsigned)in.n;
    if (stream->failed || stream->ended) {
        return stream->failed ? MC_EINVAL : MC_OK;
    }
    if (!stream->compress && in.n == 0) { /* what a bomb has left stays there */
        return MC_OK;
    }
    do {
        stream->z.next_out = piece;
        stream->z.avail_out = sizeof piece;
        int status =
            stream->compress ? deflate(&stream->z, finish ? Z_FINISH : Z_SYNC_FLUSH) : inflate(&stream->z, Z_NO_FLUSH);
        const size_t n = sizeof piece - stream->z.avail_out;
        stream->ended = status == Z_STREAM_END;
        stream->failed = status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR;
        if (n > 0 && mc_buffer_append(out, mc_slice_of(piece, n)) != MC_OK) {
            return MC_ENOMEM;
        }
        if (stream->failed) {
            return status == Z_MEM_ERROR ? MC_ENOMEM : MC_EINVAL;
        }
        if (!stream->compress && out->length > limit) { /* a bomb: what these bytes would still become is dropped */
            return MC_EINVAL;
        }
    } while (!stream->ended && stream->z.avail_out == 0);
    return MC_OK;
}

static void close_stream(void *object) {
    stream *stream = object;
    if (stream->compress) {
        deflateEnd(&stream->z);
    } else {
        inflateEnd(&stream->z);
    }
    mc_free(stream);
}

const mc_codec mc_codec_gzip = {
    .name = "gzip",
    .prefix = "gzip.",
    .compressor_type = "envoy.extensions.compression.gzip.compressor.v3.Gzip",
    .decompressor_type = "envoy.extensions.compression.gzip.decompressor.v3.Gzip",
    .compile = compile,
    .open = open_stream,
    .run = run,
    .close = close_stream,
};
