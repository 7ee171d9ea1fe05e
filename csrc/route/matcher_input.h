/* The inputs of the generic matcher (RT-15): what it may look at of a request. */
#ifndef MC_ROUTE_MATCHER_INPUT_H
#define MC_ROUTE_MATCHER_INPUT_H

#include "route/match_metadata.h"

typedef enum mc_tree_input_kind {
    MC_INPUT_HEADER,
    MC_INPUT_QUERY,
    MC_INPUT_ENVIRONMENT,
    MC_INPUT_DESTINATION_IP,
    MC_INPUT_DESTINATION_PORT,
    MC_INPUT_SOURCE_IP,
    MC_INPUT_SOURCE_PORT,
    MC_INPUT_DIRECT_SOURCE_IP,
    MC_INPUT_SOURCE_TYPE,
    MC_INPUT_SERVER_NAME,
    MC_INPUT_FILTER_STATE,
    MC_INPUT_METADATA,
    MC_INPUT_URI_SAN,
    MC_INPUT_DNS_SAN,
    MC_INPUT_SUBJECT,
    MC_INPUT_ATTRIBUTES, /* of expressions, and for them alone */
} mc_tree_input_kind;

typedef struct mc_tree_input {
    mc_tree_input_kind kind;
    mc_slice name;  /* header (lower-case), parameter, key; what an environment variable holds */
    mc_slice field; /* of the object under the key; empty: the object is a text */
    mc_metadata_place place;
} mc_tree_input;

/* A TypedExtensionConfig. *reads_info becomes true when the input is not the request's own; else it stays. */
MC_MUST_CHECK mc_status mc_tree_input_compile(mc_arena *arena, const mc_value *value, mc_tree_input *out,
                                              bool *reads_info, mc_error *error);
/* The input as text; p == NULL: there is none. */
MC_MUST_CHECK mc_status mc_tree_input_text(const mc_tree_input *input, const mc_match_input *in, mc_slice *out);
/* MC_INPUT_METADATA as it is; NULL: there is none. */
const mc_value *mc_tree_input_metadata(const mc_tree_input *input, const mc_match_input *in);

#endif
