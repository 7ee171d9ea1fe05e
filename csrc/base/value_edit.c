#include "base/value_edit.h"

const mc_value *mc_value_find(const mc_value *object, mc_slice name) {
    if (object == NULL || object->kind != MC_OBJECT) {
        return NULL;
    }
    for (size_t i = 0; i < object->count; i++) {
        if (mc_slice_eq(object->names[i], name)) {
            return &object->items[i];
        }
    }
    return NULL;
}

/* A container of `count` members, its arrays the caller's to fill. */
static mc_status make(mc_arena *arena, mc_value_kind kind, size_t count, mc_value *out, mc_value **items,
                      mc_slice **names) {
    *items = mc_arena_alloc(arena, count * sizeof **items);
    *names = kind == MC_OBJECT ? mc_arena_alloc(arena, count * sizeof **names) : NULL;
    if (*items == NULL || (kind == MC_OBJECT && *names == NULL)) {
        return MC_ENOMEM;
    }
    *out = (mc_value){.kind = kind, .items = *items, .names = *names, .count = count};
    return MC_OK;
}

/* A copy of the object with room for `extra` members behind its own. */
static mc_status widen(mc_arena *arena, const mc_value *object, size_t extra, mc_value *out, mc_value **items,
                       mc_slice **names) {
    const size_t count = object != NULL && object->kind == MC_OBJECT ? object->count : 0;
    mc_status status = make(arena, MC_OBJECT, count + extra, out, items, names);
    if (status == MC_OK && count > 0) {
        memcpy(*items, object->items, count * sizeof **items);
        memcpy(*names, object->names, count * sizeof **names);
    }
    out->count = count;
    return status;
}

mc_status mc_value_put(mc_arena *arena, const mc_value *object, mc_slice name, const mc_value *value,
                       const mc_value **out) {
    mc_value *made = mc_arena_alloc(arena, sizeof *made), *items;
    mc_slice *names;
    if (made == NULL || widen(arena, object, 1, made, &items, &names) != MC_OK) {
        return MC_ENOMEM;
    }
    const mc_value *old = mc_value_find(made, name);
    size_t at = old == NULL ? made->count++ : (size_t)(old - made->items);
    names[at] = name;
    items[at] = *value;
    *out = made;
    return MC_OK;
}

static mc_status merge_lists(mc_arena *arena, const mc_value *base, const mc_value *over, mc_value *out) {
    mc_value *items;
    mc_slice *names;
    mc_status status = make(arena, MC_LIST, base->count + over->count, out, &items, &names);
    if (status == MC_OK && base->count > 0) {
        memcpy(items, base->items, base->count * sizeof *items);
    }
    if (status == MC_OK && over->count > 0) {
        memcpy(items + base->count, over->items, over->count * sizeof *items);
    }
    return status;
}

static mc_status merge_objects(mc_arena *arena, const mc_value *base, const mc_value *over, mc_value *out) {
    mc_value *items;
    mc_slice *names;
    mc_status status = widen(arena, base, over->count, out, &items, &names);
    for (size_t i = 0; i < over->count && status == MC_OK; i++) {
        const mc_value *old = mc_value_find(out, over->names[i]);
        size_t at = old == NULL ? out->count++ : (size_t)(old - out->items);
        names[at] = over->names[i];
        status = mc_value_merge(arena, old, &over->items[i], &items[at]);
    }
    return status;
}

mc_status mc_value_merge(mc_arena *arena, const mc_value *base, const mc_value *over, mc_value *out) {
    mc_value merged = *over;
    mc_status status = MC_OK;
    if (base != NULL && base->kind == over->kind) {
        if (base->kind == MC_LIST) {
            status = merge_lists(arena, base, over, &merged);
        } else if (base->kind == MC_OBJECT) {
            status = merge_objects(arena, base, over, &merged);
        }
    }
    if (status == MC_OK) {
        *out = merged;
    }
    return status;
}
