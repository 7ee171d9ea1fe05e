/* Every coding that is built in: what it makes of bytes comes back whole, however they are cut. */
#include "proxy/filters/codec.h"

#include "../../test.h"
#include "base/arena.h"
#include "base/base64.h"
#ifdef MC_WITH_ZSTD
#include <zdict.h>
#endif

enum { SIZE = 300000 };

static const char *const names[] = {"gzip.%s.v3.Gzip", "brotli.%s.v3.Brotli", "zstd.%s.v3.Zstd"};
static char text[SIZE];

static const mc_codec *codec(int number, bool compress) {
    char form[96], name[128];
    snprintf(form, sizeof form, "envoy.extensions.compression.%s", names[number]);
    snprintf(name, sizeof name, form, compress ? "compressor" : "decompressor");
    return mc_codec_find(mc_slice_cstr(name), compress);
}

static mc_status pass_as(const mc_codec *codec, bool compress, const mc_value *config, mc_slice in, size_t cut,
                         mc_buffer *out) {
    mc_arena arena;
    mc_error error;
    void *settings, *stream;
    mc_arena_init(&arena, NULL);
    mc_status status = codec->compile(&arena, config, compress, &settings, &error);
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

static mc_status pass(const mc_codec *codec, bool compress, mc_slice in, size_t cut, mc_buffer *out) {
    static const mc_value object = {.kind = MC_OBJECT};
    return pass_as(codec, compress, &object, in, cut, out);
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

#ifdef MC_WITH_ZSTD
enum { SAMPLES = 2000, DICTIONARY = 4096 };

static size_t say(unsigned n, char *out, size_t room) {
    return (size_t)snprintf(out, room, "{\"id\":%u,\"name\":\"visitor-%u\",\"city\":\"%c%c\",\"joined\":true}",
                            n * 7919, n, (int)('a' + n % 26), (int)('a' + n / 26 % 26));
}

/* A configuration with a dictionary made of what `say` says. */
static const mc_value *with_dictionary(mc_arena *arena, const char *form) {
    static char samples[SAMPLES * 96], json[2 * DICTIONARY + 64];
    static size_t sizes[SAMPLES];
    char dictionary[DICTIONARY];
    const mc_value *config;
    mc_slice bytes;
    mc_error error;
    size_t n = 0;
    for (unsigned i = 0; i < SAMPLES; i++) {
        n += sizes[i] = say(i, samples + n, 96);
    }
    size_t made = ZDICT_trainFromBuffer(dictionary, sizeof dictionary, samples, sizes, SAMPLES);
    CHECK(!ZDICT_isError(made));
    CHECK_INT(mc_base64_encode(arena, mc_slice_of(dictionary, made), true, &bytes), MC_OK);
    snprintf(json, sizeof json, form, MC_SLICE_ARG(bytes));
    CHECK_INT(mc_value_parse(arena, mc_slice_cstr(json), &config, &error), MC_OK);
    return config;
}

TEST(zstd_packs_with_a_dictionary) {
    char message[96], packed_bytes[256], plain_bytes[256];
    const mc_codec *pack = codec(2, true), *unpack = codec(2, false);
    mc_arena arena;
    mc_buffer packed, alone, plain, none;
    mc_arena_init(&arena, NULL);
    const mc_value *to_pack = with_dictionary(&arena, "{\"dictionary\":{\"inline_bytes\":\"%.*s\"}}");
    const mc_value *to_unpack =
        with_dictionary(&arena, "{\"dictionaries\":[{\"inline_string\":\"another\"},{\"inline_bytes\":\"%.*s\"}]}");
    const mc_slice said = mc_slice_of(message, say(77777, message, sizeof message));
    mc_buffer_init(&packed, NULL);
    mc_buffer_init(&alone, NULL);
    mc_buffer_init(&plain, NULL);
    mc_buffer_init(&none, NULL);
    CHECK_INT(pass_as(pack, true, to_pack, said, said.n, &packed), MC_OK);
    CHECK_INT(pass(pack, true, said, said.n, &alone), MC_OK);
    CHECK(packed.length < alone.length);
    const mc_slice bytes = whole(&packed, packed_bytes);
    CHECK_INT(pass_as(unpack, false, to_unpack, bytes, bytes.n, &plain), MC_OK);
    CHECK(mc_slice_eq(whole(&plain, plain_bytes), said));
    CHECK_INT(pass(unpack, false, bytes, bytes.n, &none), MC_EINVAL); /* it has not this dictionary */
    mc_buffer_clear(&plain);
    CHECK_INT(pass_as(unpack, false, to_unpack, whole(&alone, packed_bytes), alone.length, &plain), MC_OK);
    CHECK(mc_slice_eq(whole(&plain, plain_bytes), said));
    mc_buffer_clear(&packed);
    mc_buffer_clear(&alone);
    mc_buffer_clear(&plain);
    mc_buffer_clear(&none);
    mc_arena_fini(&arena);
}
#endif
