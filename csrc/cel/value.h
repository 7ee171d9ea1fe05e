/* The values of CEL (cel-spec, "Values"), small and copied freely. Texts, items and what stands behind maps belong to the
 * arena of the evaluation, the program, or the stream info; a value lives as long as those.
 *
 * An error carries no text: nothing tells of an expression that failed, it only has no result. */
#ifndef MC_CEL_VALUE_H
#define MC_CEL_VALUE_H

#include "base/text.h"
#include "base/value.h"
#include "http/headers.h"

typedef enum mc_cel_kind {
    MC_CEL_ERROR,
    MC_CEL_NULL,
    MC_CEL_BOOL,
    MC_CEL_INT,
    MC_CEL_UINT,
    MC_CEL_DOUBLE,
    MC_CEL_STRING,
    MC_CEL_BYTES,
    MC_CEL_LIST,
    MC_CEL_MAP,
    MC_CEL_DURATION,
    MC_CEL_TIMESTAMP,
    MC_CEL_TYPE,
    MC_CEL_MESSAGE,
    MC_CEL_KIND_COUNT
} mc_cel_kind;

/* What holds the members of a list or a map. */
typedef enum mc_cel_form {
    MC_CEL_ITEMS,        /* `items`, of a map a key and its value in turn */
    MC_CEL_JSON,         /* `json`, a list or an object, NULL: empty; numbers are doubles (google.protobuf.Struct) */
    MC_CEL_HEADERS,      /* `headers`, NULL: none; names in any case, values joined */
    MC_CEL_ATTRIBUTES,   /* what an mc_cel_root names: attributes.h */
    MC_CEL_FILTER_STATE, /* `json`: objects by key, read as bytes or by their fields */
} mc_cel_form;

/* Messages, read out of their canonical JSON. */
typedef enum mc_cel_message { MC_CEL_METADATA, MC_CEL_NODE, MC_CEL_LOCALITY } mc_cel_message;

typedef struct mc_cel {
    uint8_t kind;   /* mc_cel_kind */
    uint8_t form;   /* of a list or map */
    uint16_t which; /* a mc_cel_message, a mc_cel_root, or the mc_cel_kind that a type is of */
    union {
        uint32_t count; /* of items: members of a list, pairs of a map */
        uint32_t ns;    /* of a time: after `seconds`, below 10^9 */
    };
    union {
        bool boolean;
        int64_t i;
        uint64_t u;
        double d;
        int64_t seconds; /* a timestamp's since 1970 */
        const struct mc_cel *items;
        const mc_value *json;
        const mc_headers *headers;
        mc_slice text;
    };
} mc_cel;

#define MC_CEL_FAILED ((mc_cel){.kind = MC_CEL_ERROR})

static inline mc_cel mc_cel_bool(bool value) { return (mc_cel){.kind = MC_CEL_BOOL, .boolean = value}; }
static inline mc_cel mc_cel_int(int64_t value) { return (mc_cel){.kind = MC_CEL_INT, .i = value}; }
static inline mc_cel mc_cel_uint(uint64_t value) { return (mc_cel){.kind = MC_CEL_UINT, .u = value}; }
static inline mc_cel mc_cel_double(double value) { return (mc_cel){.kind = MC_CEL_DOUBLE, .d = value}; }
static inline mc_cel mc_cel_string(mc_slice value) { return (mc_cel){.kind = MC_CEL_STRING, .text = value}; }
static inline mc_cel mc_cel_bytes(mc_slice value) { return (mc_cel){.kind = MC_CEL_BYTES, .text = value}; }
static inline mc_cel mc_cel_type(mc_cel_kind of) { return (mc_cel){.kind = MC_CEL_TYPE, .which = (uint16_t)of}; }
static inline mc_cel mc_cel_message_of(mc_cel_message type, const mc_value *json) {
    return (mc_cel){.kind = MC_CEL_MESSAGE, .which = (uint16_t)type, .json = json};
}
/* `ns` nanoseconds, which may be negative. */
mc_cel mc_cel_duration_ns(int64_t ns);
mc_cel mc_cel_timestamp_ns(uint64_t ns);
/* A member of a Struct. */
mc_cel mc_cel_from_json(const mc_value *value);

/* The text of Envoy's %CEL()%; false: an error has none. */
bool mc_cel_print(const mc_cel *value, mc_text *out);
/* The value as JSON, Envoy's %TYPED_CEL()%; MC_EINVAL: it has no such form. */
MC_MUST_CHECK mc_status mc_cel_to_json(const mc_cel *value, mc_arena *arena, mc_value *out);

#endif
