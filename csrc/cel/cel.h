/* Common Expression Language: an expression compiled once, evaluated over what is known of a request.
 *
 * The language is that of cel-spec as Envoy builds it: without comprehensions (the macros all, exists, exists_one, map and
 * filter are refused), conversion to string and concatenation only where the options say so. Since nothing loops, an
 * evaluation takes time and memory proportional to the expression and to the values that it reads.
 *
 * A program is immutable, lives in the arena it was compiled into, and may run on any thread. */
#ifndef MC_CEL_CEL_H
#define MC_CEL_CEL_H

#include "base/error.h"
#include "cel/value.h"
#include "http/stream_info.h"

enum {
    MC_CEL_TEXT_MAX = 64 * 1024, /* bytes of an expression */
    MC_CEL_DEPTH_MAX = 250,      /* of one in another */
    MC_CEL_MAP_MAX = 1024,       /* pairs of a literal */
};

typedef struct mc_cel_program mc_cel_program;

/* envoy.config.core.v3.CelExpressionConfig. */
typedef struct mc_cel_options {
    bool string_conversion, string_concat, string_functions;
    bool hides_node; /* xds.node is absent: Envoy's filters and matchers do not know it */
} mc_cel_options;
MC_MUST_CHECK mc_status mc_cel_options_read(const mc_value *object, const char *field, mc_cel_options *out,
                                            mc_error *error);

/* MC_EINVAL: error->path "" and what is wrong where. */
MC_MUST_CHECK mc_status mc_cel_compile_text(mc_arena *arena, mc_slice text, const mc_cel_options *options,
                                            const mc_cel_program **out, mc_error *error);
/* A parsed expression: google.api.expr.v1alpha1.Expr or cel.expr.Expr. */
MC_MUST_CHECK mc_status mc_cel_compile_expr(mc_arena *arena, const mc_value *expr, const mc_cel_options *options,
                                            const mc_cel_program **out, mc_error *error);

/* The same out of an xds.type.v3.CelExpression. */
MC_MUST_CHECK mc_status mc_cel_compile_expression(mc_arena *arena, const mc_value *message,
                                                  const mc_cel_options *options, const mc_cel_program **out,
                                                  mc_error *error);

/* Parts of a stream info that a program may read, for who must keep them until later. */
enum {
    MC_CEL_READS_REQUEST = 1, /* headers */
    MC_CEL_READS_RESPONSE = 2,
    MC_CEL_READS_TRAILERS = 4,
    MC_CEL_READS_TLS = 8,
    MC_CEL_READS_DYNAMIC_METADATA = 16,
    MC_CEL_READS_OTHER_METADATA = 32,
    MC_CEL_READS_FILTER_STATE = 64,
    MC_CEL_READS_LOCAL = 128, /* the local address of the upstream connection */
    MC_CEL_READS_PLACE = 256, /* the node, the locality of the host */
};
uint32_t mc_cel_reads(const mc_cel_program *program);

/* *out is of kind MC_CEL_ERROR where the expression has no result. MC_ENOMEM: `arena` is exhausted. */
MC_MUST_CHECK mc_status mc_cel_eval(const mc_cel_program *program, const mc_stream_info *info, mc_arena *arena,
                                    mc_cel *out);
/* 1: the result is true; 0: anything else, an error too; MC_ENOMEM. */
int mc_cel_holds(const mc_cel_program *program, const mc_stream_info *info, mc_arena *arena);

#endif
