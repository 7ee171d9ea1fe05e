/* Value: a parsed JSON tree, the form in which a compile step reads configuration.
 *
 * The control side hands the core the canonical proto3 JSON of an Envoy v3 message: original field names, enums by name,
 * durations as "1.5s", 64-bit integers as decimal strings, default values omitted, Any inlined with "@type". Readers below
 * know these spellings. The tree and its strings live in the arena given to the parser; immutable afterwards.
 *
 * Errors: a reader that finds the wrong kind fills mc_error with the field's name and returns MC_EINVAL; callers put their
 * own part of the path in front with mc_error_under(). */
#ifndef MC_BASE_VALUE_H
#define MC_BASE_VALUE_H

#include "base/arena.h"
#include "base/error.h"

typedef enum mc_value_kind { MC_NULL, MC_BOOL, MC_NUMBER, MC_STRING, MC_LIST, MC_OBJECT } mc_value_kind;

typedef struct mc_value {
    mc_value_kind kind;
    union {
        bool boolean;
        double number;
        mc_slice string;
        struct {
            const struct mc_value *items; /* contiguous */
            const mc_slice *names;        /* MC_OBJECT: names[i] goes with items[i]; NULL for MC_LIST */
            size_t count;
        };
    };
} mc_value;

/* Parses one JSON text (RFC 8259; nesting at most 200). On error: path "", reason with the byte offset. */
MC_MUST_CHECK mc_status mc_value_parse(mc_arena *arena, mc_slice json, const mc_value **out, mc_error *error);

/* A copy whose strings and nodes live in `arena`. */
MC_MUST_CHECK mc_status mc_value_copy(mc_arena *arena, const mc_value *value, const mc_value **out);

/* Field of an object; NULL when `object` is NULL, no object, or has no such field (or it is null). */
const mc_value *mc_value_get(const mc_value *object, const char *name);

/* Readers: *out keeps its value (the caller's default) when the field is absent. */
MC_MUST_CHECK mc_status mc_value_read_bool(const mc_value *object, const char *name, bool *out, mc_error *error);
MC_MUST_CHECK mc_status mc_value_read_u64(const mc_value *object, const char *name, uint64_t *out, mc_error *error);
MC_MUST_CHECK mc_status mc_value_read_u32(const mc_value *object, const char *name, uint32_t *out, mc_error *error);
MC_MUST_CHECK mc_status mc_value_read_i64(const mc_value *object, const char *name, int64_t *out, mc_error *error);
MC_MUST_CHECK mc_status mc_value_read_double(const mc_value *object, const char *name, double *out, mc_error *error);
MC_MUST_CHECK mc_status mc_value_read_string(const mc_value *object, const char *name, mc_slice *out, mc_error *error);
/* A bytes field (base64, RFC 4648 section 4 or 5), decoded into `arena`. */
MC_MUST_CHECK mc_status mc_value_read_bytes(const mc_value *object, const char *name, mc_arena *arena, mc_slice *out,
                                            mc_error *error);
/* "1.5s" to milliseconds, truncated (rule C-3). */
MC_MUST_CHECK mc_status mc_value_read_duration_ms(const mc_value *object, const char *name, uint64_t *out,
                                                  mc_error *error);
/* List field: *out NULL and *count 0 when absent. */
MC_MUST_CHECK mc_status mc_value_read_list(const mc_value *object, const char *name, const mc_value **out,
                                           size_t *count, mc_error *error);
/* Sub-object: *out NULL when absent. */
MC_MUST_CHECK mc_status mc_value_read_object(const mc_value *object, const char *name, const mc_value **out,
                                             mc_error *error);

#endif
