/* The tree of an expression, private to cel/: made by parse.c out of text or by expr.c out of a parsed expression, checked and
 * bound to functions and attributes as it grows (build.c), walked by eval.c. */
#ifndef MC_CEL_NODE_H
#define MC_CEL_NODE_H

#include "base/regex.h"
#include "cel/attributes.h"
#include "cel/cel.h"

typedef enum mc_cel_node_kind {
    MC_CEL_NODE_CONST,
    MC_CEL_NODE_UNKNOWN,   /* a name that nothing has: an error whenever it is looked at */
    MC_CEL_NODE_ROOT,      /* request, connection, ...: `root` */
    MC_CEL_NODE_ATTRIBUTE, /* a member of a root, found when compiled: `attribute` */
    MC_CEL_NODE_SELECT,    /* args[0].name */
    MC_CEL_NODE_HAS,       /* has(args[0].name) */
    MC_CEL_NODE_LIST,
    MC_CEL_NODE_MAP, /* a key and its value in turn */
    MC_CEL_NODE_CALL,
} mc_cel_node_kind;

/* Functions by what they do; names and numbers of arguments stand in the table in build.c. */
typedef enum mc_cel_op {
    MC_CEL_AND,
    MC_CEL_OR,
    MC_CEL_IF,
    MC_CEL_NOT,
    MC_CEL_NEGATE,
    MC_CEL_EQ,
    MC_CEL_NE,
    MC_CEL_LT,
    MC_CEL_LE,
    MC_CEL_GT,
    MC_CEL_GE,
    MC_CEL_ADD,
    MC_CEL_SUBTRACT,
    MC_CEL_MULTIPLY,
    MC_CEL_DIVIDE,
    MC_CEL_MODULO,
    MC_CEL_IN,
    MC_CEL_INDEX,
    MC_CEL_SIZE,
    MC_CEL_CONTAINS,
    MC_CEL_STARTS_WITH,
    MC_CEL_ENDS_WITH,
    MC_CEL_MATCHES,
    MC_CEL_CAPTURE,
    MC_CEL_EXTRACT,
    MC_CEL_TO_BOOL,
    MC_CEL_TO_INT,
    MC_CEL_TO_UINT,
    MC_CEL_TO_DOUBLE,
    MC_CEL_TO_STRING,
    MC_CEL_TO_BYTES,
    MC_CEL_TO_DURATION,
    MC_CEL_TO_TIMESTAMP,
    MC_CEL_TO_DYN,
    MC_CEL_TO_TYPE,
    MC_CEL_GET_YEAR,
    MC_CEL_GET_MONTH,
    MC_CEL_GET_DATE,
    MC_CEL_GET_DAY_OF_MONTH,
    MC_CEL_GET_DAY_OF_WEEK,
    MC_CEL_GET_DAY_OF_YEAR,
    MC_CEL_GET_HOURS,
    MC_CEL_GET_MINUTES,
    MC_CEL_GET_SECONDS,
    MC_CEL_GET_MILLISECONDS,
    MC_CEL_LOWER,
    MC_CEL_UPPER,
    MC_CEL_TRIM,
    MC_CEL_REPLACE,
    MC_CEL_SUBSTRING,
    MC_CEL_INDEX_OF,
    MC_CEL_LAST_INDEX_OF,
    MC_CEL_CHAR_AT,
    MC_CEL_SPLIT,
    MC_CEL_JOIN,
} mc_cel_op;

typedef struct mc_cel_node {
    uint8_t kind;          /* mc_cel_node_kind */
    uint8_t op;            /* mc_cel_op */
    uint8_t root;          /* mc_cel_root */
    uint8_t attribute;     /* mc_cel_attribute */
    uint16_t depth;        /* 1: a leaf */
    mc_slice name;         /* of an identifier, or the member that is selected */
    mc_cel value;          /* a constant's */
    const mc_regex *regex; /* of a pattern that is constant; NULL: made at each evaluation */
    const struct mc_cel_node *const *args;
    uint32_t count;
} mc_cel_node;

struct mc_cel_program {
    const mc_cel_node *root;
    uint32_t reads;
};

/* --- building ---------------------------------------------------------------------------------------------------------- */

typedef struct mc_cel_builder {
    mc_arena *arena;
    const mc_cel_options *options;
    mc_error *error;
    uint32_t reads;
} mc_cel_builder;

MC_MUST_CHECK mc_status mc_cel_build_const(mc_cel_builder *b, mc_cel value, const mc_cel_node **out);
MC_MUST_CHECK mc_status mc_cel_build_ident(mc_cel_builder *b, mc_slice name, const mc_cel_node **out);
MC_MUST_CHECK mc_status mc_cel_build_select(mc_cel_builder *b, const mc_cel_node *from, mc_slice name, bool test,
                                            const mc_cel_node **out);
/* A list, or pairs of a map. `items` is copied. */
MC_MUST_CHECK mc_status mc_cel_build_items(mc_cel_builder *b, mc_cel_node_kind kind, const mc_cel_node *const *items,
                                           uint32_t count, const mc_cel_node **out);
/* args[0] is the target of a method. `args` is copied. */
MC_MUST_CHECK mc_status mc_cel_build_call(mc_cel_builder *b, mc_slice name, bool method, const mc_cel_node *const *args,
                                          uint32_t count, const mc_cel_node **out);
MC_MUST_CHECK mc_status mc_cel_build_op(mc_cel_builder *b, mc_cel_op op, const mc_cel_node *const *args, uint32_t count,
                                        const mc_cel_node **out);

/* --- evaluating ---------------------------------------------------------------------------------------------------------- */

typedef struct mc_cel_context {
    const mc_stream_info *info; /* NULL: constants alone */
    mc_arena *arena;
    bool failed; /* out of memory */
} mc_cel_context;

mc_cel mc_cel_eval_node(const mc_cel_node *node, mc_cel_context *ctx);
/* The values of all arguments stand in args; none is an error. */
mc_cel mc_cel_apply(const mc_cel_node *node, const mc_cel *args, mc_cel_context *ctx);

/* arith.c: + - * / %, order and equality */
mc_cel mc_cel_arith(mc_cel_op op, const mc_cel *a, const mc_cel *b);
mc_cel mc_cel_negate(const mc_cel *a);
bool mc_cel_equal(const mc_cel *a, const mc_cel *b, mc_cel_context *ctx);
mc_cel mc_cel_order(mc_cel_op op, const mc_cel *a, const mc_cel *b);

/* convert.c: bool(), int(), ... */
mc_cel mc_cel_convert(mc_cel_op op, const mc_cel *value, mc_cel_context *ctx);

/* text.c: functions over strings */
mc_cel mc_cel_text_function(const mc_cel_node *node, const mc_cel *args, mc_cel_context *ctx);

/* members.c: members of maps, lists and messages */
uint32_t mc_cel_size(const mc_cel *container);
mc_cel mc_cel_list_item(const mc_cel *list, uint32_t index);
/* MC_CEL_ERROR: there is none. */
mc_cel mc_cel_map_get(const mc_cel *map, const mc_cel *key, mc_cel_context *ctx);
/* The key in a slot; MC_CEL_ERROR: the slot is empty. */
uint32_t mc_cel_map_slots(const mc_cel *map);
mc_cel mc_cel_map_key(const mc_cel *map, uint32_t index);
mc_cel mc_cel_message_get(const mc_cel *message, mc_slice name);
/* 1, 0, or -1: the message has no such field. */
int mc_cel_message_has(const mc_cel *message, mc_slice name);
/* The i-th field, in the order of their numbers; NULL: there are no more. */
const char *mc_cel_message_field(mc_cel_message type, uint32_t index);

/* time.c */
mc_cel mc_cel_parse_duration(mc_slice text);
mc_cel mc_cel_parse_timestamp(mc_slice text);
/* `zone`: "UTC", "", "+01:00", "01:00"; NULL: UTC. */
mc_cel mc_cel_time_part(mc_cel_op op, const mc_cel *time, const mc_cel *zone);
bool mc_cel_zone_known(mc_slice zone);
void mc_cel_print_duration(const mc_cel *value, mc_text *out);
void mc_cel_print_timestamp(const mc_cel *value, mc_text *out);
/* As protobuf's JSON has them; false: outside of its range. */
bool mc_cel_json_duration(const mc_cel *value, mc_text *out);
bool mc_cel_json_timestamp(const mc_cel *value, mc_text *out);

#endif
