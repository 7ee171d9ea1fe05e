/* zstd by its library, where the build has it. */
#ifdef MC_WITH_ZSTD
#include <zstd.h>

#include "base/alloc.h"
#include "base/read.h"
#include "proxy/filters/codec.h"

typedef struct settings {
    uint32_t level;
    uint64_t strategy;
    bool checksum;
    mc_slice *dictionaries; /* to pack: one at most */
    size_t dictionary_count;
} settings;

typedef struct stream {
    ZSTD_CCtx *encoder;
    ZSTD_DCtx *decoder;
    const settings *settings;
    bool begun;
    bool failed;
} stream;

/* As Envoy, files are not watched. */
static mc_status read_dictionaries(mc_arena *arena, const mc_value *config, bool compress, settings *out,
                                   mc_error *error) {
    const mc_value *list;
    size_t count;
    if (compress) {
        count = mc_value_get(config, "dictionary") != NULL;
    } else {
        MC_TRY(mc_value_read_list(config, "dictionaries", &list, &count, error));
    }
    out->dictionaries = mc_arena_zalloc(arena, (count + 1) * sizeof *out->dictionaries);
    if (out->dictionaries == NULL) {
        return MC_ENOMEM;
    }
    out->dictionary_count = count;
    for (size_t i = 0; i < count; i++) {
        if (compress) {
            MC_TRY(mc_read_data_source(arena, config, "dictionary", &out->dictionaries[i], error));
        } else {
            MC_TRY(mc_error_in(mc_read_data(arena, &list[i], &out->dictionaries[i], error), error, "dictionaries[%zu]",
                               i));
        }
    }
    return MC_OK;
}

static mc_status compile(mc_arena *arena, const mc_value *config, bool compress, void **out, mc_error *error) {
    static const mc_name_value strategies[] = {{"DEFAULT", 0}, {"FAST", 1},     {"DFAST", 2},   {"GREEDY", 3},
                                               {"LAZY", 4},    {"LAZY2", 5},    {"BTLAZY2", 6}, {"BTOPT", 7},
                                               {"BTULTRA", 8}, {"BTULTRA2", 9}, {NULL, 0}};
    settings *settings = mc_arena_zalloc(arena, sizeof *settings);
    *out = settings;
    if (settings == NULL) {
        return MC_ENOMEM;
    }
    settings->level = 3;
    MC_TRY(read_dictionaries(arena, config, compress, settings, error));
    MC_TRY(mc_value_read_u32(config, "compression_level", &settings->level, error));
    MC_TRY(mc_value_read_bool(config, "enable_checksum", &settings->checksum, error));
    return mc_read_enum(config, "strategy", strategies, &settings->strategy, error);
}

static void close_stream(void *object) {
    stream *stream = object;
    ZSTD_freeCCtx(stream->encoder);
    ZSTD_freeDCtx(stream->decoder);
    mc_free(stream);
}

static void *open_stream(const void *config, bool compress) {
    const settings *settings = config;
    stream *stream = mc_calloc(1, sizeof *stream);
    if (stream == NULL) {
        return NULL;
    }
    stream->encoder = compress ? ZSTD_createCCtx() : NULL;
    stream->decoder = compress ? NULL : ZSTD_createDCtx();
    if (stream->encoder == NULL && stream->decoder == NULL) {
        mc_free(stream);
        return NULL;
    }
    if (compress) {
        ZSTD_CCtx_setParameter(stream->encoder, ZSTD_c_compressionLevel, (int)settings->level);
        ZSTD_CCtx_setParameter(stream->encoder, ZSTD_c_checksumFlag, settings->checksum);
        ZSTD_CCtx_setParameter(stream->encoder, ZSTD_c_strategy, (int)settings->strategy);
    }
    stream->settings = settings;
    if (compress && settings->dictionary_count > 0) {
        const mc_slice bytes = settings->dictionaries[0];
        stream->failed = ZSTD_isError(ZSTD_CCtx_loadDictionary(stream->encoder, bytes.p, bytes.n));
    }
    return stream;
}

/* The first bytes name the dictionary that they were packed with, if any. */
static void find_dictionary(stream *stream, mc_slice in) {
    const unsigned id = ZSTD_getDictID_fromFrame(in.p, in.n);
    stream->begun = true;
    stream->failed = id != 0;
    for (size_t i = 0; stream->failed && i < stream->settings->dictionary_count; i++) {
        const mc_slice bytes = stream->settings->dictionaries[i];
        if (ZSTD_getDictID_fromDict(bytes.p, bytes.n) == id) {
            stream->failed = ZSTD_isError(ZSTD_DCtx_loadDictionary(stream->decoder, bytes.p, bytes.n));
            return;
        }
    }
}

static mc_status run(void *object, mc_slice in, bool finish, mc_buffer *out) {
    stream *stream = object;
    ZSTD_inBuffer input = {in.p, in.n, 0};
    char piece[4096];
    if (stream->decoder != NULL && !stream->begun && in.n > 0) {
        find_dictionary(stream, in);
    }
    bool more = !stream->failed;
    while (more) {
        ZSTD_outBuffer output = {piece, sizeof piece, 0};
        size_t left = stream->encoder != NULL
                          ? ZSTD_compressStream2(stream->encoder, &output, &input, finish ? ZSTD_e_end : ZSTD_e_flush)
                          : ZSTD_decompressStream(stream->decoder, &output, &input);
        stream->failed = ZSTD_isError(left);
        more = !stream->failed &&
               (stream->encoder != NULL ? left > 0 : input.pos < input.size || output.pos == output.size);
        if (mc_buffer_append(out, mc_slice_of(piece, output.pos)) != MC_OK) {
            return MC_ENOMEM;
        }
    }
    return stream->failed ? MC_EINVAL : MC_OK;
}

const mc_codec mc_codec_zstd = {
    .name = "zstd",
    .prefix = "zstd.",
    .compressor_type = "envoy.extensions.compression.zstd.compressor.v3.Zstd",
    .decompressor_type = "envoy.extensions.compression.zstd.decompressor.v3.Zstd",
    .compile = compile,
    .open = open_stream,
    .run = run,
    .close = close_stream,
};
#else
typedef int mc_no_zstd;
#endif
