#include "proxy/filters/rate_buckets.h"

#include "base/alloc.h"

enum { MIN_FILL_MS = 50 };

/* A bucket that a wildcard made for the values of one request. */
typedef struct made {
    mc_link link;
    mc_rate_bucket bucket;
    mc_slice values; /* each with its length in front; behind this struct */
} made;

mc_status mc_rate_bucket_init(mc_rate_bucket *bucket, const mc_rate_limit_fill *fill, uint64_t now) {
    bucket->max_tokens = fill->max_tokens;
    bucket->rate = (double)fill->tokens_per_fill * 1000 / (double)fill->fill_ms;
    return mc_token_bucket_init(&bucket->tokens, now, (double)fill->max_tokens, (double)fill->tokens_per_fill,
                                fill->fill_ms * 1000000);
}

mc_status mc_rate_bucket_read(mc_filter_compile *c, const mc_value *value, mc_rate_limit_fill *fill,
                              mc_rate_bucket *bucket) {
    fill->tokens_per_fill = 1;
    MC_TRY(mc_value_read_u64(value, "max_tokens", &fill->max_tokens, c->error));
    MC_TRY(mc_value_read_u64(value, "tokens_per_fill", &fill->tokens_per_fill, c->error));
    MC_TRY(mc_value_read_duration_ms(value, "fill_interval", &fill->fill_ms, c->error));
    if (fill->tokens_per_fill == 0) {
        return mc_error_set(c->error, MC_EINVAL, "tokens_per_fill", "must be greater than 0");
    }
    if (fill->max_tokens == 0 && fill->fill_ms < MIN_FILL_MS) { /* holds nothing, however it is filled */
        fill->fill_ms = MIN_FILL_MS;
    }
    if (fill->fill_ms < MIN_FILL_MS) {
        return mc_error_set(c->error, MC_EINVAL, "fill_interval", "must be at least %d ms", MIN_FILL_MS);
    }
    return mc_rate_bucket_init(bucket, fill, 0);
}

/* --- descriptors --------------------------------------------------------------------------------------------------------- */

static bool descriptor_matches(const mc_rate_descriptor *descriptor, const mc_rate_limit_descriptor *request) {
    if (descriptor->count != request->count) {
        return false;
    }
    for (uint32_t i = 0; i < descriptor->count; i++) {
        const mc_rate_limit_entry *entry = &descriptor->entries[i];
        if (!mc_slice_eq(entry->key, request->entries[i].key) ||
            (entry->value.n > 0 && !mc_slice_eq(entry->value, request->entries[i].value))) {
            return false;
        }
    }
    return true;
}

mc_rate_descriptor *mc_rate_descriptors_find(const mc_rate_descriptors *descriptors,
                                             const mc_rate_limit_descriptor *request) {
    mc_rate_descriptor *found = NULL;
    for (uint32_t i = 0; i < descriptors->count; i++) {
        mc_rate_descriptor *descriptor = &descriptors->items[i];
        const bool better = found == NULL || (found->wildcard && !descriptor->wildcard);
        if (better && descriptor_matches(descriptor, request)) {
            found = descriptor;
        }
    }
    return found;
}

/* --- buckets of wildcards ------------------------------------------------------------------------------------------------ */

static size_t values_size(const mc_rate_limit_descriptor *request) {
    size_t n = 0;
    for (uint32_t i = 0; i < request->count; i++) {
        n += sizeof request->entries[i].value.n + request->entries[i].value.n;
    }
    return n;
}

static void write_values(const mc_rate_limit_descriptor *request, char *out) {
    for (uint32_t i = 0; i < request->count; i++) {
        const mc_slice value = request->entries[i].value;
        memcpy(out, &value.n, sizeof value.n);
        memcpy(out + sizeof value.n, value.n == 0 ? "" : value.p, value.n);
        out += sizeof value.n + value.n;
    }
}

static bool has_values(const made *made, const mc_rate_limit_descriptor *request) {
    mc_slice rest = made->values;
    for (uint32_t i = 0; i < request->count; i++) {
        const mc_slice value = request->entries[i].value;
        size_t n;
        memcpy(&n, rest.p, sizeof n);
        rest = mc_slice_from(rest, sizeof n);
        if (!mc_slice_eq(mc_slice_until(rest, n), value)) {
            return false;
        }
        rest = mc_slice_from(rest, n);
    }
    return true;
}

static made *find_made(mc_rate_descriptor *descriptor, const mc_rate_limit_descriptor *request) {
    MC_LIST_EACH(&descriptor->made, node) {
        made *made = MC_CONTAINER(node, struct made, link);
        if (has_values(made, request)) {
            return made;
        }
    }
    return NULL;
}

static made *make(mc_rate_descriptor *descriptor, const mc_rate_limit_descriptor *request, uint64_t now) {
    const size_t n = values_size(request);
    made *made = mc_malloc(sizeof *made + n);
    if (made == NULL || mc_rate_bucket_init(&made->bucket, &descriptor->fill, now) != MC_OK) {
        mc_free(made);
        return NULL;
    }
    write_values(request, (char *)(made + 1));
    made->values = mc_slice_of(made + 1, n);
    made->link = (mc_link){0};
    descriptor->made_count++;
    return made;
}

/* Tokens taken under the descriptor's lock: its buckets come and go. */
static bool take_made(const mc_rate_descriptors *descriptors, mc_rate_descriptor *descriptor,
                      const mc_rate_limit_descriptor *request, uint64_t now, double cost, mc_rate_bucket *seen) {
    bool taken = true;
    pthread_mutex_lock(&descriptor->lock);
    made *made = find_made(descriptor, request);
    if (made == NULL) {
        made = make(descriptor, request, now);
    } else {
        mc_link_unlink(&made->link);
    }
    if (made != NULL) {
        mc_list_push_front(&descriptor->made, &made->link);
        taken = mc_token_bucket_consume(&made->bucket.tokens, now, cost);
        *seen = made->bucket;
    }
    if (descriptor->made_count > descriptors->max_made) {
        struct made *oldest = MC_CONTAINER(descriptor->made.head.prev, struct made, link);
        mc_link_unlink(&oldest->link);
        mc_free(oldest);
        descriptor->made_count--;
    }
    pthread_mutex_unlock(&descriptor->lock);
    return taken;
}

bool mc_rate_descriptor_take(const mc_rate_descriptors *descriptors, mc_rate_descriptor *descriptor,
                             const mc_rate_limit_descriptor *request, uint64_t now, double cost, mc_rate_bucket *seen) {
    *seen = descriptor->bucket;
    if (descriptor->wildcard) {
        return take_made(descriptors, descriptor, request, now, cost, seen);
    }
    const bool taken = mc_token_bucket_consume(&descriptor->bucket.tokens, now, cost);
    *seen = descriptor->bucket;
    return taken;
}

/* --- compiling ------------------------------------------------------------------------------------------------------------- */

static void free_made(void *object) {
    mc_rate_descriptor *descriptor = object;
    for (mc_link *node; (node = mc_list_first(&descriptor->made)) != NULL;) {
        mc_link_unlink(node);
        mc_free(MC_CONTAINER(node, made, link));
    }
    pthread_mutex_destroy(&descriptor->lock);
}

static mc_status read_entries(mc_filter_compile *c, const mc_value *value, mc_rate_descriptor *out) {
    const mc_value *list;
    size_t count;
    MC_TRY(mc_value_read_list(value, "entries", &list, &count, c->error));
    if (count == 0) {
        return mc_error_set(c->error, MC_EINVAL, "entries", "must have at least one entry");
    }
    out->entries = mc_arena_zalloc(c->arena, count * sizeof *out->entries);
    if (out->entries == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        mc_rate_limit_entry *entry = &out->entries[out->count++];
        MC_TRY(
            mc_error_in(mc_read_name(c->arena, &list[i], "key", &entry->key, c->error), c->error, "entries[%zu]", i));
        MC_TRY(mc_error_in(mc_read_text(c->arena, &list[i], "value", &entry->value, c->error), c->error, "entries[%zu]",
                           i));
        out->wildcard = out->wildcard || entry->value.n == 0;
    }
    return MC_OK;
}

static bool same_entries(const mc_rate_descriptor *a, const mc_rate_descriptor *b) {
    bool same = a->count == b->count;
    for (uint32_t i = 0; i < a->count && same; i++) {
        same =
            mc_slice_eq(a->entries[i].key, b->entries[i].key) && mc_slice_eq(a->entries[i].value, b->entries[i].value);
    }
    return same;
}

static mc_status read_descriptor(mc_filter_compile *c, const mc_value *value, mc_rate_descriptor *out) {
    const mc_value *bucket;
    MC_TRY(read_entries(c, value, out));
    MC_TRY(mc_value_read_bool(value, "shadow_mode", &out->shadow, c->error));
    MC_TRY(mc_value_read_object(value, "token_bucket", &bucket, c->error));
    if (bucket == NULL) {
        return mc_error_set(c->error, MC_EINVAL, "token_bucket", "is required");
    }
    MC_TRY(mc_error_in(mc_rate_bucket_read(c, bucket, &out->fill, &out->bucket), c->error, "token_bucket"));
    mc_list_init(&out->made);
    pthread_mutex_init(&out->lock, NULL);
    return mc_arena_defer(c->arena, free_made, out);
}

mc_status mc_rate_descriptors_read(mc_filter_compile *c, const mc_value *value, mc_rate_descriptors *out) {
    const mc_value *list;
    size_t count;
    MC_TRY(mc_value_read_list(value, "descriptors", &list, &count, c->error));
    out->items = mc_arena_zalloc(c->arena, count * sizeof *out->items);
    if (out->items == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        MC_TRY(mc_error_in(read_descriptor(c, &list[i], &out->items[i]), c->error, "descriptors[%zu]", i));
        for (size_t j = 0; j < i; j++) {
            if (same_entries(&out->items[i], &out->items[j])) {
                mc_error_set(c->error, MC_EINVAL, "", "is there already");
                mc_error_under(c->error, "descriptors[%zu]", i);
                return MC_EINVAL;
            }
        }
    }
    out->count = (uint32_t)count;
    return MC_OK;
}
