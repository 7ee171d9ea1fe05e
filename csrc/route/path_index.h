/* Index over the paths of one virtual host's routes.
 *
 * Equal paths in a hash, prefixes in a compressed trie whose nodes stand in one array, the children of a node
 * side by side; once as written and once in lower case for case_sensitive: false. A request's path meets at
 * most one exact list and the prefixes on one way down the trie: the work is bounded by the length of the
 * path, whatever the number of routes.
 *
 * A regular expression or URI template stands in the trie under the text that all its matches begin with, often none. Those
 * with the same text are matched in one pass, and only when no earlier route decides. */
#ifndef MC_ROUTE_PATH_INDEX_H
#define MC_ROUTE_PATH_INDEX_H

#include "route/candidates.h"

typedef enum mc_path_kind {
    MC_PATH_EXACT,
    MC_PATH_PREFIX,
    MC_PATH_SEPARATED_PREFIX, /* equal, or followed by '/' */
    MC_PATH_ANY,              /* no condition the index knows: the route's matchers decide */
    MC_PATH_REGEX,
    MC_PATH_TEMPLATE, /* a URI template, as a regular expression; sees what stands behind ';' too (RT-6) */
} mc_path_kind;

typedef struct mc_path_pattern {
    mc_path_kind kind;
    bool fold;              /* case-insensitive: text is in lower case, and so must be the path it is compared with */
    mc_slice text;          /* empty for MC_PATH_ANY */
    size_t template_length; /* MC_PATH_TEMPLATE: of the template as written */
    mc_slice literal;       /* MC_PATH_REGEX, MC_PATH_TEMPLATE: what all matches of `text` begin with, */
    const mc_regex *rest;   /* and what must follow; expressions that only differ in `literal` share it */
} mc_path_pattern;

/* Sets text, literal and rest for a valid expression. */
MC_MUST_CHECK mc_status mc_path_expression(mc_compile *c, mc_slice text, mc_path_pattern *out);
/* 1, 0, or MC_ENOMEM. */
int mc_path_pattern_test(const mc_path_pattern *pattern, const mc_match_input *in);

/* One cache line a node: a way down meets one line for each branching, and the text of a label only where it is longer than the
 * byte that was branched on. Many a label ends alike ("7/items/", "8/items/"): such neighbours share the text behind that byte. */
enum { MC_TRIE_HEADS = 21 };
typedef struct mc_trie_node {
    const mc_candidates *prefix, *separated; /* lists that end here, or NULL */
    const mc_candidates *late;               /* expressions: candidates without route, or NULL */
    const char *label; /* bytes between the parent and this node, behind the first of them, `head` */
    uint32_t label_n;  /* with `head`; 0: the root */
    uint32_t first_child;
    uint16_t child_count;
    char head;
    char heads[MC_TRIE_HEADS]; /* first bytes of the first children's labels */
} mc_trie_node;

typedef struct mc_path_half {
    const mc_map *exact;       /* -> const mc_candidates; NULL: no exact paths */
    const mc_trie_node *nodes; /* [0] is the root; NULL: no prefixes */
} mc_path_half;

/* Expressions with the list that each leads to. In a walk a candidate stands for them at the lowest order of all lists; its route
 * is NULL, its `matchers` are this struct. */
typedef struct mc_path_expressions {
    bool whole;              /* they see mc_match_input.whole */
    const mc_regex_set *set; /* NULL: there is one, with these three */
    mc_slice literal;
    const mc_regex *rest;
    const mc_candidates *list;
    const mc_candidates *const *lists; /* by index in the set */
    uint32_t count;
} mc_path_expressions;

typedef struct mc_path_index {
    mc_path_half cased, folded;
    const mc_candidates *any;
} mc_path_index;

/* One pattern with its candidate; all of a virtual host in order. The array is sorted in place. */
typedef struct mc_path_item {
    mc_path_pattern pattern;
    mc_candidate candidate;
    mc_slice key; /* set by mc_path_index_build: the pattern's text, or its literal */
} mc_path_item;

MC_MUST_CHECK mc_status mc_path_index_build(mc_compile *c, mc_path_item *items, size_t count, mc_path_index *out);
/* Adds every list that the input's path leads to; in place of expressions a candidate without route, which asks for
 * mc_path_index_find_late when the walk comes to it. */
MC_MUST_CHECK mc_status mc_path_index_find(const mc_path_index *index, const mc_match_input *in, mc_walk *walk);
/* Matches the expressions that `late` stands for and adds their lists. */
MC_MUST_CHECK mc_status mc_path_index_find_late(const mc_candidate *late, const mc_match_input *in, mc_walk *walk);

#endif
