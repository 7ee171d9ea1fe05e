#include "proxy/filters/codec.h"

static const mc_codec *const codecs[] = {
    &mc_codec_gzip,
#ifdef MC_WITH_BROTLI
    &mc_codec_brotli,
#endif
#ifdef MC_WITH_ZSTD
    &mc_codec_zstd,
#endif
};

const mc_codec *mc_codec_find(mc_slice type, bool compress) {
    for (size_t i = 0; i < sizeof codecs / sizeof codecs[0]; i++) {
        const char *name = compress ? codecs[i]->compressor_type : codecs[i]->decompressor_type;
        if (mc_slice_eq(type, mc_slice_cstr(name))) {
            return codecs[i];
        }
    }
    return NULL;
}

void mc_codec_give(mc_filter *filter, mc_direction direction, mc_buffer *out, bool end_stream) {
    mc_stream *stream = mc_filter_stream(filter);
    mc_net *net = stream->proxy->net; /* the stream may end in what follows */
    size_t left = out->length;
    for (const mc_chunk *chunk = out->head; chunk != NULL && !stream->finished; chunk = chunk->next) {
        mc_slice piece = mc_slice_of(chunk->data + chunk->begin, chunk->end - chunk->begin);
        left -= piece.n;
        mc_filter_inject(filter, direction == MC_DECODE, piece, end_stream && left == 0);
    }
    if (out->length == 0 && end_stream) {
        mc_filter_inject(filter, direction == MC_DECODE, MC_SLICE_NONE, true);
    }
    mc_net_retire(net, out);
}
