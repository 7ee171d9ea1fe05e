#include "lb/subset_config.h"

#include <stdlib.h>

#include "lb/metadata.h"
#include "lb/subset_path.h"

static mc_status oom(mc_error *error) { return mc_error_set(error, MC_ENOMEM, "", "out of memory"); }

static int by_bytes(const void *a, const void *b) { return mc_slice_cmp(*(const mc_slice *)a, *(const mc_slice *)b); }

/* A list of strings, ascending and distinct. */
static mc_status read_keys(const mc_value *object, const char *name, mc_arena *arena, mc_slice **out, size_t *out_count,
                           mc_error *error) {
    const mc_value *items;
    size_t count, n = 0;
    mc_status status = mc_value_read_list(object, name, &items, &count, error);
    if (status != MC_OK) {
        return status;
    }
    mc_slice *keys = mc_arena_alloc(arena, count * sizeof *keys);
    if (keys == NULL) {
        return oom(error);
    }
    for (size_t i = 0; i < count; i++) {
        if (items[i].kind != MC_STRING) {
            return mc_error_set(error, MC_EINVAL, name, "must be a list of strings");
        }
        if (mc_arena_dup(arena, items[i].string, &keys[i]) != MC_OK) {
            return oom(error);
        }
    }
    qsort(keys, count, sizeof *keys, by_bytes);
    for (size_t i = 0; i < count; i++) {
        if (n == 0 || !mc_slice_eq(keys[n - 1], keys[i])) {
            keys[n++] = keys[i];
        }
    }
    *out = keys;
    *out_count = n;
    return MC_OK;
}

static mc_status read_fallback(const mc_value *object, mc_subset_fallback *out, mc_error *error) {
    static const struct {
        mc_slice name;
        mc_subset_fallback fallback;
    } names[] = {{MC_SLICE_INIT("NOT_DEFINED"), MC_SUBSET_NOT_DEFINED},
                 {MC_SLICE_INIT("NO_FALLBACK"), MC_SUBSET_NO_FALLBACK},
                 {MC_SLICE_INIT("ANY_ENDPOINT"), MC_SUBSET_ANY_ENDPOINT},
                 {MC_SLICE_INIT("DEFAULT_SUBSET"), MC_SUBSET_DEFAULT_SUBSET},
                 {MC_SLICE_INIT("KEYS_SUBSET"), MC_SUBSET_KEYS_SUBSET}};
    mc_slice name = MC_SLICE_NONE;
    mc_status status = mc_value_read_string(object, "fallback_policy", &name, error);
    if (status != MC_OK || name.p == NULL) {
        return status;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (mc_slice_eq(name, names[i].name)) {
            *out = names[i].fallback;
            return MC_OK;
        }
    }
    return mc_error_set(error, MC_EINVAL, "fallback_policy", "unknown policy \"%.*s\"", MC_SLICE_ARG(name));
}

static bool has_key(const mc_subset_selector *selector, mc_slice key) {
    for (size_t i = 0; i < selector->key_count; i++) {
        if (mc_slice_eq(selector->keys[i], key)) {
            return true;
        }
    }
    return false;
}

/* SB-5: a strict, non-empty part of the keys, with KEYS_SUBSET only. A selector without keys selects nothing. */
static mc_status check_fallback_keys(const mc_subset_selector *selector, mc_error *error) {
    const char *field = "fallback_keys_subset";
    if (selector->key_count == 0) {
        return MC_OK;
    }
    if (selector->fallback != MC_SUBSET_KEYS_SUBSET) {
        return selector->fallback_key_count == 0
                   ? MC_OK
                   : mc_error_set(error, MC_EINVAL, field, "can be set only with fallback_policy KEYS_SUBSET");
    }
    if (selector->fallback_key_count == 0) {
        return mc_error_set(error, MC_EINVAL, field, "must not be empty with fallback_policy KEYS_SUBSET");
    }
    for (size_t i = 0; i < selector->fallback_key_count; i++) {
        if (!has_key(selector, selector->fallback_keys[i])) {
            return mc_error_set(error, MC_EINVAL, field, "must be some of the selector's keys, \"%.*s\" is not",
                                MC_SLICE_ARG(selector->fallback_keys[i]));
        }
    }
    return selector->fallback_key_count < selector->key_count
               ? MC_OK
               : mc_error_set(error, MC_EINVAL, field, "must not be all of the selector's keys");
}

static mc_status read_selector(const mc_value *value, mc_arena *arena, mc_subset_selector *out, mc_error *error) {
    mc_status status;
    *out = (mc_subset_selector){0};
    if ((status = read_keys(value, "keys", arena, &out->keys, &out->key_count, error)) != MC_OK ||
        (status = read_fallback(value, &out->fallback, error)) != MC_OK ||
        (status = mc_value_read_bool(value, "single_host_per_subset", &out->single_host, error)) != MC_OK ||
        (status = read_keys(value, "fallback_keys_subset", arena, &out->fallback_keys, &out->fallback_key_count,
                            error)) != MC_OK ||
        (status = check_fallback_keys(out, error)) != MC_OK) {
        return status;
    }
    mc_text text;
    mc_text_init(&text);
    for (size_t i = 0; i < out->key_count; i++) {
        mc_subset_path_key(&text, out->keys[i]);
    }
    status = text.failed ? MC_ENOMEM : mc_arena_dup(arena, mc_text_slice(&text), &out->path);
    mc_text_fini(&text);
    return status == MC_OK ? MC_OK : oom(error);
}

static mc_status read_selectors(const mc_value *config, mc_arena *arena, mc_subset_config *out, mc_error *error) {
    const mc_value *items;
    size_t count;
    mc_status status = mc_value_read_list(config, "subset_selectors", &items, &count, error);
    if (status != MC_OK) {
        return status;
    }
    out->selectors = mc_arena_alloc(arena, count * sizeof *out->selectors);
    if (out->selectors == NULL) {
        return oom(error);
    }
    for (size_t i = 0; i < count; i++) {
        mc_subset_selector *selector = &out->selectors[out->selector_count];
        if ((status = read_selector(&items[i], arena, selector, error)) != MC_OK) {
            mc_error_under(error, "subset_selectors[%zu]", i);
            return status;
        }
        out->selector_count += selector->key_count > 0;
    }
    return MC_OK;
}

/* SB-4; stable. */
static void longest_first(mc_subset_config *config) {
    for (size_t i = 1; i < config->selector_count; i++) {
        mc_subset_selector moved = config->selectors[i];
        size_t at = i;
        for (; at > 0 && config->selectors[at - 1].key_count < moved.key_count; at--) {
            config->selectors[at] = config->selectors[at - 1];
        }
        config->selectors[at] = moved;
    }
}

/* SB-6: nobody looks at the fallback of a selector whose keys begin those of an earlier one. */
static mc_status index_fallbacks(mc_subset_config *config) {
    for (size_t i = 0; i < config->selector_count; i++) {
        mc_subset_selector *selector = &config->selectors[i];
        bool covered = false;
        for (size_t k = 0; k < i && !covered; k++) {
            covered = mc_slice_has_prefix(config->selectors[k].path, selector->path);
        }
        if (!covered && mc_map_put(&config->by_keys, selector->path, selector) != MC_OK) {
            return MC_ENOMEM;
        }
    }
    return MC_OK;
}

static mc_status read_all(const mc_value *config, mc_arena *arena, mc_subset_config *out, mc_error *error) {
    static const mc_slice fallback_list = MC_SLICE_INIT("FALLBACK_LIST");
    static const mc_value empty = {.kind = MC_OBJECT};
    const mc_value *default_subset;
    mc_slice metadata_fallback = MC_SLICE_NONE;
    mc_status status;
    out->fallback = MC_SUBSET_NO_FALLBACK;
    if ((status = read_fallback(config, &out->fallback, error)) != MC_OK ||
        (status = mc_value_read_object(config, "default_subset", &default_subset, error)) != MC_OK ||
        (status = mc_value_read_bool(config, "locality_weight_aware", &out->locality_weight_aware, error)) != MC_OK ||
        (status = mc_value_read_bool(config, "scale_locality_weight", &out->scale_locality_weight, error)) != MC_OK ||
        (status = mc_value_read_bool(config, "panic_mode_any", &out->panic_mode_any, error)) != MC_OK ||
        (status = mc_value_read_bool(config, "list_as_any", &out->list_as_any, error)) != MC_OK ||
        (status = mc_value_read_bool(config, "allow_redundant_keys", &out->allow_redundant_keys, error)) != MC_OK ||
        (status = mc_value_read_string(config, "metadata_fallback_policy", &metadata_fallback, error)) != MC_OK ||
        (status = read_selectors(config, arena, out, error)) != MC_OK) {
        return status;
    }
    out->fallback_list = mc_slice_eq(metadata_fallback, fallback_list);
    mc_value *copy = mc_arena_alloc(arena, sizeof *copy);
    if (copy == NULL || mc_lb_value_copy(arena, default_subset == NULL ? &empty : default_subset, copy) != MC_OK) {
        return oom(error);
    }
    out->default_subset = copy;
    if (out->allow_redundant_keys) {
        longest_first(out);
    }
    return index_fallbacks(out) == MC_OK ? MC_OK : oom(error);
}

/* SB-1: selectors without keys are dropped, and yet they make the subsets active. */
static bool has_selectors(const mc_value *config) {
    const mc_value *selectors = mc_value_get(config, "subset_selectors");
    return selectors != NULL && selectors->kind == MC_LIST && selectors->count > 0;
}

mc_status mc_subset_config_read(const mc_value *config, bool always, mc_arena *arena, const mc_subset_config **out,
                                mc_error *error) {
    mc_subset_config *subsets = mc_arena_zalloc(arena, sizeof *subsets);
    if (subsets == NULL) {
        return oom(error);
    }
    mc_map_init(&subsets->by_keys);
    mc_status status = read_all(config, arena, subsets, error);
    if (status != MC_OK || !(always || has_selectors(config))) {
        mc_subset_config_fini(subsets);
        return status;
    }
    *out = subsets;
    return MC_OK;
}

void mc_subset_config_fini(mc_subset_config *config) { mc_map_fini(&config->by_keys); }
