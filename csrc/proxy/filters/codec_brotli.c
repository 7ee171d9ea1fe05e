/* br by the brotli libraries, where the build has them. */
#ifdef MC_WITH_BROTLI
#include <brotli/decode.h>
#include <brotli/encode.h>

#include "base/alloc.h"
#include "base/read.h"
#include "proxy/filters/codec.h"

typedef struct settings {
    uint32_t quality, window, block, mode;
    bool plain_context, fixed_ring;
} settings;

typedef struct stream {
    BrotliEncoderState *encoder;
    BrotliDecoderState *decoder;
    bool failed;
} stream;

static mc_status compile(mc_arena *arena, const mc_value *config, bool compress, void **out, mc_error *error) {
    static const mc_name_value modes[] = {{"DEFAULT", BROTLI_MODE_GENERIC},
                                          {"GENERIC", BROTLI_MODE_GENERIC},
                                          {"TEXT", BROTLI_MODE_TEXT},
                                          {"FONT", BROTLI_MODE_FONT},
                                          {NULL, 0}};
    settings *settings = mc_arena_zalloc(arena, sizeof *settings);
    uint64_t mode = BROTLI_MODE_GENERIC;
    *out = settings;
    if (settings == NULL) {
        return MC_ENOMEM;
    }
    settings->quality = 3;
    settings->window = 18;
    settings->block = 24;
    MC_TRY(mc_value_read_u32(config, "quality", &settings->quality, error));
    MC_TRY(mc_value_read_u32(config, "window_bits", &settings->window, error));
    MC_TRY(mc_value_read_u32(config, "input_block_bits", &settings->block, error));
    MC_TRY(mc_read_enum(config, "encoder_mode", modes, &mode, error));
    MC_TRY(mc_value_read_bool(config, "disable_literal_context_modeling", &settings->plain_context, error));
    MC_TRY(mc_value_read_bool(config, "disable_ring_buffer_reallocation", &settings->fixed_ring, error));
    settings->mode = (uint32_t)mode;
    return MC_OK;
}

static void *allocate(void *opaque, size_t size) { return mc_malloc(size); }
static void release(void *opaque, void *memory) { mc_free(memory); }

static void close_stream(void *object) {
    stream *stream = object;
    if (stream->encoder != NULL) {
        BrotliEncoderDestroyInstance(stream->encoder);
    }
    if (stream->decoder != NULL) {
        BrotliDecoderDestroyInstance(stream->decoder);
    }
    mc_free(stream);
}

static void *open_stream(const void *config, bool compress) {
    const settings *settings = config;
    stream *stream = mc_calloc(1, sizeof *stream);
    if (stream == NULL) {
        return NULL;
    }
    if (compress) {
        stream->encoder = BrotliEncoderCreateInstance(allocate, release, NULL);
    } else {
        stream->decoder = BrotliDecoderCreateInstance(allocate, release, NULL);
    }
    if (stream->encoder == NULL && stream->decoder == NULL) {
        mc_free(stream);
        return NULL;
    }
    if (compress) {
        BrotliEncoderSetParameter(stream->encoder, BROTLI_PARAM_QUALITY, settings->quality);
        BrotliEncoderSetParameter(stream->encoder, BROTLI_PARAM_LGWIN, settings->window);
        BrotliEncoderSetParameter(stream->encoder, BROTLI_PARAM_LGBLOCK, settings->block);
        BrotliEncoderSetParameter(stream->encoder, BROTLI_PARAM_MODE, settings->mode);
        BrotliEncoderSetParameter(stream->encoder, BROTLI_PARAM_DISABLE_LITERAL_CONTEXT_MODELING,
                                  settings->plain_context);
    } else {
        BrotliDecoderSetParameter(stream->decoder, BROTLI_DECODER_PARAM_DISABLE_RING_BUFFER_REALLOCATION,
                                  settings->fixed_ring);
    }
    return stream;
}

static mc_status run(void *object, mc_slice in, bool finish, mc_buffer *out) {
    stream *stream = object;
    const uint8_t *next_in = (const uint8_t *)in.p;
    size_t left = in.n;
    uint8_t piece[4096];
    bool more = !stream->failed;
    while (more) {
        uint8_t *next_out = piece;
        size_t room = sizeof piece;
        if (stream->encoder != NULL) {
            if (!BrotliEncoderCompressStream(stream->encoder, finish ? BROTLI_OPERATION_FINISH : BROTLI_OPERATION_FLUSH,
                                             &left, &next_in, &room, &next_out, NULL)) {
                return MC_ENOMEM;
            }
            more = left > 0 || BrotliEncoderHasMoreOutput(stream->encoder);
        } else {
            BrotliDecoderResult result =
                BrotliDecoderDecompressStream(stream->decoder, &left, &next_in, &room, &next_out, NULL);
            stream->failed = result == BROTLI_DECODER_RESULT_ERROR;
            more = result == BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT;
        }
        if (mc_buffer_append(out, mc_slice_of(piece, sizeof piece - room)) != MC_OK) {
            return MC_ENOMEM;
        }
    }
    return stream->failed ? MC_EINVAL : MC_OK;
}

const mc_codec mc_codec_brotli = {
    .name = "br",
    .prefix = "brotli.",
    .compressor_type = "envoy.extensions.compression.brotli.compressor.v3.Brotli",
    .decompressor_type = "envoy.extensions.compression.brotli.decompressor.v3.Brotli",
    .compile = compile,
    .open = open_stream,
    .run = run,
    .close = close_stream,
};
#else
typedef int mc_no_brotli;
#endif
