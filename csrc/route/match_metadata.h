/* MetadataMatcher and ValueMatcher (RT-14): a place in metadata, and what must stand there. */
#ifndef MC_ROUTE_MATCH_METADATA_H
#define MC_ROUTE_MATCH_METADATA_H

#include "route/matcher.h"
#include "route/metadata.h"

typedef enum mc_value_match_kind {
    MC_VALUE_NULL,
    MC_VALUE_NUMBER,
    MC_VALUE_RANGE,
    MC_VALUE_STRING,
    MC_VALUE_BOOL,
    MC_VALUE_PRESENT,
    MC_VALUE_LIST, /* some element holds for items[0] */
    MC_VALUE_OR,
} mc_value_match_kind;

typedef struct mc_value_match {
    mc_value_match_kind kind;
    bool flag;         /* MC_VALUE_BOOL, MC_VALUE_PRESENT */
    double start, end; /* MC_VALUE_NUMBER: start alone */
    mc_string_match string;
    const struct mc_value_match *items;
    uint32_t count;
} mc_value_match;

typedef struct mc_metadata_match {
    mc_metadata_place place;
    mc_value_match value;
    bool invert;
} mc_metadata_match;

MC_MUST_CHECK mc_status mc_value_match_compile(mc_arena *arena, const mc_value *value, mc_value_match *out,
                                               mc_error *error);
/* `value` NULL: there is none, which only an inverted MetadataMatcher holds for. 1, 0, or MC_ENOMEM. */
int mc_value_match_test(const mc_value_match *match, const mc_value *value);
MC_MUST_CHECK mc_status mc_metadata_match_compile(mc_arena *arena, const mc_value *value, mc_metadata_match *out,
                                                  mc_error *error);
/* `metadata`: namespace to object, or NULL. */
int mc_metadata_match_test(const mc_metadata_match *match, const mc_value *metadata);

#endif
