/* Every coding that is built in: what it makes of bytes comes back whole, however they are cut. */
#include "proxy/filters/codec.h"

#include "../../test.h"
#include "base/arena.h"

enum { SIZE = 300000 };

static const char *const names[] = {"gzip.%s.v3.Gzip", "brotli.%s.v3.Brotli", "zstd.%s.v3.Zstd"};
static char text[SIZE];

static const mc_codec *codec(int number, bool compress) {
    char form[96], name[128];
    snprintf(form, sizeof form, "envoy.extensions.compression.%s", names[number]);
    snprintf(name, sizeof name, form, compress ? "compressor" : "decompressor");
    return mc_codec_find(mc_slice_cstr(name), compress);
}

static mc_status pass(const mc_codec *codec, bool compress, mc_slice in, size_t cut, mc_buffer *out) {
    static const mc_value object = {.kind = MC_OBJECT};
    mc_arena arena;
    mc_error error;
    void *settings, *stream;
    mc_arena_init(&arena, NULL);
    mc_status status = codec->compile(&arena, &object, compress, &settings, &error);
    stream = status == MC_OK ? codec->open(settings, compress) : NULL;
    CHECK(stream != NULL);
    for (size_t at = 0; at < in.n && status == MC_OK; at += cut) {
        status = codec->run(stream, mc_slice_until(mc_slice_from(in, at), cut), false, out);
    }
    status = status == MC_OK ? codec->run(stream, MC_SLICE_NONE, true, out) : status;
    codec->close(stream);
    mc_arena_fini(&arena);
    return status;
}

static void fill(void) {
    for (size_t i = 0; i < SIZE; i++) {
        const unsigned draw = (unsigned)(i * 2654435761u) >> 13;
        text[i] = (char)(i < SIZE / 2 ? 'a' + draw % 7 : draw & 255); /* gzip takes no more than a hundredfold */
    }
}

static mc_slice whole(mc_buffer *buffer, char *out) {
    size_t n = 0;
    for (const mc_chunk *chunk = buffer->head; chunk != NULL; chunk = chunk->next) {
        memcpy(out + n, chunk->data + chunk->begin, chunk->end - chunk->begin);
        n += chunk->end - chunk->begin;
    }
    return mc_slice_of(out, n);
}

TEST(what_was_packed_comes_back) {
    static char packed_bytes[2 * SIZE], plain_bytes[2 * SIZE];
    static const size_t cuts[] = {1000, 4096, SIZE};
    fill();
    CHECK(codec(0, true) != NULL); /* gzip is always there */
    for (int number = 0; number < 3; number++) {
        const mc_codec *pack = codec(number, true), *unpack = codec(number, false);
        CHECK((pack == NULL) == (unpack == NULL));
        for (size_t i = 0; pack != NULL && i < sizeof cuts / sizeof cuts[0]; i++) {
            mc_buffer packed, plain;
            mc_buffer_init(&packed, NULL);
            mc_buffer_init(&plain, NULL);
            CHECK_INT(pass(pack, true, mc_slice_of(text, SIZE), cuts[i], &packed), MC_OK);
            CHECK(packed.length < SIZE);
            mc_slice bytes = whole(&packed, packed_bytes);
            CHECK_INT(pass(unpack, false, bytes, cuts[i], &plain), MC_OK);
            CHECK(mc_slice_eq(whole(&plain, plain_bytes), mc_slice_of(text, SIZE)));
            mc_buffer_clear(&packed);
            mc_buffer_clear(&plain);
        }
    }
}

TEST(what_is_not_the_coding_is_told) {
    for (int number = 0; number < 3; number++) {
        const mc_codec *unpack = codec(number, false);
        mc_buffer out;
        if (unpack == NULL) {
            continue;
        }
        mc_buffer_init(&out, NULL);
        CHECK_INT(pass(unpack, false, MC_SLICE("this is neither here nor there"), 7, &out), MC_EINVAL);
        mc_buffer_clear(&out);
    }
}
