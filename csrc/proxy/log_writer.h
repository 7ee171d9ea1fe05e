/* The writer of access logs: one thread that takes records out of every worker's ring, formats them in batches and appends the
 * lines to files, or gives batches of messages to the control side (AL-7).
 *
 * A sink collects lines and writes when it has 64 KiB, every ten seconds, when asked to, and at the end. Nobody waits for a
 * disk or a reader: what a full disk refuses, and what a blocked pipe does not take before the sink's buffer is full, is
 * dropped and counted (filesystem.write_failed, filesystem.write_dropped). */
#ifndef MC_PROXY_LOG_WRITER_H
#define MC_PROXY_LOG_WRITER_H

#include "base/error.h"
#include "base/text.h"
#include "proxy/log_ring.h"
#include "stats/stats.h"

typedef struct mc_access_logs mc_access_logs;
typedef struct mc_log_sink mc_log_sink;
typedef struct mc_log_writer mc_log_writer;

typedef struct mc_log_options {
    uint64_t flush_interval_ms;  /* 0: MC_LOG_FLUSH_MS */
    size_t flush_bytes;          /* 0: MC_LOG_FLUSH_BYTES */
    void (*on_batch)(void *ctx); /* the writer's thread: there is a batch to take; NULL: nobody asks */
    void *ctx;
} mc_log_options;
enum { MC_LOG_FLUSH_MS = 10000, MC_LOG_FLUSH_BYTES = 64 * 1024, MC_LOG_BUFFER_MAX = 1 << 20 };

/* With a ring for each worker; NULL: out of memory or descriptors. */
MC_MUST_CHECK mc_log_writer *mc_log_writer_new(mc_stats *stats, uint32_t workers, const mc_log_options *options);
/* After run() has returned, or without one; records left in the rings are forgotten. */
void mc_log_writer_free(mc_log_writer *writer);
mc_log_ring *mc_log_writer_ring(mc_log_writer *writer, uint32_t worker);

/* Control thread. The sink of a file, one for each path; opens the file once, to say at once that it cannot be. */
typedef enum mc_log_target { MC_LOG_FILE, MC_LOG_STDOUT, MC_LOG_STDERR, MC_LOG_REMOTE } mc_log_target;
MC_MUST_CHECK mc_status mc_log_writer_sink(mc_log_writer *writer, mc_log_target target, mc_slice path,
                                           mc_log_sink **out, mc_error *error);
/* The sink of a logger whose batches of messages (log_message.h) the control side sends on. The writer gives away one batch
 * at a time; while the last one is not taken, further messages wait here, up to MC_LOG_BUFFER_MAX, and are then dropped. */
typedef struct mc_log_remote {
    uint32_t number; /* the control side's for the logger, one sink for each */
    uint64_t flush_interval_ms;
    size_t flush_bytes; /* 0: each message */
    mc_slice scope;     /* of the counters logs_written, logs_dropped */
    bool counts_written;
} mc_log_remote;
MC_MUST_CHECK mc_status mc_log_writer_remote(mc_log_writer *writer, const mc_log_remote *remote, mc_log_sink **out);
/* Control thread: the batch that waits, whose bytes are then the caller's; false: there is none. `rest`: run() has returned,
 * so what had not been given away counts too. */
typedef struct mc_log_batch {
    mc_text text;
    uint64_t messages;
} mc_log_batch;
bool mc_log_writer_take(mc_log_writer *writer, uint32_t number, bool rest, mc_log_batch *out);
/* Any thread: the file is closed when nobody uses the sink any more. */
void mc_log_sink_ref(mc_log_sink *sink);
void mc_log_sink_unref(mc_log_sink *sink);

/* Formats and writes until stopped; then writes what is left. On a thread of its own. */
void mc_log_writer_run(mc_log_writer *writer);
/* Any thread. Workers must have stopped emitting before a stop, or their last records may be lost. */
void mc_log_writer_stop(mc_log_writer *writer);
void mc_log_writer_wake(mc_log_writer *writer);
/* Files are opened anew before the next write: who rotates logs has moved them. */
void mc_log_writer_reopen(mc_log_writer *writer);
/* Waits until all that was emitted before is written; false: not within the time. Not on the writer's thread. */
bool mc_log_writer_flush(mc_log_writer *writer, int timeout_ms);
/* Whether some sink was ever asked for: only then a thread is needed. */
bool mc_log_writer_used(const mc_log_writer *writer);
/* Records that did not fit into a ring. */
uint64_t mc_log_writer_dropped(const mc_log_writer *writer);

/* For a worker that has published: wakes a sleeping writer, and any when the ring is more than half full. */
void mc_log_writer_published(mc_log_writer *writer, bool half_full);

#endif
