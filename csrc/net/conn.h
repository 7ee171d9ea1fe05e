/* Connection: a byte stream with back-pressure over a transport (raw socket, memory pair; TLS later), owned by one worker.
 *
 * Reading: bytes are read into the net's one shared read buffer and handed to on_data as a slice that dies when the callback
 * returns; what on_data does not consume is kept by the connection and offered again, in front of new bytes, once reading
 * continues. An idle connection holds no buffer. A short read is not followed by another read: the next edge tells
 * (performance note 1).
 *
 * Writing: mc_conn_write BORROWS the slices until the end of the current callback, when everything queued is sent by one
 * writev and only what the kernel did not take is copied into the connection's buffer. Above the high watermark on_high is
 * called once, and on_low once when drained below half of it: whoever feeds the connection stops reading in between.
 *
 * Closing: every connection ends in exactly one on_close, delivered from the deferred queue, never inline; after it the owner may
 * free the memory. Callbacks may call anything, also close. */
#ifndef MC_NET_CONN_H
#define MC_NET_CONN_H

#include "base/buffer.h"
#include "event/loop.h"
#include "event/socket.h"

typedef struct mc_conn mc_conn;
typedef struct mc_net mc_net;

/* What a worker's connections share: read buffer, chunk pool, the list of connections to flush. */
MC_MUST_CHECK mc_net *mc_net_new(mc_loop *loop);
void mc_net_free(mc_net *net);
mc_loop *mc_net_loop(mc_net *net);
mc_chunk_pool *mc_net_chunks(mc_net *net);
/* Scratch bytes that live until the end of the current callback, as borrowed writes need; NULL when out of memory. */
MC_MUST_CHECK char *mc_net_scratch(mc_net *net, size_t n);
/* Takes the buffer's bytes over (it is empty afterwards) and keeps them until the end of the current callback, because pieces
 * of them were given to mc_conn_write. */
void mc_net_retire(mc_net *net, mc_buffer *buffer);

typedef enum mc_close_reason {
    MC_CLOSE_LOCAL,          /* mc_conn_close by us */
    MC_CLOSE_REMOTE,         /* FIN from the peer, after all its bytes were delivered */
    MC_CLOSE_RESET,          /* RST, or a write error */
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
    void (*on_high)(mc_conn *conn);
    void (*on_low)(mc_conn *conn);
    /* All written bytes have left (buffer empty again after having been non-empty). */
    void (*on_drained)(mc_conn *conn);
    void (*on_close)(mc_conn *conn, mc_close_reason reason);
} mc_conn_events;

/* How bytes move. Non-blocking; results: bytes, 0 (read: end of stream), or -EAGAIN / other -errno. */
typedef struct mc_transport {
    long (*read)(mc_conn *conn, char *out, size_t n);
    long (*writev)(mc_conn *conn, const struct iovec *pieces, int count);
    void (*shutdown_write)(mc_conn *conn);
    void (*close)(mc_conn *conn);
    bool encrypted;
} mc_transport;

/* Embedded in its owner as a member; fields are readable by the owner, written by net/ only, unless said. */
struct mc_conn {
    mc_io io;
    mc_net *net;
    const mc_conn_events *events;
    const mc_transport *transport;
    struct mc_memory_end *memory; /* memory transport's side, else NULL */
    mc_buffer in;                 /* bytes on_data left */
    mc_buffer out;                /* bytes the kernel did not take */
    mc_link flush;                /* on the net's flush list */
    struct iovec *borrowed;       /* this callback's writes, from the net's pool */
    uint32_t borrowed_count;
    uint32_t high_watermark; /* bytes; 0: no limit. Owner may set. */
    mc_deferred closing;
    mc_close_reason close_reason;
    uint8_t state;      /* MC_CONN_* */
    uint8_t read_off;   /* count of mc_conn_pause_reading */
    bool readable : 1;  /* an edge is owed to the reader */
    bool eof : 1;       /* end of stream seen */
    bool eof_told : 1;
    bool above_high : 1;
    bool in_callback : 1;
    bool close_after_flush : 1;
    uint64_t rx_bytes, tx_bytes;
};

enum { MC_CONN_CONNECTING = 1, MC_CONN_OPEN, MC_CONN_CLOSING, MC_CONN_CLOSED };

/* An accepted socket; takes the descriptor over (also on failure). */
MC_MUST_CHECK mc_status mc_conn_accept(mc_conn *conn, mc_net *net, int fd, const mc_conn_events *events);
/* Starts connecting; on_connected or on_close(MC_CLOSE_CONNECT_FAILED) follows, never inline. */
MC_MUST_CHECK mc_status mc_conn_connect(mc_conn *conn, mc_net *net, const mc_address *address, const mc_conn_events *events);
/* A connected in-memory pair on one loop (both nets may be the same). `a` and `b` are connections; bytes written to one are
 * read from the other, in pieces and after delays chosen by the options. */
typedef struct mc_memory_options {
    uint32_t capacity;    /* bytes in flight each way before writes say EAGAIN; 0: 64 KiB */
    bool split;           /* random split points on reads (from the loop's generator) */
    uint32_t max_delay_ms; /* random delivery delay up to this */
} mc_memory_options;
MC_MUST_CHECK mc_status mc_conn_memory_pair(mc_conn *a, mc_net *net_a, const mc_conn_events *events_a, mc_conn *b, mc_net *net_b,
                                            const mc_conn_events *events_b, const mc_memory_options *options);

/* Queues bytes, borrowed until the current callback ends (outside a callback: until the next turn's deferred run). MC_ECLOSED
 * after close. A failure to buffer closes the connection with MC_CLOSE_RESET. */
mc_status mc_conn_write(mc_conn *conn, mc_slice bytes);
/* Bytes not yet taken by the kernel. */
static inline size_t mc_conn_buffered(const mc_conn *conn) { return conn->out.length; }

/* Counted: reading goes on when every pause was resumed. Resuming delivers what was kept, not inline. */
void mc_conn_pause_reading(mc_conn *conn);
void mc_conn_resume_reading(mc_conn *conn);

/* Sends FIN after what is queued. */
void mc_conn_shutdown_write(mc_conn *conn);
/* Closes now; queued bytes are dropped unless `flush`, which waits until they left. on_close(MC_CLOSE_LOCAL) follows. */
void mc_conn_close(mc_conn *conn, bool flush);
/* Closes with a reason of the owner's (e.g. MC_CLOSE_TIMEOUT), dropping queued bytes. */
void mc_conn_abort(mc_conn *conn, mc_close_reason reason);

#endif
