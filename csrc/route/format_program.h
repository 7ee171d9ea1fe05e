/* The compiled form of a format, private to format*.c: a list of operations, each a literal or a command with its argument
 * cut up. One row of the table in format_commands.c is one command: its syntax, how its argument is read, how it is evaluated. */
#ifndef MC_ROUTE_FORMAT_PROGRAM_H
#define MC_ROUTE_FORMAT_PROGRAM_H

#include "cel/cel.h"
#include "route/format.h"

/* What an evaluation yielded. Text was appended to the output; a number or value is the caller's to write, because JSON writes
 * them otherwise than plain text. */
typedef struct mc_format_op mc_format_op;

typedef enum mc_format_kind { MC_FORMAT_ABSENT, MC_FORMAT_TEXT, MC_FORMAT_NUMBER, MC_FORMAT_VALUE } mc_format_kind;
typedef struct mc_format_result {
    mc_format_kind kind;
    bool typed;                  /* a value: its text is JSON, a string's too */
    const mc_value *in_text;     /* a value that is another one in plain text; NULL: the same */
    const mc_format_op *limited; /* a value: what COALESCE chose has a length of its own; NULL: it has none */
    union {
        uint64_t number;
        const mc_value *value;
    };
} mc_format_result;

typedef struct mc_format_command mc_format_command;
typedef struct mc_time_format mc_time_format; /* format_time.c */

/* Kinds of fields of mc_stream_info. */
typedef enum mc_info_field {
    MC_INFO_OTHER,
    MC_INFO_SLICE,
    MC_INFO_U64,
    MC_INFO_U32,
    MC_INFO_U16,
    MC_INFO_POINT, /* nanoseconds after the start */
    MC_INFO_ADDRESS,
    MC_INFO_TLS,
    MC_INFO_VALUE,
} mc_info_field;

/* How a command may be written: %NAME%, %NAME(argument)%, and with :length behind. */
enum {
    MC_SYNTAX_BARE = 0,
    MC_SYNTAX_ARGUMENT = 1, /* required */
    MC_SYNTAX_OPTIONAL = 2,
    MC_SYNTAX_LENGTH = 4,
    MC_SYNTAX_EXTENSION = 8, /* known where an extension of `formatters` is configured */
};

struct mc_format_command {
    const char *name;
    uint8_t syntax;
    uint8_t variant; /* tells apart commands that share a function */
    uint16_t offset; /* of the field of mc_stream_info that the function reads */
    uint16_t reads;  /* MC_READS_ */
    mc_status (*parse)(mc_arena *arena, mc_format_op *op, mc_slice argument, mc_error *error); /* NULL: nothing to do */
    mc_format_result (*eval)(const mc_format_op *op, const mc_stream_info *info, mc_text *out);
    mc_info_field field; /* what stands at `offset` */
};

struct mc_format_op {
    const mc_format_command *command; /* NULL: `text` is a literal */
    mc_slice text, second;            /* of the argument, as the command's parse function says */
    mc_slices path;
    const mc_time_format *time;
    const mc_cel_program *cel;   /* CEL */
    const mc_format_op *choices; /* COALESCE */
    uint32_t choice_count;
    uint8_t mode, scope; /* small choices of the argument */
    bool has_length;
    size_t length;
};

typedef struct mc_format_ops {
    const mc_format_op *items;
    uint32_t count;
} mc_format_ops;

typedef struct mc_json_node mc_json_node; /* format_json.c */

struct mc_format {
    mc_format_ops ops;
    const mc_json_node *json; /* NULL: text */
    bool omit_empty;
};

/* NULL: no such command. */
const mc_format_command *mc_format_find(mc_slice name);
const mc_format_command *mc_format_command_at(size_t i);
/* Checks the syntax and reads the argument; has_length and length are set already. */
MC_MUST_CHECK mc_status mc_format_bind(mc_arena *arena, const mc_format_command *command, mc_slice argument,
                                       mc_format_op *op, mc_error *error);
MC_MUST_CHECK mc_status mc_format_parse(mc_arena *arena, mc_slice text, bool extended, mc_format_ops *out,
                                        mc_error *error);
/* Cuts what was appended since `start` to the operator's length. */
void mc_format_cut(const mc_format_op *op, size_t start, mc_text *out);
/* Null has a text where it is cut, for Envoy compares what is left of it: appended then; false: it is absent. */
bool mc_format_null(const mc_format_op *op, mc_text *out);
/* Evaluates and cuts text to the operator's length. */
mc_format_result mc_format_eval(const mc_format_op *op, const mc_stream_info *info, mc_text *out);
/* Appends what the operator yields as plain text; false: absent. */
bool mc_format_eval_text(const mc_format_op *op, const mc_stream_info *info, mc_text *out);

/* mc_format_compile_json, where `extended` operators may be known. */
MC_MUST_CHECK mc_status mc_format_json(mc_arena *arena, const mc_value *tree, bool omit_empty, bool extended,
                                       const mc_format **out, mc_error *error);
void mc_format_run_json(const mc_format *format, const mc_stream_info *info, mc_text *out);
void mc_format_tell_op(const mc_format_op *op, mc_format_reads *reads);
void mc_format_tell_json(const mc_json_node *node, mc_format_reads *reads);
/* A value as JSON, the names of objects sorted. */
void mc_text_value(mc_text *out, const mc_value *value);
/* A number as Envoy's JSON writes it. */
void mc_text_json_number(mc_text *out, double value);

/* START_TIME and its kin: strftime with %s, %f, %1f to %9f and cctz's %E forms; "" is the default. */
MC_MUST_CHECK mc_status mc_time_format_compile(mc_arena *arena, mc_slice format, bool local, const mc_time_format **out,
                                               mc_error *error);
/* `ns` since 1970. */
void mc_time_format_run(const mc_time_format *format, uint64_t ns, mc_text *out);

#endif
