/* Header mutations out of arbitrary configurations, on arbitrary headers. What compiles must apply, leave a map that agrees with itself,
 * and, where values are constants, the headers that a plain list would have.
 *
 * Input: {"options": [HeaderValueOption], "mutations": [HeaderMutation]}, a zero byte, "name: value" lines. */
#include <stdlib.h>

#include "lines.h"
#include "route/mutation_list.h"

#define REQUIRE(cond) ((cond) ? (void)0 : abort())

static void check_map(const mc_headers *headers) {
    uint32_t live = 0, bytes = 0;
    bool seen[MC_H__COUNT] = {false};
    for (uint32_t i = 0; i < headers->count; i++) {
        const mc_header *header = &headers->items[i];
        if (header->removed) {
            continue;
        }
        live++;
        bytes += (uint32_t)(header->name.n + header->value.n);
        REQUIRE(header->id == mc_header_lookup(header->name));
        if (header->id != MC_H_UNKNOWN && !seen[header->id]) {
            REQUIRE(headers->first[header->id] == i + 1);
            seen[header->id] = true;
        }
    }
    REQUIRE(live == headers->live && bytes == headers->bytes);
    for (unsigned id = 0; id < MC_H__COUNT; id++) {
        REQUIRE(id == MC_H_UNKNOWN || seen[id] == (headers->first[id] != 0));
    }
}

/* A list of headers, and RT-41 without any index. */
enum { MOST = 256 };
typedef struct plain {
    mc_slice names[MOST], values[MOST];
    size_t count;
} plain;

static bool has(const plain *list, mc_slice name) {
    for (size_t i = 0; i < list->count; i++) {
        if (mc_slice_eq(list->names[i], name)) {
            return true;
        }
    }
    return false;
}

static void drop(plain *list, mc_slice name) {
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++) {
        if (!mc_slice_eq(list->names[i], name)) {
            list->names[kept] = list->names[i];
            list->values[kept++] = list->values[i];
        }
    }
    list->count = kept;
}

static void append(plain *list, mc_slice name, mc_slice value) {
    list->names[list->count] = name;
    list->values[list->count++] = value;
}

static bool is_overwrite(mc_append_action action) {
    return action == MC_OVERWRITE_OR_ADD || action == MC_OVERWRITE_IF_EXISTS;
}

/* Whether there is something to overwrite or a place to add to is asked of the headers before any addition. */
static void apply_plainly(const mc_header_mutations *mutations, plain *list) {
    const plain before = *list;
    for (int overwrites = 1; overwrites >= 0; overwrites--) {
        for (uint32_t i = 0; i < mutations->addition_count; i++) {
            const mc_header_addition *one = &mutations->additions[i];
            if (is_overwrite(one->action) != overwrites || (one->value.n == 0 && !one->keep_empty) ||
                (one->action == MC_OVERWRITE_IF_EXISTS && !has(&before, one->name)) ||
                (one->action == MC_ADD_IF_ABSENT && has(&before, one->name))) {
                continue;
            }
            if (overwrites) {
                drop(list, one->name);
            }
            append(list, one->name, one->value);
        }
    }
}

/* Whether the values of each name are the same, in the same order; how names stand to one another is the map's affair. */
static bool same(const plain *list, const mc_headers *headers) {
    plain rest = *list;
    for (uint32_t i = 0; i < headers->count; i++) {
        const mc_header *header = &headers->items[i];
        size_t at = 0;
        if (header->removed) {
            continue;
        }
        while (at < rest.count && !mc_slice_eq(rest.names[at], header->name)) {
            at++;
        }
        if (at == rest.count || !mc_slice_eq(rest.values[at], header->value)) {
            return false;
        }
        for (rest.count--; at < rest.count; at++) {
            rest.names[at] = rest.names[at + 1];
            rest.values[at] = rest.values[at + 1];
        }
    }
    return rest.count == 0;
}

static void try_options(mc_arena *arena, const mc_value *config, mc_headers_kind kind, mc_headers *headers,
                        const mc_stream_info *info) {
    const mc_header_mutations *mutations = NULL;
    mc_error error;
    plain list = {.count = 0};
    if (mc_header_options_compile(arena, config, "options", kind, &mutations, &error) != MC_OK || mutations == NULL) {
        return;
    }
    bool comparable = !mutations->formats && headers->live + mutations->addition_count <= MOST;
    for (uint32_t i = 0; comparable && i < headers->count; i++) {
        append(&list, headers->items[i].name, headers->items[i].value);
        comparable = headers->items[i].id == MC_H_UNKNOWN; /* some of those are kept as one entry */
    }
    for (uint32_t i = 0; comparable && i < mutations->addition_count; i++) {
        comparable = mc_header_lookup(mutations->additions[i].name) == MC_H_UNKNOWN;
    }
    REQUIRE(mc_header_mutations_apply(mutations, headers, info) == MC_OK);
    check_map(headers);
    if (comparable) {
        apply_plainly(mutations, &list);
        REQUIRE(same(&list, headers));
    }
}

static void try_list(mc_arena *arena, const mc_value *config, mc_headers_kind kind, mc_headers *headers,
                     const mc_stream_info *info) {
    mc_mutation_list list;
    mc_error error;
    if (mc_mutation_list_compile(arena, config, "mutations", kind, &list, &error) == MC_OK) {
        REQUIRE(mc_mutation_list_apply(&list, headers, info) == MC_OK);
        check_map(headers);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const mc_slice input = mc_slice_of(data, size);
    const size_t zero = mc_slice_find(input, '\0');
    const mc_headers_kind kind = size % 2 == 0 ? MC_HEADERS_OF_REQUEST : MC_HEADERS_OF_RESPONSE;
    mc_arena arena;
    mc_error error;
    mc_headers headers;
    mc_stream_info info;
    const mc_value *config;
    mc_arena_init(&arena, NULL);
    mc_headers_init(&headers, &arena);
    mc_stream_info_init(&info);
    info.request = &headers;
    if (mc_value_parse(&arena, mc_slice_until(input, zero), &config, &error) == MC_OK && config->kind == MC_OBJECT &&
        add_lines(&headers, mc_slice_from(input, zero + 1)) == MC_OK) {
        check_map(&headers);
        try_options(&arena, config, kind, &headers, &info);
        try_list(&arena, config, kind, &headers, &info);
    }
    mc_arena_fini(&arena);
    return 0;
}
