/* Balancing over subsets (rules SB-3 to SB-8): a child balancer for each subset, found by what the request asks for. */
#include <stdlib.h>

#include "base/alloc.h"
#include "lb/balancer.h"
#include "lb/subset_path.h"

/* --- children --------------------------------------------------------------------------------------------------------------- */

static mc_lb *child_of(const mc_lb *lb, const mc_subsets *old, mc_slice path) {
    const mc_subset *before = old == NULL ? NULL : mc_subsets_find(old, path);
    return before == NULL ? NULL : lb->children[before - old->items];
}

static mc_lb *child_new(mc_lb *lb, const mc_subset *subset, mc_lb_plan *plan) {
    mc_hosts *hosts = subset->hosts;
    mc_lb *child = lb->seeded ? mc_lb_new_seeded(&hosts->config, hosts, lb->random,
                                                 mc_lb_child_seed(lb->seed, subset->path), plan, lb->now_ms, &lb->stats)
                              : mc_lb_new(&hosts->config, hosts, lb->random, lb->now_ms, &lb->stats);
    if (child != NULL && lb->local != NULL && mc_lb_set_local(child, lb->local) != MC_OK) {
        mc_lb_free(child);
        child = NULL;
    }
    return child;
}

mc_status mc_lb_subsets_update(mc_lb *lb, mc_hosts *hosts) {
    const mc_subsets *subsets = hosts->subsets, *old = lb->hosts == NULL ? NULL : lb->hosts->subsets;
    mc_lb **children = mc_calloc(subsets->count, sizeof *children);
    bool *made = mc_calloc(subsets->count, sizeof *made);
    mc_status status = children == NULL || made == NULL ? MC_ENOMEM : MC_OK;
    for (size_t i = 0; status == MC_OK && i < subsets->count; i++) {
        mc_hosts *of = subsets->items[i].hosts;
        mc_lb *child = of == NULL ? NULL : child_of(lb, old, subsets->items[i].path);
        mc_lb_plan *plan = mc_lb_plan_child(lb->plan, i);
        if (of == NULL) {
            continue;
        }
        made[i] = child == NULL;
        if (child == NULL) {
            child = child_new(lb, &subsets->items[i], plan);
            status = child == NULL ? MC_ENOMEM : MC_OK;
        } else if (child->hosts != of) { /* what did not change is the same object */
            status = mc_lb_update_planned(child, of, plan, lb->now_ms);
        }
        children[i] = child;
    }
    if (status != MC_OK) {
        for (size_t i = 0; children != NULL && made != NULL && i < subsets->count; i++) {
            mc_lb_free(made[i] ? children[i] : NULL);
        }
        mc_free(children);
    } else {
        for (size_t i = 0; old != NULL && i < old->count; i++) { /* purged */
            const mc_subset *now = mc_subsets_find(subsets, old->items[i].path);
            if (now == NULL || children[now - subsets->items] != lb->children[i]) {
                mc_lb_free(lb->children[i]);
            }
        }
        mc_free(lb->children);
        lb->children = children;
    }
    mc_free(made);
    return status;
}

void mc_lb_subsets_fini(mc_lb *lb) {
    for (size_t i = 0; lb->children != NULL && i < lb->hosts->subsets->count; i++) {
        mc_lb_free(lb->children[i]);
    }
    mc_free(lb->children);
}

/* --- criteria ---------------------------------------------------------------------------------------------------------------- */

static int by_key(const void *a, const void *b) {
    return mc_slice_cmp(((const mc_subset_criterion *)a)->key, ((const mc_subset_criterion *)b)->key);
}

static size_t merge(mc_subset_criterion *items, size_t count, const mc_value *object) {
    for (size_t i = 0; i < object->count; i++) {
        size_t at = 0;
        while (at < count && !mc_slice_eq(items[at].key, object->names[i])) {
            at++;
        }
        items[at] = (mc_subset_criterion){object->names[i], &object->items[i]};
        count += at == count;
    }
    return count;
}

static bool is_object(const mc_value *value) { return value != NULL && value->kind == MC_OBJECT; }

mc_status mc_subset_criteria_init(mc_subset_criteria *criteria, mc_arena *arena, const mc_value *const *objects,
                                  size_t count) {
    size_t room = 0, n = 0;
    for (size_t i = 0; i < count; i++) {
        room += is_object(objects[i]) ? objects[i]->count : 0;
    }
    mc_subset_criterion *items = mc_arena_alloc(arena, room * sizeof *items);
    if (items == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        n = is_object(objects[i]) ? merge(items, n, objects[i]) : n;
    }
    qsort(items, n, sizeof *items, by_key);
    *criteria = (mc_subset_criteria){items, n};
    return MC_OK;
}

static const mc_value *value_of(const mc_subset_criteria *criteria, mc_slice key) {
    for (size_t i = 0; i < criteria->count; i++) {
        if (mc_slice_eq(criteria->items[i].key, key)) {
            return criteria->items[i].value;
        }
    }
    return NULL;
}

/* What of the criteria has one of the keys. The items are the caller's to free; NULL: out of memory. */
static mc_subset_criterion *only(const mc_subset_criteria *criteria, const mc_slice *keys, size_t key_count,
                                 mc_subset_criteria *out) {
    mc_subset_criterion *items = mc_malloc(criteria->count * sizeof *items);
    size_t n = 0;
    for (size_t i = 0; items != NULL && i < criteria->count; i++) {
        for (size_t k = 0; k < key_count; k++) {
            if (mc_slice_eq(criteria->items[i].key, keys[k])) {
                items[n++] = criteria->items[i];
                break;
            }
        }
    }
    *out = (mc_subset_criteria){items, n};
    return items;
}

/* --- lookup ------------------------------------------------------------------------------------------------------------------ */

static mc_host *choose_in(mc_lb *lb, const mc_subset *subset, const mc_lb_request *request) {
    return subset->host != NULL ? subset->host
                                : mc_lb_choose_plain(lb->children[subset - lb->hosts->subsets->items], request);
}

static mc_host *choose_fixed(mc_lb *lb, mc_slice path, const mc_lb_request *request) {
    const mc_subset *subset = mc_subsets_find(lb->hosts->subsets, path);
    return subset == NULL ? NULL : choose_in(lb, subset, request);
}

/* SB-7. */
static mc_host *fall_back(mc_lb *lb, const mc_lb_request *request) {
    const mc_subset_config *config = lb->config.subsets;
    if (config->fallback == MC_SUBSET_NO_FALLBACK) {
        return NULL;
    }
    const bool any = config->fallback == MC_SUBSET_ANY_ENDPOINT;
    mc_host *host = choose_fixed(lb, any ? MC_SUBSET_ANY : MC_SUBSET_DEFAULT, request);
    if (host != NULL) {
        MC_LB_COUNT(lb, lb_subsets_fallback);
        return host;
    }
    host = config->panic_mode_any ? choose_fixed(lb, MC_SUBSET_ANY, request) : NULL;
    if (host != NULL) {
        MC_LB_COUNT(lb, lb_subsets_fallback_panic);
    }
    return host;
}

/* The path of the criteria's keys and values, or of their keys alone; in the balancer's scratch. Without memory the path that
 * nothing has. */
static mc_slice path_of(mc_lb *lb, const mc_subset_criteria *criteria, bool values) {
    lb->path.n = 0;
    lb->path.failed = false;
    for (size_t i = 0; i < criteria->count; i++) {
        if (values) {
            mc_subset_path_value(&lb->path, criteria->items[i].key, criteria->items[i].value);
        } else {
            mc_subset_path_key(&lb->path, criteria->items[i].key);
        }
    }
    return lb->path.failed ? MC_SLICE_NONE : mc_text_slice(&lb->path);
}

static mc_host *choose_by(mc_lb *lb, const mc_subset_criteria *criteria, const mc_lb_request *request);

/* SB-5. */
static mc_host *selector_fallback(mc_lb *lb, const mc_subset_selector *selector, const mc_subset_criteria *criteria,
                                  const mc_lb_request *request) {
    mc_subset_criteria reduced;
    switch (selector->fallback) {
    case MC_SUBSET_ANY_ENDPOINT: return choose_fixed(lb, MC_SUBSET_ANY, request);
    case MC_SUBSET_DEFAULT_SUBSET: return choose_fixed(lb, MC_SUBSET_DEFAULT, request);
    case MC_SUBSET_NOT_DEFINED:
    case MC_SUBSET_NO_FALLBACK: return NULL;
    case MC_SUBSET_KEYS_SUBSET: break;
    }
    mc_subset_criterion *items = only(criteria, selector->fallback_keys, selector->fallback_key_count, &reduced);
    mc_host *host = items == NULL ? NULL : choose_by(lb, &reduced, request);
    mc_free(items);
    return host;
}

/* SB-3, SB-5, SB-7. */
static mc_host *choose_reduced(mc_lb *lb, const mc_subset_criteria *criteria, const mc_lb_request *request) {
    const mc_subset *subset = mc_subsets_find(lb->hosts->subsets, path_of(lb, criteria, true));
    if (subset != NULL) {
        MC_LB_COUNT(lb, lb_subsets_selected);
        return choose_in(lb, subset, request);
    }
    const mc_subset_selector *selector = mc_map_get(&lb->config.subsets->by_keys, path_of(lb, criteria, false));
    if (selector != NULL && selector->fallback != MC_SUBSET_NOT_DEFINED) {
        return selector_fallback(lb, selector, criteria, request);
    }
    return fall_back(lb, request);
}

/* SB-4: the longest selector whose keys are all asked for; NULL: none. */
static const mc_subset_selector *covering(const mc_subset_config *config, const mc_subset_criteria *criteria) {
    for (size_t i = 0; i < config->selector_count; i++) {
        const mc_subset_selector *selector = &config->selectors[i];
        size_t found = 0;
        while (found < selector->key_count && value_of(criteria, selector->keys[found]) != NULL) {
            found++;
        }
        if (found == selector->key_count) {
            return selector;
        }
    }
    return NULL;
}

static mc_host *choose_by(mc_lb *lb, const mc_subset_criteria *criteria, const mc_lb_request *request) {
    const mc_subset_config *config = lb->config.subsets;
    const mc_subset_selector *selector = config->allow_redundant_keys ? covering(config, criteria) : NULL;
    mc_subset_criteria reduced;
    if (selector == NULL) {
        return choose_reduced(lb, criteria, request);
    }
    mc_subset_criterion *items = only(criteria, selector->keys, selector->key_count, &reduced);
    mc_host *host = items == NULL ? NULL : choose_reduced(lb, &reduced, request);
    mc_free(items);
    return host;
}

/* SB-8: each struct of the list in turn over the rest of the criteria. */
static mc_host *choose_by_list(mc_lb *lb, const mc_subset_criteria *rest, const mc_value *list,
                               const mc_lb_request *request) {
    mc_host *host = NULL;
    if (list->kind != MC_LIST || list->count == 0) {
        return choose_by(lb, rest, request);
    }
    for (size_t i = 0; host == NULL && i < list->count; i++) {
        const mc_value *over = &list->items[i];
        const size_t more = is_object(over) ? over->count : 0;
        mc_subset_criterion *items = mc_malloc((rest->count + more) * sizeof *items);
        if (items == NULL) {
            return NULL;
        }
        if (rest->count > 0) {
            memcpy(items, rest->items, rest->count * sizeof *items);
        }
        const size_t n = more > 0 ? merge(items, rest->count, over) : rest->count;
        qsort(items, n, sizeof *items, by_key);
        host = choose_by(lb, &(mc_subset_criteria){items, n}, request);
        mc_free(items);
    }
    return host;
}

mc_host *mc_lb_subsets_choose(mc_lb *lb, const mc_lb_request *request) {
    static const mc_slice name = MC_SLICE_INIT("fallback_list");
    const mc_subset_criteria *criteria = request->criteria;
    if (criteria == NULL) {
        return fall_back(lb, request);
    }
    const mc_value *list = lb->config.subsets->fallback_list ? value_of(criteria, name) : NULL;
    if (list == NULL) {
        return choose_by(lb, criteria, request);
    }
    mc_subset_criterion *items = mc_malloc(criteria->count * sizeof *items);
    size_t n = 0;
    for (size_t i = 0; items != NULL && i < criteria->count; i++) {
        if (!mc_slice_eq(criteria->items[i].key, name)) {
            items[n++] = criteria->items[i];
        }
    }
    mc_host *host = items == NULL ? NULL : choose_by_list(lb, &(mc_subset_criteria){items, n}, list, request);
    mc_free(items);
    return host;
}
