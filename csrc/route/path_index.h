/* Index over the paths of one virtual host's routes.
 *
 * Equal paths in a hash, prefixes in a compressed trie whose nodes stand in one array, the children of a node
 * side by side; once as written and once in lower case for case_sensitive: false. A request's path meets at
 * most one exact list and the prefixes on one way down the trie: the work is bounded by the length of the
 * path, whatever the number of routes. All regular expressions are matched in one pass, and only when no earlier
 * route decides; URI templates likewise. */
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
    const mc_regex *regex;  /* MC_PATH_REGEX, MC_PATH_TEMPLATE: what `text` means */
} mc_path_pattern;

/* 1, 0, or MC_ENOMEM. */
int mc_path_pattern_test(const mc_path_pattern *pattern, const mc_match_input *in);

/* One cache line a node: a way down meets one line for each branching, and the text of a label only where it is longer than the
 * byte that was branched on. */
enum { MC_TRIE_HEADS = 22 };
typedef struct mc_trie_node {
    const mc_candidates *prefix, *separated; /* lists that end here, or NULL */
    const char *label;                       /* bytes between the parent and this node, at least one but for the root */
    uint32_t label_n;
    uint32_t first_child;
    uint16_t child_count;
    char heads[MC_TRIE_HEADS]; /* first bytes of the first children's labels */
} mc_trie_node;

typedef struct mc_path_half {
    const mc_map *exact;       /* -> const mc_candidates; NULL: no exact paths */
    const mc_trie_node *nodes; /* [0] is the root; NULL: no prefixes */
} mc_path_half;

/* Expressions with the list that each leads to. */
typedef struct mc_path_expressions {
    mc_candidate
        late;   /* stands in a walk at the lowest order of all lists; its route is NULL, `matchers` this struct */
    bool whole; /* they see mc_match_input.whole */
    const mc_regex *only; /* when there is one */
    const mc_regex_set *set;
    const mc_candidates *const *lists; /* by index in the set */
    uint32_t count;
} mc_path_expressions;

typedef struct mc_path_index {
    mc_path_half cased, folded;
    const mc_candidates *any;
    const mc_path_expressions *regexes, *templates; /* NULL: none */
} mc_path_index;

/* One pattern with its candidate; all of a virtual host in order. The array is sorted in place. */
typedef struct mc_path_item {
    mc_path_pattern pattern;
    mc_candidate candidate;
} mc_path_item;

MC_MUST_CHECK mc_status mc_path_index_build(mc_compile *c, mc_path_item *items, size_t count, mc_path_index *out);
/* Adds every list that the input's path leads to; in place of expressions a candidate without route, which asks for
 * mc_path_index_find_late when the walk comes to it. */
MC_MUST_CHECK mc_status mc_path_index_find(const mc_path_index *index, const mc_match_input *in, mc_walk *walk);
/* Matches the expressions that `late` stands for and adds their lists. */
MC_MUST_CHECK mc_status mc_path_index_find_late(const mc_candidate *late, const mc_match_input *in, mc_walk *walk);

#endif
