/* Shared by compile steps: propagation of errors with their path, and small readers of values. */
#ifndef MC_BASE_READ_H
#define MC_BASE_READ_H

#include "base/value.h"

/* Passes `status` on; of a MC_EINVAL the path is put below the formatted part. */
mc_status mc_error_in(mc_status status, mc_error *error, const char *format, ...) MC_PRINTF(3, 4);

typedef struct mc_name_value {
    const char *name; /* NULL ends a table */
    uint64_t value;
} mc_name_value;

/* An enum by name; *out keeps its value when absent. */
MC_MUST_CHECK mc_status mc_read_enum(const mc_value *object, const char *field, const mc_name_value *names,
                                     uint64_t *out, mc_error *error);
/* MC_EINVAL naming the first field of `object` that is not in `known` (NULL-ended): a condition that is left
 * out would send requests astray. */
MC_MUST_CHECK mc_status mc_refuse_unknown(const mc_value *object, const char *const *known, mc_error *error);
/* Copies an optional / a required string field. */
MC_MUST_CHECK mc_status mc_read_text(mc_arena *arena, const mc_value *object, const char *field, mc_slice *out,
                                     mc_error *error);
MC_MUST_CHECK mc_status mc_read_name(mc_arena *arena, const mc_value *object, const char *field, mc_slice *out,
                                     mc_error *error);
MC_MUST_CHECK mc_status mc_dup_lower(mc_arena *arena, mc_slice text, mc_slice *out);
/* A DataSource that is inline; filename and environment_variable are resolved before configuration comes
 * here. */
MC_MUST_CHECK mc_status mc_read_data(mc_arena *arena, const mc_value *source, mc_slice *out, mc_error *error);
/* One in a field. */
MC_MUST_CHECK mc_status mc_read_data_source(mc_arena *arena, const mc_value *object, const char *field, mc_slice *out,
                                            mc_error *error);

/* A Percent, 0 to 100; *out stays when it is absent. */
MC_MUST_CHECK mc_status mc_read_percent(const mc_value *object, const char *field, double *out, mc_error *error);
/* A BoolValue: 1, 0; *out becomes -1 when it is absent. */
MC_MUST_CHECK mc_status mc_read_tri(const mc_value *object, const char *field, int8_t *out, mc_error *error);
/* A list of strings, copied; *out NULL when it is empty. */
MC_MUST_CHECK mc_status mc_read_texts(mc_arena *arena, const mc_value *object, const char *field, const mc_slice **out,
                                      uint32_t *count, mc_error *error);
/* The full name of the message in an Any, "" when there is none. */
mc_slice mc_any_type(const mc_value *any);
/* An Any that must be one of the messages in `types`. */
MC_MUST_CHECK mc_status mc_read_extension(const mc_value *object, const char *field, const mc_name_value *types,
                                          const mc_value **config, uint64_t *type, mc_error *error);

#endif
