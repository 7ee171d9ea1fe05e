/* Connection: a byte stream with back-pressure over a transport (raw socket, memory pair; TLS later), owned
 * by one worker.
 *
 * Reading: bytes are read into the net's one shared read buffer and handed to on_data as a slice that dies
 * when the callback returns; what on_data does not consume is kept by the connection and offered again,
 * contiguous and in front of new bytes, when some arrive or reading is resumed. At most MC_NET_KEEP bytes are
 * kept: then the connection is not read until it is resumed. An idle connection holds no buffer. A short read
 * is not followed by another read: the next edge tells (performance note 1). One connection reads at most
 * MC_NET_READ_ROUNDS buffers before the others have their turn.
 *
 * Writing: mc_conn_write BORROWS the slices until the end of the current callback (where on_data is called in
 * a row, each call ends one), when everything queued is sent by one writev and only what the kernel did not
 * take is copied into the connection's buffer. This happens before any other deferred work. Above the high
 * watermark on_high is called once, and on_low once when drained to half of it (LIS-13): whoever feeds the
 * connection stops reading in between. After a failed write the connection still delivers what the peer had
 * sent (an early answer, say), unless reading is paused, and then ends with MC_CLOSE_RESET.
 *
 * Closing: every connection ends in exactly one on_close, delivered from the deferred queue, never inline;
 * after it the owner may free the memory. No other callback follows a close. Callbacks may call anything,
 * also close. */
#ifndef MC_NET_CONN_H
#define MC_NET_CONN_H

#include "base/buffer.h"
#include "event/loop.h"
#include "event/socket.h"

typedef struct mc_conn mc_conn;
typedef struct mc_net mc_net;

enum { MC_NET_READ = 65536, MC_NET_KEEP = 65536, MC_NET_READ_ROUNDS = 4 };

/* What a worker's connections share: read buffer, chunk pool, the list of connections to flush. */
MC_MUST_CHECK mc_net *mc_net_new(mc_loop *loop);
/* After the on_close of all its connections, and before the loop. */
void mc_net_free(mc_net *net);
mc_loop *mc_net_loop(mc_net *net);
mc_chunk_pool *mc_net_chunks(mc_net *net);
/* Scratch bytes that live until the end of the current callback, as borrowed writes need; NULL when out of
 * memory. */
MC_MUST_CHECK char *mc_net_scratch(mc_net *net, size_t n);
/* Takes the buffer's bytes over (it is empty afterwards, and must draw on the net's chunks) and keeps them until the end
 * of the current callback, because pieces of them were given to mc_conn_write. */
void mc_net_retire(mc_net *net, mc_buffer *buffer);

typedef enum mc_close_reason {
    MC_CLOSE_LOCAL,          /* mc_conn_close by us */
    MC_CLOSE_REMOTE,         /* FIN from the peer, after all its bytes were delivered */
    MC_CLOSE_RESET,          /* RST, a write error, or no memory to buffer */
    MC_CLOSE_CONNECT_FAILED, /* never connected */
    MC_CLOSE_TIMEOUT         /* connect timeout */
} mc_close_reason;

/* One table per kind of owner (downstream, upstream). All but on_data and on_close may be NULL. */
typedef struct mc_conn_events {
    void (*on_connected)(mc_conn *conn);
    /* Returns the bytes consumed, 0..data.n. */
    size_t (*on_data)(mc_conn *conn, mc_slice data);
    /* The peer half-closed, all bytes delivered. NULL: the connection closes with MC_CLOSE_REMOTE. */
    void (*on_eof)(mc_conn *conn);
    /* The peer closed its side, or was lost, while reading is paused: bytes of it may be unread. */
    void (*on_hangup)(mc_conn *conn);
    void (*on_high)(mc_conn *conn);
    void (*on_low)(mc_conn *conn);
    /* All written bytes have left (buffer empty again after having been non-empty), also of a connection that lingers.
     * After on_low. */
    void (*on_drained)(mc_conn *conn);
    void (*on_close)(mc_conn *conn, mc_close_reason reason);
} mc_conn_events;

/* How bytes move. Non-blocking; results: bytes, 0 (read: end of stream), or -EAGAIN / other -errno. */
typedef struct mc_transport {
    long (*read)(mc_conn *conn, char *out, size_t n);
    long (*writev)(mc_conn *conn, const struct iovec *pieces, int count);
    void (*shutdown_write)(mc_conn *conn);
    /* The pending error, as positive errno: how a connect ended, or a reset after the end of stream. 0: none. */
    int (*error)(mc_conn *conn);
    /* Releases the transport's own state; the io is closed by the connection. */
    void (*close)(mc_conn *conn);
    bool encrypted;
    /* A short read means that nothing is left until the next edge; otherwise reading goes on to -EAGAIN. */
    bool short_read_is_last;
} mc_transport;

/* Embedded in its owner as a member; fields are readable by the owner, written by net/ only, unless said. */
struct mc_conn {
    mc_io io;
    mc_net *net;
    const mc_conn_events *events;
    const mc_transport *transport;
    uint8_t state;        /* MC_CONN_* */
    uint8_t close_reason; /* mc_close_reason */
    int connect_error;    /* errno of a connect that failed; 0: none is known */
    uint8_t read_off;     /* count of mc_conn_pause_reading */
    bool readable;        /* the source may have bytes: an edge was not yet read off */
    bool hangup;          /* the peer closed its side: read on to the end, short read or not */
    bool reoffer;         /* kept bytes are owed to on_data */
    bool offering;        /* inside on_data */
    bool eof;             /* end of stream seen */
    bool eof_told;
    bool eof_joined; /* it was read together with the last bytes */
    bool above_high;
    bool fin_wanted;
    bool fin_sent;
    bool write_failed;
    bool close_after_flush;
    bool linger;             /* closing: what the peer still sends is read and dropped until its FIN */
    uint32_t high_watermark; /* bytes; 0: no limit. Owner may set. */
    uint32_t borrowed_count;
    struct iovec *borrowed; /* this callback's writes, a block from the net's pool */
    mc_link flush;          /* on the net's flush list */
    mc_buffer in;           /* bytes on_data left */
    mc_buffer out;          /* bytes the kernel did not take */
    uint64_t rx_bytes, tx_bytes;
    uint64_t id;                      /* from 1; of all the worker's connections */
    uint64_t opened_us, connected_us; /* by the loop's clock; 0: not yet */
    mc_deferred closing;
    struct mc_memory_end *memory; /* memory transport's side, else NULL */
};

/* CLOSING: flushing or lingering, no more callbacks but on_close (and, lingering, on_drained). CLOSED: the descriptor is gone, on_close
 * called or queued. */
enum { MC_CONN_CONNECTING = 1, MC_CONN_OPEN, MC_CONN_CLOSING, MC_CONN_CLOSED };

/* An accepted socket; takes the descriptor over (also on failure, which no on_close follows). */
MC_MUST_CHECK mc_status mc_conn_accept(mc_conn *conn, mc_net *net, int fd, const mc_conn_events *events);
/* Starts connecting; on_connected or on_close(MC_CLOSE_CONNECT_FAILED) follows, never inline. What is written
 * before is sent once connected. An error is of our own means (memory, the loop's table), and no callback
 * follows it. */
MC_MUST_CHECK mc_status mc_conn_connect_from(mc_conn *conn, mc_net *net, const mc_address *address,
                                             const mc_connect_options *options, bool *bind_failed,
                                             const mc_conn_events *events);
MC_MUST_CHECK mc_status mc_conn_connect(mc_conn *conn, mc_net *net, const mc_address *address,
                                        const mc_conn_events *events);

/* A connected in-memory pair on one loop (both nets may be the same), both open from the start: no
 * on_connected. Bytes written to one are read from the other, in pieces and after delays chosen by the
 * options. */
typedef struct mc_memory_options {
    uint32_t capacity;     /* bytes in flight each way before writes say EAGAIN; 0: 64 KiB */
    bool split;            /* random short reads and writes (from the loop's generator) */
    uint32_t max_delay_ms; /* random delivery delay up to this */
} mc_memory_options;
MC_MUST_CHECK mc_status mc_conn_memory_pair(mc_conn *a, mc_net *net_a, const mc_conn_events *events_a, mc_conn *b,
                                            mc_net *net_b, const mc_conn_events *events_b,
                                            const mc_memory_options *options);
/* The same as if `a` had connected to `b`: on_connected of `a` follows. */
MC_MUST_CHECK mc_status mc_conn_memory_connect(mc_conn *a, mc_net *net_a, const mc_conn_events *events_a, mc_conn *b,
                                               mc_net *net_b, const mc_conn_events *events_b,
                                               const mc_memory_options *options);
/* Faults, on memory connections only (ignored on others and on closed ones). Reset: both sides get
 * ECONNRESET, after what had arrived; what was in flight is lost. Stall: nothing that `conn` sends, FIN
 * included, arrives until switched off. */
void mc_memory_reset(mc_conn *conn);
void mc_memory_stall(mc_conn *conn, bool on);

/* Queues bytes, borrowed until the current callback ends (outside a callback: until the next turn's deferred
 * run). MC_ECLOSED after close. A failure to buffer closes the connection with MC_CLOSE_RESET. */
mc_status mc_conn_write(mc_conn *conn, mc_slice bytes);
/* Bytes ever given to mc_conn_write, for comparison with tx_bytes. */
static inline uint64_t mc_conn_written(const mc_conn *conn) {
    uint64_t n = conn->tx_bytes + conn->out.length;
    for (uint32_t i = 0; i < conn->borrowed_count; i++) {
        n += conn->borrowed[i].iov_len;
    }
    return n;
}
/* Bytes not yet taken by the kernel. */
static inline size_t mc_conn_buffered(const mc_conn *conn) { return conn->out.length; }

/* Counted: reading goes on when every pause was resumed. Resuming delivers what was kept, not inline. */
void mc_conn_pause_reading(mc_conn *conn);
void mc_conn_resume_reading(mc_conn *conn);

/* Sends FIN after what is queued; later writes are MC_ECLOSED. Reading goes on. */
void mc_conn_shutdown_write(mc_conn *conn);
/* Closes now; queued bytes are dropped unless `flush`, which waits until they left (the owner guards that by
 * a timer and mc_conn_abort). on_close(MC_CLOSE_LOCAL) follows, or MC_CLOSE_RESET when the flush failed. */
void mc_conn_close(mc_conn *conn, bool flush);
/* Closes such that the peer gets all bytes even when it is still sending: flushes, sends FIN, drops what the
 * peer sends until its FIN; on_close(MC_CLOSE_LOCAL) follows. The owner guards the wait by a timer and
 * mc_conn_abort (LIS-15 FlushWriteAndDelay). Closing a socket with unread bytes resets it, and the reset can
 * overtake the answer. */
void mc_conn_close_linger(mc_conn *conn);
/* Closes now, also one that is closing, with a reason of the owner's (e.g. MC_CLOSE_TIMEOUT), dropping queued
 * bytes. */
void mc_conn_abort(mc_conn *conn, mc_close_reason reason);

#endif
