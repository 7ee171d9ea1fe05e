#include "lb/subsets.h"

#include "base/alloc.h"
#include "lb/hosts.h"
#include "lb/subset_path.h"

/* A subset under construction. */
typedef struct draft {
    mc_slice path;
    mc_host_index *members; /* ascending */
    size_t count, cap;
    bool single;
} draft;

typedef struct builder {
    const mc_hosts *hosts;
    const mc_subset_config *config;
    mc_subsets *out;
    draft *drafts;
    size_t count, cap;
    mc_map by_path; /* path -> index + 1 */
    mc_text path;   /* of the host at hand */
    mc_host_index at;
    const mc_hosts *previous; /* may be NULL */
    bool updated;             /* the priority at hand is not as it was */
    size_t duplicates;        /* SB-9: of the last priority that was updated */
} builder;

static mc_status find_draft(builder *b, mc_slice path, bool single, draft **out) {
    uintptr_t known = (uintptr_t)mc_map_get(&b->by_path, path);
    if (known == 0) {
        draft fresh = {.single = single};
        if (mc_grow(&b->drafts, &b->cap, b->count + 1, sizeof *b->drafts) != MC_OK ||
            mc_arena_dup(&b->out->arena, path, &fresh.path) != MC_OK ||
            mc_map_put(&b->by_path, fresh.path, (void *)(uintptr_t)(b->count + 1)) != MC_OK) { /* NOLINT */
            return MC_ENOMEM;
        }
        b->drafts[b->count++] = fresh;
        known = b->count;
    }
    *out = &b->drafts[known - 1];
    return MC_OK;
}

static mc_status append(builder *b, draft *d) {
    if (d->count > 0) {
        const mc_host_index last = d->members[d->count - 1];
        if (d->single && last.priority == b->at.priority) { /* the same host too: by another selector, or a list */
            b->duplicates += b->updated;
            return MC_OK;
        }
        if (last.priority == b->at.priority && last.index == b->at.index) {
            return MC_OK; /* a list that names a value twice */
        }
    }
    mc_status status = mc_grow(&d->members, &d->cap, d->count + 1, sizeof *d->members);
    if (status == MC_OK) {
        d->members[d->count++] = b->at;
    }
    return status;
}

/* SB-2: the host, which has all keys, goes into each subset that the selector's keys, from `key` on, lead to. */
static mc_status follow(builder *b, const mc_subset_selector *selector, size_t key, const mc_value *metadata) {
    if (key == selector->key_count) {
        draft *d;
        mc_status status =
            b->path.failed ? MC_ENOMEM : find_draft(b, mc_text_slice(&b->path), selector->single_host, &d);
        return status == MC_OK ? append(b, d) : status;
    }
    const mc_value *value = mc_lb_field(metadata, selector->keys[key]);
    const bool any = b->config->list_as_any && value->kind == MC_LIST;
    const size_t before = b->path.n;
    mc_status status = MC_OK;
    for (size_t i = 0; status == MC_OK && i < (any ? value->count : 1); i++) {
        mc_subset_path_value(&b->path, selector->keys[key], any ? &value->items[i] : value);
        status = follow(b, selector, key + 1, metadata);
        b->path.n = before;
    }
    return status;
}

/* Of the keys only those after the last one whose value is a list of nothing lead anywhere, if values are to be any of a list: so
 * does Envoy. The number of keys: nowhere. */
static size_t first_key(const builder *b, const mc_subset_selector *selector, const mc_value *metadata) {
    size_t first = 0;
    for (size_t i = 0; i < selector->key_count; i++) {
        const mc_value *value = mc_lb_field(metadata, selector->keys[i]);
        if (value == NULL) {
            return selector->key_count;
        }
        first = b->config->list_as_any && value->kind == MC_LIST && value->count == 0 ? i + 1 : first;
    }
    return first;
}

static mc_status add_host(builder *b, const mc_host *host) {
    const mc_lb_metadata *metadata = host->metadata;
    mc_status status = MC_OK;
    for (size_t i = 0; status == MC_OK && metadata != NULL && i < b->config->selector_count; i++) {
        const mc_subset_selector *selector = &b->config->selectors[i];
        const size_t first = first_key(b, selector, &metadata->object);
        b->path.n = 0;
        status = first == selector->key_count ? MC_OK : follow(b, selector, first, &metadata->object);
    }
    return status;
}

/* Calls for every host, priority by priority. */
static mc_status each_host(builder *b, mc_status (*call)(builder *b, const mc_host *host)) {
    for (size_t p = 0; p < b->hosts->priority_count; p++) {
        const mc_host_list all = b->hosts->sets[p]->all;
        b->updated = b->previous == NULL || p >= b->previous->priority_count
                         ? all.count > 0
                         : b->previous->sets[p] != b->hosts->sets[p];
        b->duplicates = b->updated ? 0 : b->duplicates;
        for (size_t i = 0; i < all.count; i++) {
            b->at = (mc_host_index){(uint32_t)p, (uint32_t)i};
            mc_status status = call(b, all.items[i]);
            if (status != MC_OK) {
                return status;
            }
        }
    }
    return MC_OK;
}

static mc_status add_any(builder *b, const mc_host *host) {
    draft *d;
    mc_status status = find_draft(b, MC_SUBSET_ANY, false, &d);
    return status == MC_OK ? append(b, d) : status;
}

static mc_status add_default(builder *b, const mc_host *host) {
    draft *d;
    mc_status status = find_draft(b, MC_SUBSET_DEFAULT, false, &d);
    if (status == MC_OK && mc_lb_labels_match(b->config->default_subset, host->metadata, b->config->list_as_any)) {
        status = append(b, d);
    }
    return status;
}

static mc_status add_fallback(builder *b, mc_subset_fallback fallback) {
    const bool any = fallback == MC_SUBSET_ANY_ENDPOINT;
    draft *d;
    if ((!any && fallback != MC_SUBSET_DEFAULT_SUBSET) ||
        mc_map_get(&b->by_path, any ? MC_SUBSET_ANY : MC_SUBSET_DEFAULT) != NULL) {
        return MC_OK;
    }
    mc_status status = find_draft(b, any ? MC_SUBSET_ANY : MC_SUBSET_DEFAULT, false, &d);
    return status == MC_OK ? each_host(b, any ? add_any : add_default) : status;
}

static mc_status draft_all(builder *b) {
    const mc_subset_config *config = b->config;
    mc_status status = add_fallback(b, config->fallback);
    if (status == MC_OK && config->panic_mode_any) {
        status = add_fallback(b, MC_SUBSET_ANY_ENDPOINT);
    }
    for (size_t i = 0; status == MC_OK && i < config->selector_count; i++) {
        const mc_subset_selector *selector = &config->selectors[i];
        if (mc_map_get(&config->by_keys, selector->path) == selector) {
            status = add_fallback(b, selector->fallback);
        }
    }
    b->out->fixed = b->count;
    return status == MC_OK ? each_host(b, add_host) : status;
}

static mc_part_weights part_weights(const mc_hosts *hosts) {
    const mc_subset_config *config = hosts->config.subsets;
    return !config->locality_weight_aware  ? MC_PART_WEIGHTS_NONE
           : config->scale_locality_weight ? MC_PART_WEIGHTS_SCALED
                                           : MC_PART_WEIGHTS_SAME;
}

static mc_status finish(builder *b, const mc_hosts *previous) {
    const mc_subsets *old = previous == NULL ? NULL : previous->subsets;
    const mc_part_weights weights = part_weights(b->hosts);
    mc_subsets *out = b->out;
    out->items = mc_arena_zalloc(&out->arena, b->count * sizeof *out->items);
    if (out->items == NULL) {
        return MC_ENOMEM;
    }
    size_t known = 0;
    for (size_t i = 0; i < b->count; i++) {
        const draft *d = &b->drafts[i];
        const mc_subset *before = old == NULL ? NULL : mc_subsets_find(old, d->path);
        mc_subset *subset = &out->items[out->count++];
        mc_status status = MC_OK;
        subset->path = d->path;
        known += i >= out->fixed && before != NULL;
        if (d->single) {
            subset->host = b->hosts->sets[d->members[0].priority]->all.items[d->members[0].index];
        } else {
            status = mc_hosts_part(b->hosts, d->members, d->count, weights, before == NULL ? NULL : before->hosts,
                                   &subset->hosts);
        }
        if (status != MC_OK || (status = mc_map_put(&out->by_path, d->path, subset)) != MC_OK) {
            return status;
        }
    }
    out->created = out->count - out->fixed - known;
    out->removed = old == NULL ? 0 : old->count - old->fixed - known;
    out->duplicates = b->duplicates;
    return MC_OK;
}

mc_status mc_subsets_new(const mc_hosts *hosts, const mc_hosts *previous, mc_subsets **out) {
    builder b = {.hosts = hosts,
                 .previous = previous,
                 .duplicates = previous == NULL || previous->subsets == NULL ? 0 : previous->subsets->duplicates,
                 .config = hosts->config.subsets,
                 .out = mc_calloc(1, sizeof *b.out)};
    if (b.out == NULL) {
        return MC_ENOMEM;
    }
    mc_arena_init(&b.out->arena, NULL);
    mc_map_init(&b.out->by_path);
    mc_map_init(&b.by_path);
    mc_text_init(&b.path);
    mc_status status = draft_all(&b);
    if (status == MC_OK) {
        status = finish(&b, previous);
    }
    for (size_t i = 0; i < b.count; i++) {
        mc_free(b.drafts[i].members);
    }
    mc_free(b.drafts);
    mc_map_fini(&b.by_path);
    mc_text_fini(&b.path);
    if (status != MC_OK) {
        mc_subsets_free(b.out);
        return status;
    }
    *out = b.out;
    return MC_OK;
}

void mc_subsets_free(mc_subsets *subsets) {
    if (subsets != NULL) {
        for (size_t i = 0; i < subsets->count; i++) {
            mc_hosts_unref(subsets->items[i].hosts);
        }
        mc_map_fini(&subsets->by_path);
        mc_arena_fini(&subsets->arena);
        mc_free(subsets);
    }
}
