#include <errno.h>

#include "base/alloc.h"
#include "net/net_internal.h"

/* The memory transport: a pair of ends, each of which owns what is on the way to its connection. So an end
 * may go while the other still reads, as with sockets. All chance and all time come from the loop. */

enum { DEFAULT_CAPACITY = 65536 };

/* Something on the way: bytes, or the FIN behind them. */
typedef struct segment {
    mc_link link;
    uint64_t at_ms; /* not before this, nor before the one in front */
    bool fin;
    mc_buffer bytes;
} segment;

typedef struct mc_memory_end {
    mc_conn *conn;
    struct mc_memory_end *peer; /* NULL: closed */
    mc_memory_options options;
    mc_buffer inbox; /* arrived, not read */
    mc_list transit; /* of segment, in order of arrival */
    size_t transit_bytes;
    mc_timer arrival;
    bool stalled;  /* nothing arrives here */
    bool starving; /* the peer was told EAGAIN */
    bool fin;      /* arrived */
    bool fin_sent;
    bool reset;
} mc_memory_end;

static mc_loop *loop_of(const mc_memory_end *end) { return mc_net_loop(end->conn->net); }

static uint64_t below(mc_memory_end *end, uint64_t n) { return mc_random_next(mc_loop_random(loop_of(end))) % n; }

/* Some part of n > 0 bytes; all of them half of the time. */
static size_t part_of(mc_memory_end *end, size_t n) {
    return end->options.split && below(end, 2) == 0 ? 1 + (size_t)below(end, n) : n;
}

/* --- the way to an end ------------------------------------------------------------------------------------------ */

static void drop_transit(mc_memory_end *end) {
    for (mc_link *link; (link = mc_list_pop_front(&end->transit)) != NULL;) {
        segment *s = MC_CONTAINER(link, segment, link);
        mc_buffer_clear(&s->bytes);
        mc_free(s);
    }
    end->transit_bytes = 0;
    mc_timer_cancel(loop_of(end), &end->arrival);
}

static void arrive(mc_memory_end *end) {
    mc_loop *loop = loop_of(end);
    uint32_t events = 0;
    for (mc_link *link; !end->stalled && (link = mc_list_first(&end->transit)) != NULL;) {
        segment *s = MC_CONTAINER(link, segment, link);
        if (s->at_ms > mc_loop_now_ms(loop)) {
            mc_timer_arm(loop, &end->arrival, s->at_ms - mc_loop_now_ms(loop));
            break;
        }
        mc_link_unlink(link);
        end->transit_bytes -= s->bytes.length;
        end->fin = end->fin || s->fin;
        events |= s->fin ? MC_READ | MC_HANGUP : MC_READ;
        mc_buffer_move(&end->inbox, &s->bytes);
        mc_free(s);
    }
    if (events != 0) {
        mc_io_inject(loop, &end->conn->io, events);
    }
}

static void on_arrival(mc_timer *timer) { arrive(MC_CONTAINER(timer, mc_memory_end, arrival)); }

static segment *segment_new(mc_memory_end *end) {
    segment *s = mc_malloc(sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    uint64_t delay = end->options.max_delay_ms > 0 ? below(end, (uint64_t)end->options.max_delay_ms + 1) : 0;
    *s = (segment){.at_ms = mc_loop_now_ms(loop_of(end)) + delay};
    mc_buffer_init(&s->bytes, mc_net_chunks(end->conn->net));
    return s;
}

static void dispatch(mc_memory_end *end, segment *s) {
    end->transit_bytes += s->bytes.length;
    mc_list_push_back(&end->transit, &s->link);
    if (!mc_timer_armed(&end->arrival)) {
        arrive(end);
    }
}

static void reset(mc_memory_end *end) {
    end->reset = true;
    drop_transit(end);
    mc_io_inject(loop_of(end), &end->conn->io, MC_READ | MC_WRITE | MC_HANGUP);
}

/* --- the transport ---------------------------------------------------------------------------------------------- */

static long memory_read(mc_conn *conn, char *out, size_t n) {
    mc_memory_end *end = conn->memory;
    if (end->inbox.length == 0) {
        return end->reset ? -ECONNRESET : end->fin ? 0 : -EAGAIN;
    }
    size_t have = end->inbox.length < n ? end->inbox.length : n;
    have = mc_buffer_peek(&end->inbox, out, part_of(end, have));
    mc_buffer_drain(&end->inbox, have);
    if (end->inbox.length > 0 && have < n) {
        mc_io_inject(loop_of(end), &conn->io, MC_READ); /* a short read is the last one until an edge */
    }
    if (end->starving && end->peer != NULL) {
        end->starving = false;
        mc_io_inject(loop_of(end), &end->peer->conn->io, MC_WRITE);
    }
    return (long)have;
}

/* A further segment on the way to `to`, filled with the first n bytes of the pieces. */
static mc_status send_bytes(mc_memory_end *to, const struct iovec *pieces, size_t n) {
    segment *s = segment_new(to);
    if (s == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; n > 0; i++) {
        size_t take = pieces[i].iov_len < n ? pieces[i].iov_len : n;
        if (mc_buffer_append(&s->bytes, mc_slice_of(pieces[i].iov_base, take)) != MC_OK) {
            mc_buffer_clear(&s->bytes);
            mc_free(s);
            return MC_ENOMEM;
        }
        n -= take;
    }
    dispatch(to, s);
    return MC_OK;
}

static long memory_writev(mc_conn *conn, const struct iovec *pieces, int count) {
    mc_memory_end *end = conn->memory, *to = end->peer;
    if (end->reset) {
        return -ECONNRESET;
    }
    if (to == NULL || end->fin_sent) {
        return -EPIPE;
    }
    size_t total = 0, used = to->inbox.length + to->transit_bytes;
    for (int i = 0; i < count; i++) {
        total += pieces[i].iov_len;
    }
    size_t room = used < to->options.capacity ? to->options.capacity - used : 0;
    size_t n = total < room ? total : room;
    if (n > 0) {
        n = part_of(end, n);
        if (send_bytes(to, pieces, n) != MC_OK) {
            return -ENOMEM;
        }
    }
    if (n < total && n == room) {
        to->starving = true;
    } else if (n < total) {
        mc_io_inject(loop_of(end), &conn->io, MC_WRITE); /* split, with room left: the edge comes at once */
    }
    return n > 0 ? (long)n : -EAGAIN;
}

static void memory_shutdown_write(mc_conn *conn) {
    mc_memory_end *end = conn->memory;
    if (end->fin_sent || end->peer == NULL) {
        return;
    }
    end->fin_sent = true;
    segment *fin = segment_new(end->peer);
    if (fin == NULL) {
        reset(end->peer); /* no memory to say it in order */
        return;
    }
    fin->fin = true;
    dispatch(end->peer, fin);
}

static int memory_error(mc_conn *conn) { return conn->memory->reset ? ECONNRESET : 0; }

/* As with a socket: unread bytes make the close a reset, else it is a FIN. */
static void memory_close(mc_conn *conn) {
    mc_memory_end *end = conn->memory;
    if (end->peer != NULL) {
        if (end->inbox.length + end->transit_bytes > 0) {
            reset(end->peer);
        } else {
            memory_shutdown_write(conn);
        }
        end->peer->peer = NULL;
    }
    drop_transit(end);
    mc_buffer_clear(&end->inbox);
    mc_free(end);
    conn->memory = NULL;
}

const mc_transport mc_transport_memory = {
    .read = memory_read,
    .writev = memory_writev,
    .shutdown_write = memory_shutdown_write,
    .error = memory_error,
    .close = memory_close,
    .encrypted = false,
    .short_read_is_last = true,
};

/* --- pairs ------------------------------------------------------------------------------------------------------ */

static mc_memory_end *end_new(mc_conn *conn, const mc_memory_options *options) {
    mc_memory_end *end = mc_calloc(1, sizeof *end);
    if (end == NULL) {
        return NULL;
    }
    end->conn = conn;
    end->options = options == NULL ? (mc_memory_options){0} : *options;
    if (end->options.capacity == 0) {
        end->options.capacity = DEFAULT_CAPACITY;
    }
    mc_buffer_init(&end->inbox, mc_net_chunks(conn->net));
    mc_list_init(&end->transit);
    end->arrival.fire = on_arrival;
    return end;
}

static mc_status join(mc_conn *a, mc_conn *b, const mc_memory_options *options) {
    mc_memory_end *end_a = end_new(a, options), *end_b = end_new(b, options);
    if (end_a == NULL || end_b == NULL) {
        mc_free(end_a);
        mc_free(end_b);
        return MC_ENOMEM;
    }
    end_a->peer = end_b;
    end_b->peer = end_a;
    a->memory = end_a;
    b->memory = end_b;
    a->transport = b->transport = &mc_transport_memory;
    return MC_OK;
}

mc_status mc_conn_memory_pair(mc_conn *a, mc_net *net_a, const mc_conn_events *events_a, mc_conn *b, mc_net *net_b,
                              const mc_conn_events *events_b, const mc_memory_options *options) {
    mc_conn_init(a, net_a, events_a, MC_CONN_OPEN);
    mc_conn_init(b, net_b, events_b, MC_CONN_OPEN);
    return join(a, b, options);
}

mc_status mc_conn_memory_connect(mc_conn *a, mc_net *net_a, const mc_conn_events *events_a, mc_conn *b, mc_net *net_b,
                                 const mc_conn_events *events_b, const mc_memory_options *options) {
    mc_status status = mc_conn_memory_pair(a, net_a, events_a, b, net_b, events_b, options);
    if (status == MC_OK) {
        a->state = MC_CONN_CONNECTING;
        mc_io_inject(mc_net_loop(net_a), &a->io, MC_WRITE);
    }
    return status;
}

void mc_memory_reset(mc_conn *conn) {
    if (conn->memory != NULL) {
        if (conn->memory->peer != NULL) {
            reset(conn->memory->peer);
        }
        reset(conn->memory);
    }
}

void mc_memory_stall(mc_conn *conn, bool on) {
    if (conn->memory != NULL && conn->memory->peer != NULL) {
        conn->memory->peer->stalled = on;
        arrive(conn->memory->peer);
    }
}
