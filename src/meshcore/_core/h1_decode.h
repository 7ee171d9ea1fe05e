/* Header entries to Python tuples, as fast as objects can be made.
 *
 * What a peer repeats is made once: a table keeps the last ("header", (name, value)) event for each slot, keyed by name and
 * value, and hands it out again when the bytes are equal. Values that are secret (authorization, cookies) or new with each
 * message (request ids, dates) are not kept, nor are long ones. The objects are immutable, so nobody can tell.
 *
 * With the GIL all parsers share one table; without it each parser has its own, since nothing else would guard it. */
#ifndef MESHCORE_H1_DECODE_H
#define MESHCORE_H1_DECODE_H

#include <Python.h>

#include "http/headers.h"

#define H1_SLOTS      256u
#define H1_KEPT_VALUE 256u /* longest value that is kept */

typedef struct h1_table {
    PyObject *events[H1_SLOTS]; /* NULL or the event tuple */
} h1_table;

typedef struct h1_names {
    PyObject *header, *trailer;      /* "header", "trailer" */
    PyObject *names[MC_H__COUNT];    /* bytes; "host" for :authority */
    unsigned char kept[MC_H__COUNT]; /* values of this id may be kept */
} h1_names;

/* A tuple of two, stealing both; untracked, because neither can be part of a cycle. */
static inline PyObject *h1_pair(PyObject *a, PyObject *b) {
    PyObject *pair = a == NULL || b == NULL ? NULL : PyTuple_New(2);
    if (pair == NULL) {
        Py_XDECREF(a);
        Py_XDECREF(b);
        return NULL;
    }
    PyTuple_SET_ITEM(pair, 0, a);
    PyTuple_SET_ITEM(pair, 1, b);
    PyObject_GC_UnTrack(pair);
    return pair;
}

static inline PyObject *h1_bytes(mc_slice s) { return PyBytes_FromStringAndSize(s.p, (Py_ssize_t)s.n); }

static inline PyObject *h1_new_pair(const h1_names *names, const mc_header *item) {
    PyObject *name = item->id == MC_H_UNKNOWN ? h1_bytes(item->name) : Py_NewRef(names->names[item->id]);
    return h1_pair(name, h1_bytes(item->value));
}

static inline PyObject *h1_new_event(const h1_names *names, const mc_header *item) {
    return h1_pair(Py_NewRef(names->header), h1_new_pair(names, item));
}

/* Mixes length, first and last bytes: enough to spread, cheap to compute; equality is checked byte by byte. */
static inline unsigned h1_slot(mc_slice value, unsigned id) {
    uint64_t first = 0, last = 0;
    if (value.n >= 8) {
        memcpy(&first, value.p, 8);
        memcpy(&last, value.p + value.n - 8, 8);
    } else if (value.n > 0) {
        memcpy(&first, value.p, value.n & 4 ? 4 : 1);
        memcpy(&last, value.p + value.n - (value.n & 4 ? 4 : 1), value.n & 4 ? 4 : 1);
    }
    uint64_t mixed = (first ^ (last << 7 | last >> 57)) + value.n * 0x9e3779b97f4a7c15u + id * 0xc2b2ae3d27d4eb4fu;
    mixed *= 0xff51afd7ed558ccdu;
    return (unsigned)(mixed >> 48) % H1_SLOTS;
}

static inline bool h1_keeps(const h1_names *names, const mc_header *item) {
    return names->kept[item->id] && item->value.n <= H1_KEPT_VALUE;
}

/* The table's event for an entry that is kept, made if need be: borrowed, NULL with an exception set when out of memory. */
static inline PyObject *h1_kept_event(h1_table *table, const h1_names *names, const mc_header *item) {
    PyObject **slot = &table->events[h1_slot(item->value, item->id)], *old = *slot;
    if (old != NULL) {
        PyObject *pair = PyTuple_GET_ITEM(old, 1), *value = PyTuple_GET_ITEM(pair, 1);
        if (PyTuple_GET_ITEM(pair, 0) == names->names[item->id] && (size_t)PyBytes_GET_SIZE(value) == item->value.n &&
            memcmp(PyBytes_AS_STRING(value), item->value.p, item->value.n) == 0) {
            return old;
        }
    }
    PyObject *event = h1_new_event(names, item);
    if (event != NULL) {
        *slot = event;
        Py_XDECREF(old);
    }
    return event;
}

/* ("header", (name, value)) for an entry: a new reference. */
static inline PyObject *h1_event(h1_table *table, const h1_names *names, const mc_header *item) {
    return h1_keeps(names, item) ? Py_XNewRef(h1_kept_event(table, names, item)) : h1_new_event(names, item);
}

/* (name, value) for an entry: a new reference. */
static inline PyObject *h1_header(h1_table *table, const h1_names *names, const mc_header *item) {
    if (!h1_keeps(names, item)) {
        return h1_new_pair(names, item);
    }
    PyObject *event = h1_kept_event(table, names, item);
    return event == NULL ? NULL : Py_NewRef(PyTuple_GET_ITEM(event, 1));
}

static inline bool h1_is_field(const mc_header *item) {
    return !item->removed && (item->id > MC_H_PROTOCOL || item->id == MC_H_AUTHORITY || item->id == MC_H_UNKNOWN);
}

/* [(name, value), ...] without the pseudo-headers. */
static inline PyObject *h1_header_list(h1_table *table, const h1_names *names, const mc_headers *headers) {
    PyObject *list = PyList_New((Py_ssize_t)headers->live);
    Py_ssize_t used = 0;
    for (uint32_t i = 0; list != NULL && i < headers->count; i++) {
        const mc_header *item = &headers->items[i];
        if (!h1_is_field(item)) {
            continue;
        }
        PyObject *pair = h1_header(table, names, item);
        if (pair == NULL) {
            Py_CLEAR(list);
        } else {
            PyList_SET_ITEM(list, used++, pair);
        }
    }
    if (list != NULL) {
        Py_SET_SIZE(list, used); /* pseudo-headers were counted: the room stays, unused */
    }
    return list;
}

/* [first, ("header", (name, value)), ...], with room for two more. */
static inline PyObject *h1_event_list(h1_table *table, const h1_names *names, const mc_headers *headers,
                                      PyObject *first) {
    PyObject *list = PyList_New((Py_ssize_t)headers->live + 3);
    Py_ssize_t used = 1;
    if (list == NULL) {
        return NULL;
    }
    PyList_SET_ITEM(list, 0, Py_NewRef(first));
    for (uint32_t i = 0; list != NULL && i < headers->count; i++) {
        const mc_header *item = &headers->items[i];
        if (!h1_is_field(item)) {
            continue;
        }
        PyObject *event = h1_event(table, names, item);
        if (event == NULL) {
            Py_CLEAR(list);
        } else {
            PyList_SET_ITEM(list, used++, event);
        }
    }
    if (list != NULL) {
        Py_SET_SIZE(list, used);
    }
    return list;
}

static inline void h1_table_clear(h1_table *table) {
    for (unsigned i = 0; i < H1_SLOTS; i++) {
        Py_CLEAR(table->events[i]);
    }
}

#endif
