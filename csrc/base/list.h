/* Intrusive doubly linked list with a sentinel head. A node is in at most one list; an unlinked node has next == NULL. */
#ifndef MC_BASE_LIST_H
#define MC_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

typedef struct mc_link {
    struct mc_link *next, *prev;
} mc_link;

typedef struct mc_list {
    mc_link head;
} mc_list;

#define MC_CONTAINER(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

static inline void mc_list_init(mc_list *list) { list->head.next = list->head.prev = &list->head; }
static inline bool mc_list_empty(const mc_list *list) { return list->head.next == &list->head; }
static inline bool mc_link_linked(const mc_link *node) { return node->next != NULL; }

static inline void mc_link_insert(mc_link *node, mc_link *before) {
    node->next = before;
    node->prev = before->prev;
    before->prev->next = node;
    before->prev = node;
}
static inline void mc_list_push_back(mc_list *list, mc_link *node) { mc_link_insert(node, &list->head); }
static inline void mc_list_push_front(mc_list *list, mc_link *node) { mc_link_insert(node, list->head.next); }

/* Safe on an unlinked node. */
static inline void mc_link_unlink(mc_link *node) {
    if (node->next != NULL) {
        node->prev->next = node->next;
        node->next->prev = node->prev;
        node->next = node->prev = NULL;
    }
}
static inline mc_link *mc_list_first(const mc_list *list) { return mc_list_empty(list) ? NULL : list->head.next; }
static inline mc_link *mc_list_pop_front(mc_list *list) {
    mc_link *node = mc_list_first(list);
    if (node != NULL) {
        mc_link_unlink(node);
    }
    return node;
}
/* Moves every node of `from` to the back of `to`. */
static inline void mc_list_splice(mc_list *to, mc_list *from) {
    if (!mc_list_empty(from)) {
        from->head.next->prev = to->head.prev;
        to->head.prev->next = from->head.next;
        from->head.prev->next = &to->head;
        to->head.prev = from->head.prev;
        mc_list_init(from);
    }
}

/* The current node may be unlinked in the body. */
#define MC_LIST_EACH(list, it)                                                                                         \
    for (mc_link *it = (list)->head.next, *it##_next = it->next; it != &(list)->head;                                  \
         it = it##_next, it##_next = it->next)

#endif
