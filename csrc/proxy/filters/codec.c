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
