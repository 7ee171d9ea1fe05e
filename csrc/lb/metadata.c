#include "lb/metadata.h"

#include <stdlib.h>

#include "base/alloc.h"

mc_status mc_lb_value_copy(mc_arena *arena, const mc_value *value, mc_value *out) {
    *out = *value;
    if (value->kind == MC_STRING) {
        return mc_arena_dup(arena, value->string, &out->string);
    }
    if (value->kind != MC_LIST && value->kind != MC_OBJECT) {
        return MC_OK;
    }
    mc_value *items = mc_arena_alloc(arena, value->count * sizeof *items);
    mc_slice *names = value->kind == MC_OBJECT ? mc_arena_alloc(arena, value->count * sizeof *names) : NULL;
    if (items == NULL || (value->kind == MC_OBJECT && names == NULL)) {
        return MC_ENOMEM;
    }
    out->items = items;
    out->names = names;
    for (size_t i = 0; i < value->count; i++) {
        if ((names != NULL && mc_arena_dup(arena, value->names[i], &names[i]) != MC_OK) ||
            mc_lb_value_copy(arena, &value->items[i], &items[i]) != MC_OK) {
            return MC_ENOMEM;
        }
    }
    return MC_OK;
}

mc_status mc_lb_metadata_new(const mc_value *spaces, mc_lb_metadata **out) {
    mc_lb_metadata *metadata = mc_calloc(1, sizeof *metadata);
    mc_text text;
    if (metadata == NULL) {
        return MC_ENOMEM;
    }
    atomic_init(&metadata->refs, 1);
    mc_arena_init(&metadata->arena, NULL);
    mc_text_init(&text);
    mc_lb_value_text(&text, spaces);
    mc_status status = text.failed ? MC_ENOMEM : mc_lb_value_copy(&metadata->arena, spaces, &metadata->spaces);
    if (status == MC_OK) {
        status = mc_arena_dup(&metadata->arena, mc_text_slice(&text), &metadata->text);
    }
    mc_text_fini(&text);
    if (status != MC_OK) {
        mc_lb_metadata_unref(metadata);
        return status;
    }
    const mc_value *own = mc_lb_field(&metadata->spaces, MC_SLICE("envoy.lb"));
    metadata->object = own != NULL && own->kind == MC_OBJECT ? *own : (mc_value){.kind = MC_OBJECT};
    *out = metadata;
    return MC_OK;
}

void mc_lb_metadata_unref(mc_lb_metadata *metadata) {
    if (metadata != NULL && atomic_fetch_sub_explicit(&metadata->refs, 1, memory_order_acq_rel) == 1) {
        mc_arena_fini(&metadata->arena);
        mc_free(metadata);
    }
}

const mc_value *mc_lb_field(const mc_value *object, mc_slice name) {
    for (size_t i = 0; object != NULL && object->kind == MC_OBJECT && i < object->count; i++) {
        if (mc_slice_eq(object->names[i], name)) {
            return &object->items[i];
        }
    }
    return NULL;
}

static bool items_equal(const mc_value *a, const mc_value *b) {
    if (a->count != b->count) {
        return false;
    }
    for (size_t i = 0; i < a->count; i++) {
        const mc_value *other = a->kind == MC_LIST ? &b->items[i] : mc_lb_field(b, a->names[i]);
        if (other == NULL || !mc_lb_value_equal(&a->items[i], other)) {
            return false;
        }
    }
    return true;
}

bool mc_lb_value_equal(const mc_value *a, const mc_value *b) {
    if (a->kind != b->kind) {
        return false;
    }
    switch (a->kind) {
    case MC_NULL: return true;
    case MC_BOOL: return a->boolean == b->boolean;
    case MC_NUMBER: return a->number == b->number;
    case MC_STRING: return mc_slice_eq(a->string, b->string);
    case MC_LIST:
    case MC_OBJECT: break;
    }
    return items_equal(a, b);
}

static bool any_equal(const mc_value *list, const mc_value *value) {
    for (size_t i = 0; i < list->count; i++) {
        if (mc_lb_value_equal(&list->items[i], value)) {
            return true;
        }
    }
    return false;
}

bool mc_lb_labels_match(const mc_value *labels, const mc_lb_metadata *metadata, bool list_as_any) {
    for (size_t i = 0; i < labels->count; i++) {
        const mc_value *has = metadata == NULL ? NULL : mc_lb_field(&metadata->object, labels->names[i]);
        if (has == NULL || !(list_as_any && has->kind == MC_LIST ? any_equal(has, &labels->items[i])
                                                                 : mc_lb_value_equal(has, &labels->items[i]))) {
            return false;
        }
    }
    return true;
}

typedef struct member {
    mc_slice name;
    const mc_value *value;
} member;

static int by_name(const void *a, const void *b) {
    return mc_slice_cmp(((const member *)a)->name, ((const member *)b)->name);
}

static void object_text(mc_text *out, const mc_value *object) {
    member *members = mc_malloc(object->count * sizeof *members);
    if (members == NULL) {
        out->failed = true;
        return;
    }
    for (size_t i = 0; i < object->count; i++) {
        members[i] = (member){object->names[i], &object->items[i]};
    }
    qsort(members, object->count, sizeof *members, by_name);
    mc_text_lit(out, "{");
    for (size_t i = 0; i < object->count; i++) {
        mc_text_json(out, members[i].name);
        mc_text_lit(out, ":");
        mc_lb_value_text(out, members[i].value);
        mc_text_lit(out, ",");
    }
    mc_text_lit(out, "}");
    mc_free(members);
}

void mc_lb_value_text(mc_text *out, const mc_value *value) {
    switch (value->kind) {
    case MC_NULL: mc_text_lit(out, "null"); return;
    case MC_BOOL: mc_text_add(out, value->boolean ? MC_SLICE("true") : MC_SLICE("false")); return;
    case MC_NUMBER: mc_text_general(out, value->number == 0 ? 0 : value->number, 17); return; /* no minus zero */
    case MC_STRING: mc_text_json(out, value->string); return;
    case MC_OBJECT: object_text(out, value); return;
    case MC_LIST: break;
    }
    mc_text_lit(out, "[");
    for (size_t i = 0; i < value->count; i++) {
        mc_lb_value_text(out, &value->items[i]);
        mc_text_lit(out, ",");
    }
    mc_text_lit(out, "]");
}
