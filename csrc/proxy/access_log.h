/* Access logs of one place of the configuration (AL-1 to AL-7): compiled filters, formats and sinks; immutable and
 * reference-counted, because records that a worker has captured still need the formats.
 *
 * A worker decides by the filters whether a record is wanted, and copies what the formats will read into its ring
 * (mc_access_logs_emit); the writer thread formats and writes (log_writer.h). */
#ifndef MC_PROXY_ACCESS_LOG_H
#define MC_PROXY_ACCESS_LOG_H

#include "base/runtime.h"
#include "proxy/log_message.h"
#include "proxy/log_writer.h"
#include "route/format.h"

typedef struct mc_log_filter mc_log_filter; /* log_filter.c */

typedef struct mc_access_log {
    const mc_format *format;       /* of a line; NULL where there is a message */
    const mc_log_message *message; /* for a service; NULL: a line */
    const mc_log_filter *filter;   /* NULL: every record */
    mc_log_sink *sink;
} mc_access_log;

enum { MC_ACCESS_LOGS_MAX = 64 };

struct mc_access_logs {
    _Atomic uint32_t refs;
    mc_arena arena;
    mc_access_log *items;
    uint32_t count;
    uint32_t parts;                /* MC_READS_ of all formats */
    mc_slices names[MC_MAP_COUNT]; /* of the headers they read */
};

/* `field` of `object` (which may be NULL) is a list of AccessLog messages. *out NULL when it is empty. `writer` NULL: nobody
 * would write them, which is an error. */
MC_MUST_CHECK mc_status mc_access_logs_compile(const mc_value *object, const char *field, mc_log_writer *writer,
                                               mc_access_logs **out, mc_error *error);
mc_access_logs *mc_access_logs_ref(mc_access_logs *logs);
void mc_access_logs_unref(mc_access_logs *logs);

/* What a worker gives to a record. */
typedef struct mc_log_port {
    mc_log_writer *writer;
    mc_log_ring *ring;
    const mc_runtime *runtime; /* may be NULL */
    mc_random *random;
} mc_log_port;
/* On the worker's thread; `info` tells the type of record. */
void mc_access_logs_emit(mc_access_logs *logs, const mc_stream_info *info, const mc_log_port *port);

/* A captured record, for the writer. */
typedef struct mc_log_record {
    mc_log_entry entry;
    uint64_t wanted;      /* bit i: logs->items[i] */
    mc_access_logs *logs; /* referenced */
    mc_stream_info info;
} mc_log_record;

/* --- log_filter.c (AL-5) ----------------------------------------------------------------------------------------------- */

/* An AccessLogFilter. */
MC_MUST_CHECK mc_status mc_log_filter_compile(mc_arena *arena, const mc_value *value, const mc_log_filter **out,
                                              mc_error *error);
/* Of MC_READS_: what must be known when it is asked, and is not known unless somebody says so. */
uint32_t mc_log_filter_needs(const mc_log_filter *filter);
bool mc_log_filter_holds(const mc_log_filter *filter, const mc_stream_info *info, const mc_runtime *runtime,
                         mc_random *random);

#endif
