#include "proxy/log_writer.h"

#include "base/alloc.h"
#include "base/text.h"
#include "event/file.h"
#include "proxy/access_log.h"

/* How long the writer rests between two looks at rings that are in use. */
enum { BUSY_REST_MS = 20, LAST_WAIT_MS = 1000 };

struct mc_log_sink {
    mc_log_sink *next; /* never taken off the list */
    mc_log_target target;
    char *path;             /* NUL-terminated; NULL for stdout and stderr */
    _Atomic uint32_t users; /* one is the writer, until its end */
    /* The writer's: */
    int fd; /* -1: closed */
    bool may_wait;
    mc_text text;
    uint64_t lines;    /* in text */
    uint64_t due_ms;   /* when it is to be written; 0: nothing is there */
    uint64_t reopened; /* generation */
    /* MC_LOG_REMOTE: */
    mc_log_remote remote;
    mc_stat written, dropped;
    size_t size;       /* of the messages in text, as their senders count it */
    _Atomic bool full; /* there is a batch: the control side's until it clears this */
    mc_log_batch batch;
};

#define FILE_STATS(COUNTER, GAUGE)                                                                                     \
    COUNTER(write_buffered)                                                                                            \
    COUNTER(write_completed)                                                                                           \
    COUNTER(write_failed)                                                                                              \
    COUNTER(flushed_by_timer)                                                                                          \
    COUNTER(reopen_failed)                                                                                             \
    COUNTER(write_dropped)                                                                                             \
    GAUGE(write_total_buffered)

struct mc_log_writer {
    mc_stats *stats_store;
    mc_slab *slab;
    struct {
#define FIELD(name) mc_stat name;
        FILE_STATS(FIELD, FIELD)
#undef FIELD
    } stats;
    mc_log_options options;
    int wake, flushed;         /* descriptors of mc_wake_open */
    _Atomic uint32_t sleeping; /* both sides change it by read-modify-write: whoever comes second sees the first */
    _Atomic bool stopping;
    _Atomic uint64_t reopen_wanted, flush_wanted, flush_done;
    mc_log_sink *_Atomic sinks;
    mc_random random;
    uint64_t told_dropped;
    uint32_t ring_count;
    mc_log_ring rings[];
};

#define COUNT(writer, name)        mc_counter_inc((writer)->slab, (writer)->stats.name)
#define COUNT_ALL(writer, name, n) mc_counter_add((writer)->slab, (writer)->stats.name, n)

/* --- life -------------------------------------------------------------------------------------------------------------------- */

mc_log_writer *mc_log_writer_new(mc_stats *stats, uint32_t workers, const mc_log_options *options) {
    mc_log_writer *writer = mc_calloc(1, sizeof *writer + workers * sizeof *writer->rings);
    if (writer == NULL) {
        return NULL;
    }
    const mc_slice scope = MC_SLICE("filesystem");
    writer->stats_store = mc_stats_ref(stats);
    writer->slab = mc_slab_open(stats);
    writer->options = *options;
    writer->options.flush_interval_ms = options->flush_interval_ms == 0 ? MC_LOG_FLUSH_MS : options->flush_interval_ms;
    writer->options.flush_bytes = options->flush_bytes == 0 ? MC_LOG_FLUSH_BYTES : options->flush_bytes;
    writer->ring_count = workers;
    writer->wake = mc_wake_open();
    writer->flushed = mc_wake_open();
    mc_random_seed(&writer->random, mc_clock_ms() ^ (uintptr_t)writer);
#define COUNTER(name) writer->stats.name = mc_stats_scoped(stats, MC_COUNTER, scope, MC_SLICE(#name));
#define GAUGE(name)   writer->stats.name = mc_stats_scoped(stats, MC_GAUGE, scope, MC_SLICE(#name));
    FILE_STATS(COUNTER, GAUGE)
#undef COUNTER
#undef GAUGE
    if (writer->slab == NULL || writer->wake < 0 || writer->flushed < 0) {
        mc_log_writer_free(writer);
        return NULL;
    }
    return writer;
}

static void forget_records(mc_log_ring *ring) {
    for (mc_log_entry *entry; (entry = mc_log_ring_next(ring)) != NULL;) {
        mc_access_logs_unref(((mc_log_record *)entry)->logs);
        mc_log_ring_release(ring, entry);
    }
    mc_log_ring_fini(ring);
}

void mc_log_writer_free(mc_log_writer *writer) {
    if (writer == NULL) {
        return;
    }
    for (uint32_t i = 0; i < writer->ring_count; i++) {
        forget_records(&writer->rings[i]);
    }
    for (mc_log_sink *sink = writer->sinks, *next; sink != NULL; sink = next) {
        next = sink->next;
        if (sink->fd >= 0 && sink->target == MC_LOG_FILE) {
            mc_file_close(sink->fd);
        }
        mc_text_fini(&sink->text);
        mc_text_fini(&sink->batch.text);
        mc_log_sink_unref(sink);
    }
    if (writer->wake >= 0) {
        mc_file_close(writer->wake);
    }
    if (writer->flushed >= 0) {
        mc_file_close(writer->flushed);
    }
    if (writer->slab != NULL) {
        mc_slab_close(writer->slab);
    }
    mc_stats_unref(writer->stats_store);
    mc_free(writer);
}

mc_log_ring *mc_log_writer_ring(mc_log_writer *writer, uint32_t worker) { return &writer->rings[worker]; }

bool mc_log_writer_used(const mc_log_writer *writer) { return atomic_load(&writer->sinks) != NULL; }

uint64_t mc_log_writer_dropped(const mc_log_writer *writer) {
    uint64_t dropped = 0;
    for (uint32_t i = 0; i < writer->ring_count; i++) {
        dropped += atomic_load_explicit(&writer->rings[i].dropped, memory_order_relaxed);
    }
    return dropped;
}

/* --- sinks, on the control thread ------------------------------------------------------------------------------------------------ */

static mc_log_sink *find_sink(mc_log_writer *writer, mc_log_target target, mc_slice path) {
    for (mc_log_sink *sink = atomic_load(&writer->sinks); sink != NULL; sink = sink->next) {
        if (sink->target == target && (target != MC_LOG_FILE || mc_slice_eq(mc_slice_cstr(sink->path), path))) {
            return sink;
        }
    }
    return NULL;
}

static mc_log_sink *find_remote(mc_log_writer *writer, uint32_t number) {
    for (mc_log_sink *sink = atomic_load(&writer->sinks); sink != NULL; sink = sink->next) {
        if (sink->target == MC_LOG_REMOTE && sink->remote.number == number) {
            return sink;
        }
    }
    return NULL;
}

static mc_log_sink *new_sink(mc_log_writer *writer, mc_log_target target, char *path) {
    mc_log_sink *sink = mc_calloc(1, sizeof *sink);
    if (sink == NULL) {
        return NULL;
    }
    atomic_init(&sink->users, 1);
    sink->target = target;
    sink->path = path;
    sink->fd = -1;
    mc_text_init(&sink->text);
    sink->next = atomic_load(&writer->sinks);
    atomic_store(&writer->sinks, sink);
    return sink;
}

mc_status mc_log_writer_sink(mc_log_writer *writer, mc_log_target target, mc_slice path, mc_log_sink **out,
                             mc_error *error) {
    char *name = NULL;
    mc_log_sink *sink = find_sink(writer, target, path);
    if (target == MC_LOG_FILE) {
        if ((name = mc_malloc(path.n + 1)) == NULL) {
            return MC_ENOMEM;
        }
        memcpy(name, path.p, path.n);
        name[path.n] = '\0';
        int fd = path.n == 0 || memchr(path.p, 0, path.n) != NULL ? -1 : mc_file_open_append(name);
        if (fd < 0) {
            mc_free(name);
            return mc_error_set(error, MC_EINVAL, "path", "cannot be opened for writing: %.*s", MC_SLICE_ARG(path));
        }
        mc_file_close(fd);
    }
    if (sink != NULL) {
        mc_free(name);
    } else if ((sink = new_sink(writer, target, name)) == NULL) {
        mc_free(name);
        return MC_ENOMEM;
    }
    mc_log_sink_ref(sink);
    *out = sink;
    return MC_OK;
}

mc_status mc_log_writer_remote(mc_log_writer *writer, const mc_log_remote *remote, mc_log_sink **out) {
    mc_log_sink *sink = find_remote(writer, remote->number);
    if (sink == NULL) {
        if ((sink = new_sink(writer, MC_LOG_REMOTE, NULL)) == NULL) {
            return MC_ENOMEM;
        }
        sink->remote = *remote;
        sink->remote.scope = MC_SLICE_NONE;
        if (remote->counts_written) {
            sink->written = mc_stats_scoped(writer->stats_store, MC_COUNTER, remote->scope, MC_SLICE("logs_written"));
        }
        sink->dropped = mc_stats_scoped(writer->stats_store, MC_COUNTER, remote->scope, MC_SLICE("logs_dropped"));
    }
    mc_log_sink_ref(sink);
    *out = sink;
    return MC_OK;
}

bool mc_log_writer_take(mc_log_writer *writer, uint32_t number, bool rest, mc_log_batch *out) {
    mc_log_sink *sink = find_remote(writer, number);
    if (sink == NULL) {
        return false;
    }
    if (atomic_load_explicit(&sink->full, memory_order_acquire)) {
        *out = sink->batch;
        mc_text_init(&sink->batch.text);
        atomic_store_explicit(&sink->full, false, memory_order_release);
        return true;
    }
    if (!rest || sink->text.n == 0) {
        return false;
    }
    *out = (mc_log_batch){sink->text, sink->lines};
    mc_text_init(&sink->text);
    return true;
}

void mc_log_sink_ref(mc_log_sink *sink) { atomic_fetch_add(&sink->users, 1); }

void mc_log_sink_unref(mc_log_sink *sink) {
    if (sink != NULL && atomic_fetch_sub(&sink->users, 1) == 1) {
        mc_free(sink->path);
        mc_free(sink);
    }
}

/* --- writing, on the writer's thread ------------------------------------------------------------------------------------------------ */

static void open_sink(mc_log_writer *writer, mc_log_sink *sink) {
    const uint64_t wanted = atomic_load(&writer->reopen_wanted);
    if (sink->target != MC_LOG_FILE) {
        sink->fd = sink->target == MC_LOG_STDOUT ? 1 : 2;
        sink->may_wait = mc_file_may_wait(sink->fd);
        sink->reopened = wanted;
        return;
    }
    if (sink->fd >= 0 && sink->reopened == wanted) {
        return;
    }
    int fd = mc_file_open_append(sink->path);
    if (fd < 0) {
        COUNT(writer, reopen_failed); /* the old file goes on being written, if there is one */
    } else {
        if (sink->fd >= 0) {
            mc_file_close(sink->fd);
        }
        sink->fd = fd;
        sink->may_wait = mc_file_may_wait(fd);
    }
    sink->reopened = wanted;
}

static void forget_text(mc_log_writer *writer, mc_log_sink *sink, size_t from_front) {
    mc_gauge_add(writer->slab, writer->stats.write_total_buffered, -(int64_t)from_front);
    if (from_front < sink->text.n) {
        memmove(sink->text.p, sink->text.p + from_front, sink->text.n - from_front);
    }
    sink->text.n -= from_front;
    if (sink->text.n == 0) {
        sink->lines = 0;
        sink->due_ms = 0;
    }
}

/* Writes what can be written without waiting longer than `patience_ms` for a reader. */
static void write_sink(mc_log_writer *writer, mc_log_sink *sink, int patience_ms) {
    size_t done = 0;
    open_sink(writer, sink);
    while (done < sink->text.n && sink->fd >= 0) {
        mc_slice piece = mc_slice_of(sink->text.p + done, sink->text.n - done);
        if (sink->may_wait) {
            if (!mc_file_writable(sink->fd, patience_ms)) {
                break;
            }
            piece = mc_slice_until(piece, MC_FILE_ATOMIC);
        }
        long n = mc_file_write(sink->fd, piece);
        if (n < 0) {
            COUNT(writer, write_failed);
            COUNT_ALL(writer, write_dropped, sink->lines);
            done = sink->text.n;
            break;
        }
        COUNT(writer, write_completed);
        done += (size_t)n;
    }
    if (sink->fd < 0) {
        COUNT(writer, write_failed);
        COUNT_ALL(writer, write_dropped, sink->lines);
        done = sink->text.n;
    }
    forget_text(writer, sink, done);
}

static void append_line(mc_log_writer *writer, mc_log_sink *sink, const mc_format *format, const mc_stream_info *info) {
    const size_t before = sink->text.n;
    if (before >= MC_LOG_BUFFER_MAX) { /* a reader that does not read */
        COUNT(writer, write_dropped);
        return;
    }
    mc_format_run(format, info, &sink->text);
    if (sink->text.failed) {
        sink->text.failed = false;
        sink->text.n = before;
        COUNT(writer, write_dropped);
        return;
    }
    sink->lines++;
    COUNT(writer, write_buffered);
    mc_gauge_add(writer->slab, writer->stats.write_total_buffered, (int64_t)(sink->text.n - before));
    if (sink->due_ms == 0) {
        sink->due_ms = mc_clock_ms() + writer->options.flush_interval_ms;
    }
    if (sink->text.n >= writer->options.flush_bytes) {
        write_sink(writer, sink, 0);
    }
}

/* Away with what has come together, if the last batch was taken. */
static void give_away(mc_log_writer *writer, mc_log_sink *sink) {
    if (sink->text.n == 0 || atomic_load_explicit(&sink->full, memory_order_acquire)) {
        return;
    }
    sink->batch = (mc_log_batch){sink->text, sink->lines};
    mc_text_init(&sink->text);
    sink->lines = sink->size = 0;
    sink->due_ms = 0;
    atomic_store_explicit(&sink->full, true, memory_order_release);
    if (writer->options.on_batch != NULL) {
        writer->options.on_batch(writer->options.ctx);
    }
}

static void append_message(mc_log_writer *writer, mc_log_sink *sink, const mc_log_message *message,
                           const mc_stream_info *info) {
    const size_t before = sink->text.n;
    const size_t size = before >= MC_LOG_BUFFER_MAX ? 0 : mc_log_message_write(message, info, &sink->text);
    if (size == 0 || sink->text.failed) {
        sink->text.failed = false;
        sink->text.n = before;
        mc_counter_inc(writer->slab, sink->dropped);
        return;
    }
    sink->lines++;
    sink->size += size;
    if (sink->remote.counts_written) {
        mc_counter_inc(writer->slab, sink->written);
    }
    if (sink->due_ms == 0) {
        sink->due_ms = mc_clock_ms() + sink->remote.flush_interval_ms;
    }
    if (sink->size >= sink->remote.flush_bytes) {
        give_away(writer, sink);
        sink->due_ms = sink->text.n > 0 ? mc_clock_ms() + BUSY_REST_MS : 0;
    }
}

static void format_record(mc_log_writer *writer, mc_log_record *record) {
    record->info.random = &writer->random;
    for (uint64_t wanted = record->wanted; wanted != 0; wanted &= wanted - 1) {
        const mc_access_log *log = &record->logs->items[__builtin_ctzll(wanted)];
        if (log->message != NULL) {
            append_message(writer, log->sink, log->message, &record->info);
        } else {
            append_line(writer, log->sink, log->format, &record->info);
        }
    }
    mc_access_logs_unref(record->logs);
}

/* Everything that is in the rings now; true: there was something. */
static bool drain(mc_log_writer *writer) {
    bool any = false;
    for (uint32_t i = 0; i < writer->ring_count; i++) {
        mc_log_ring *ring = &writer->rings[i];
        for (mc_log_entry *entry; (entry = mc_log_ring_next(ring)) != NULL; any = true) {
            format_record(writer, (mc_log_record *)entry);
            mc_log_ring_release(ring, entry);
        }
    }
    uint64_t dropped = mc_log_writer_dropped(writer);
    COUNT_ALL(writer, write_dropped, dropped - writer->told_dropped);
    writer->told_dropped = dropped;
    return any;
}

/* Writes what is due, or all; closes what nobody uses. Returns when the next sink is due, UINT64_MAX: none. */
static uint64_t write_sinks(mc_log_writer *writer, bool all, int patience_ms) {
    uint64_t next = UINT64_MAX;
    const uint64_t now = mc_clock_ms(), wanted = atomic_load(&writer->reopen_wanted);
    for (mc_log_sink *sink = atomic_load(&writer->sinks); sink != NULL; sink = sink->next) {
        const bool by_timer = sink->due_ms != 0 && sink->due_ms <= now;
        if (sink->target == MC_LOG_REMOTE) {
            if (all || by_timer) {
                give_away(writer, sink);
                sink->due_ms = sink->text.n > 0 ? now + BUSY_REST_MS : 0; /* the last batch is not taken: again soon */
            }
        } else if (sink->text.n > 0 && (all || by_timer || sink->reopened != wanted)) {
            COUNT_ALL(writer, flushed_by_timer, by_timer);
            write_sink(writer, sink, patience_ms);
            sink->due_ms = sink->text.n > 0 ? now + BUSY_REST_MS : 0; /* a blocked reader: again soon */
        }
        if (sink->target == MC_LOG_FILE && sink->text.n == 0 && sink->fd >= 0 &&
            (atomic_load(&sink->users) == 1 || sink->reopened != wanted)) {
            mc_file_close(sink->fd);
            sink->fd = -1;
        }
        if (sink->due_ms != 0 && sink->due_ms < next) {
            next = sink->due_ms;
        }
    }
    return next;
}

static bool rings_empty(const mc_log_writer *writer) {
    for (uint32_t i = 0; i < writer->ring_count; i++) {
        if (!mc_log_ring_empty(&writer->rings[i])) {
            return false;
        }
    }
    return true;
}

/* Until something is due or somebody calls. A writer that sleeps is woken by the next record; one that only rests is not, which
 * spares the workers the system call. */
static void rest(mc_log_writer *writer, bool busy, uint64_t next_due_ms) {
    const uint64_t now = mc_clock_ms();
    uint64_t until_due = next_due_ms == UINT64_MAX ? UINT64_MAX : next_due_ms <= now ? 0 : next_due_ms - now;
    if (busy) {
        mc_wake_wait(writer->wake, until_due < BUSY_REST_MS ? (int)until_due : BUSY_REST_MS);
        return;
    }
    (void)atomic_exchange(&writer->sleeping, 1);
    if (rings_empty(writer) && !atomic_load(&writer->stopping)) {
        mc_wake_wait(writer->wake, until_due > 60000 ? 60000 : (int)until_due);
    }
    atomic_store(&writer->sleeping, 0);
}

void mc_log_writer_run(mc_log_writer *writer) {
    while (!atomic_load(&writer->stopping)) {
        const uint64_t flush = atomic_load(&writer->flush_wanted);
        const bool busy = drain(writer), all = flush != atomic_load(&writer->flush_done);
        const uint64_t next = write_sinks(writer, all, 0);
        if (all) {
            atomic_store(&writer->flush_done, flush);
            mc_wake_signal(writer->flushed);
        } else {
            rest(writer, busy, next);
        }
    }
    (void)drain(writer);
    (void)write_sinks(writer, true, LAST_WAIT_MS);
    atomic_store(&writer->flush_done, atomic_load(&writer->flush_wanted));
    mc_wake_signal(writer->flushed);
}

/* --- calls from other threads ---------------------------------------------------------------------------------------------------- */

void mc_log_writer_wake(mc_log_writer *writer) { mc_wake_signal(writer->wake); }

void mc_log_writer_stop(mc_log_writer *writer) {
    atomic_store(&writer->stopping, true);
    mc_log_writer_wake(writer);
}

void mc_log_writer_reopen(mc_log_writer *writer) {
    atomic_fetch_add(&writer->reopen_wanted, 1);
    mc_log_writer_wake(writer);
}

bool mc_log_writer_flush(mc_log_writer *writer, int timeout_ms) {
    const uint64_t wanted = atomic_fetch_add(&writer->flush_wanted, 1) + 1, start = mc_clock_ms();
    mc_log_writer_wake(writer);
    while (atomic_load(&writer->flush_done) < wanted) {
        uint64_t waited = mc_clock_ms() - start;
        if (waited >= (uint64_t)timeout_ms) {
            return false;
        }
        mc_wake_wait(writer->flushed, (int)((uint64_t)timeout_ms - waited));
    }
    return true;
}

void mc_log_writer_published(mc_log_writer *writer, bool half_full) {
    const bool sleeping = atomic_fetch_or(&writer->sleeping, 0) != 0;
    if (half_full || (sleeping && atomic_exchange(&writer->sleeping, 0) != 0)) {
        mc_wake_signal(writer->wake);
    }
}
