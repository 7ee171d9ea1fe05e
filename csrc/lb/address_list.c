#include "lb/address_list.h"

#include <string.h>

#include "base/alloc.h"

/* The next address of a family at or after *at; NULL: none left. */
static const mc_address *next_of(const mc_address *addresses, uint32_t count, uint32_t *at, int family, bool same) {
    for (; *at < count; ++*at) {
        if ((addresses[*at].any.sa_family == family) == same) {
            return &addresses[(*at)++];
        }
    }
    return NULL;
}

mc_address_list *mc_address_list_new(const mc_address *addresses, uint32_t count, int first_family,
                                     uint32_t first_count) {
    mc_address_list *list = mc_malloc(sizeof *list + count * sizeof list->items[0]);
    if (list == NULL) {
        return NULL;
    }
    atomic_init(&list->refs, 1);
    list->count = 0;
    const int family = first_family != 0 || count == 0 ? first_family : addresses[0].any.sa_family;
    uint32_t firsts = 0, others = 0, turn = 0;
    while (list->count < count) {
        const bool first = turn < first_count;
        const mc_address *next = first ? next_of(addresses, count, &firsts, family, true)
                                       : next_of(addresses, count, &others, family, false);
        if (next == NULL) {
            next = first ? next_of(addresses, count, &others, family, false)
                         : next_of(addresses, count, &firsts, family, true);
        }
        turn = first ? turn + 1 : 0;
        list->items[list->count++] = *next;
    }
    return list;
}

mc_address_list *mc_address_list_ref(mc_address_list *list) {
    if (list != NULL) {
        atomic_fetch_add_explicit(&list->refs, 1, memory_order_relaxed);
    }
    return list;
}

void mc_address_list_unref(mc_address_list *list) {
    if (list != NULL && atomic_fetch_sub_explicit(&list->refs, 1, memory_order_acq_rel) == 1) {
        mc_free(list);
    }
}

bool mc_address_list_eq(const mc_address_list *list, const mc_address *addresses, uint32_t count) {
    if (list == NULL || list->count != count) {
        return list == NULL && count <= 1;
    }
    for (uint32_t i = 0; i < count; i++) {
        bool found = false; /* the order in the list is another one */
        for (uint32_t j = 0; j < count && !found; j++) {
            found = list->items[j].length == addresses[i].length &&
                    memcmp(&list->items[j].any, &addresses[i].any, addresses[i].length) == 0;
        }
        if (!found) {
            return false;
        }
    }
    return true;
}
