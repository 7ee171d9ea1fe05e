/* Header mutations of one level: removals, then additions (RT-40 to RT-42). */
#ifndef MC_ROUTE_MUTATE_H
#define MC_ROUTE_MUTATE_H

#include "base/read.h"
#include "http/headers.h"
#include "route/format.h"
#include "route/route.h"

/* HeaderValueOption.append_action */
typedef enum mc_append_action {
    MC_APPEND_OR_ADD,
    MC_ADD_IF_ABSENT,
    MC_OVERWRITE_OR_ADD,
    MC_OVERWRITE_IF_EXISTS,
} mc_append_action;
extern const mc_name_value mc_append_actions[];

typedef struct mc_header_addition {
    mc_slice name; /* lower-case */
    mc_slice value;
    const mc_format *format; /* what the value is made with; NULL: it is `value` */
    mc_append_action action;
    bool keep_empty;
    bool doubtful; /* the name, or the constant value, may be none */
} mc_header_addition;

struct mc_header_mutations {
    mc_headers_kind kind;
    bool formats;             /* some value is not a constant */
    const mc_slice *removals; /* lower-case */
    uint32_t removal_count;
    uint32_t addition_count;
    const mc_header_addition *additions;
};

/* One HeaderValueOption of a filter. */
MC_MUST_CHECK mc_status mc_header_option_compile(mc_arena *arena, const mc_value *option, mc_header_addition *out,
                                                 mc_error *error);
/* A repeated HeaderValueOption of a filter; *out NULL when it is empty. */
MC_MUST_CHECK mc_status mc_header_options_compile(mc_arena *arena, const mc_value *object, const char *field,
                                                  mc_headers_kind kind, const mc_header_mutations **out,
                                                  mc_error *error);

/* NULL mutations do nothing. `info` is what formats read, its header maps included; NULL only where nothing formats. */
MC_MUST_CHECK mc_status mc_header_mutations_apply(const mc_header_mutations *mutations, mc_headers *headers,
                                                  const mc_stream_info *info);

#endif
