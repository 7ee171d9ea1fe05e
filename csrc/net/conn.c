#include "net/conn.h"

#include <assert.h>
#include <errno.h>

#include "net/net_internal.h"

/* --- life ------------------------------------------------------------------------------------------------------- */

static void run_closing(mc_deferred *deferred) {
    mc_conn *conn = MC_CONTAINER(deferred, mc_conn, closing);
    conn->events->on_close(conn, (mc_close_reason)conn->close_reason);
}

void mc_conn_init(mc_conn *conn, mc_net *net, const mc_conn_events *events, uint8_t state) {
    memset(conn, 0, sizeof *conn);
    conn->io.fd = -1;
    conn->io.on_ready = mc_conn_ready;
    conn->net = net;
    conn->events = events;
    conn->closing.run = run_closing;
    conn->state = state;
    conn->id = ++net->connections;
    conn->opened_us = mc_loop_now_us(net->loop);
    mc_buffer_init(&conn->in, &net->chunks);
    mc_buffer_init(&conn->out, &net->chunks);
}

/* Takes the descriptor over. */
static mc_status open_socket(mc_conn *conn, int fd) {
    conn->transport = &mc_transport_raw;
    mc_status status = mc_io_open(conn->net->loop, &conn->io, fd, false, mc_conn_ready);
    if (status != MC_OK) {
        mc_io_close(conn->net->loop, &conn->io);
        conn->state = MC_CONN_CLOSED;
    }
    return status;
}

mc_status mc_conn_accept(mc_conn *conn, mc_net *net, int fd, const mc_conn_events *events) {
    mc_conn_init(conn, net, events, MC_CONN_OPEN);
    return open_socket(conn, fd);
}

static void drop_borrowed(mc_conn *conn) {
    mc_link_unlink(&conn->flush);
    if (conn->borrowed != NULL) {
        mc_net_block_put(conn->net, conn->borrowed);
        conn->borrowed = NULL;
        conn->borrowed_count = 0;
    }
}

/* The end of every connection. */
static void finish(mc_conn *conn, mc_close_reason reason) {
    if (conn->state == MC_CONN_CLOSED) {
        return;
    }
    conn->state = MC_CONN_CLOSED;
    conn->close_reason = (uint8_t)reason;
    drop_borrowed(conn);
    mc_buffer_clear(&conn->in);
    mc_buffer_clear(&conn->out);
    conn->transport->close(conn);
    mc_io_close(conn->net->loop, &conn->io);
    mc_loop_defer(conn->net->loop, &conn->closing);
}

mc_status mc_conn_connect(mc_conn *conn, mc_net *net, const mc_address *address, const mc_conn_events *events) {
    return mc_conn_connect_from(conn, net, address, NULL, NULL, events);
}

mc_status mc_conn_connect_from(mc_conn *conn, mc_net *net, const mc_address *address, const mc_connect_options *options,
                               bool *bind_failed, const mc_conn_events *events) {
    mc_conn_init(conn, net, events, MC_CONN_CONNECTING);
    int fd = mc_socket_connect_from(address, options, bind_failed);
    if (fd >= 0) {
        return open_socket(conn, fd);
    }
    conn->transport = &mc_transport_raw;
    conn->connect_error = -fd;
    finish(conn, bind_failed != NULL && *bind_failed ? MC_CLOSE_LOCAL : MC_CLOSE_CONNECT_FAILED);
    return MC_OK;
}

/* --- writing ---------------------------------------------------------------------------------------------------- */

/* The peer takes no more. What it sent before may still be wanted (an early answer): the reader goes to the
 * end first. */
static void write_failed(mc_conn *conn) {
    drop_borrowed(conn);
    mc_buffer_clear(&conn->out);
    conn->write_failed = true;
    if (conn->state != MC_CONN_OPEN || conn->read_off > 0) {
        finish(conn, MC_CLOSE_RESET);
        return;
    }
    conn->readable = conn->hangup = true;
    mc_io_inject(conn->net->loop, &conn->io, MC_OWN);
}

static bool all_sent(const mc_conn *conn) { return conn->borrowed_count == 0 && conn->out.length == 0; }

/* Everything has left: what waited for that. */
static void emptied(mc_conn *conn) {
    if (conn->fin_wanted && !conn->fin_sent) {
        conn->fin_sent = true;
        conn->transport->shutdown_write(conn);
    }
    if (conn->state == MC_CONN_CLOSING && (conn->close_after_flush || conn->eof)) {
        finish(conn, MC_CLOSE_LOCAL);
    }
}

/* After out changed: watermarks, and what waits for it to be empty. */
static void written(mc_conn *conn, size_t before) {
    const mc_conn_events *events = conn->events;
    size_t now = conn->out.length;
    if (!conn->above_high && conn->high_watermark > 0 && now > conn->high_watermark) {
        conn->above_high = true;
        if (conn->state == MC_CONN_OPEN && events->on_high != NULL) {
            events->on_high(conn);
        }
    } else if (conn->above_high && now <= conn->high_watermark / 2) {
        conn->above_high = false;
        if (conn->state == MC_CONN_OPEN && events->on_low != NULL) {
            events->on_low(conn);
        }
    }
    if (now > 0 || conn->write_failed || conn->state == MC_CONN_CLOSED) {
        return;
    }
    if (before > 0 && (conn->state == MC_CONN_OPEN || conn->linger) && events->on_drained != NULL) {
        events->on_drained(conn);
    }
    /* A callback may have queued more, or closed. */
    if (all_sent(conn) && conn->state != MC_CONN_CLOSED) {
        emptied(conn);
    }
}

static long send_pieces(mc_conn *conn, const struct iovec *pieces, uint32_t count) {
    long n = conn->transport->writev(conn, pieces, (int)count);
    if (n > 0) {
        conn->tx_bytes += (uint64_t)n;
    }
    return n;
}

/* Copies the pieces but their first `sent` bytes behind what waits already. */
static mc_status keep_pieces(mc_conn *conn, const struct iovec *pieces, uint32_t count, size_t sent) {
    for (uint32_t i = 0; i < count; i++) {
        mc_slice piece = mc_slice_of(pieces[i].iov_base, pieces[i].iov_len);
        if (sent >= piece.n) {
            sent -= piece.n;
            continue;
        }
        mc_status status = mc_buffer_append(&conn->out, mc_slice_from(piece, sent));
        if (status != MC_OK) {
            return status;
        }
        sent = 0;
    }
    return MC_OK;
}

/* Gives the borrowed pieces to the kernel, or to the buffer when that waits for an edge. */
static void send_borrowed(mc_conn *conn) {
    struct iovec *pieces = conn->borrowed;
    uint32_t count = conn->borrowed_count;
    long n = 0;
    if (pieces == NULL) {
        return;
    }
    if (conn->out.length == 0 && conn->state != MC_CONN_CONNECTING) {
        n = send_pieces(conn, pieces, count);
    }
    if (n < 0 && n != -EAGAIN) {
        write_failed(conn);
        return;
    }
    mc_status status = keep_pieces(conn, pieces, count, n < 0 ? 0 : (size_t)n);
    drop_borrowed(conn);
    if (status != MC_OK) {
        finish(conn, MC_CLOSE_RESET);
    }
}

void mc_conn_flush(mc_conn *conn) {
    size_t before = conn->out.length;
    send_borrowed(conn);
    written(conn, before);
}

/* On a writable edge. */
static void send_out(mc_conn *conn) {
    enum { PIECES = 16 };
    size_t before = conn->out.length;
    while (conn->out.length > 0) {
        mc_slice slices[PIECES];
        struct iovec pieces[PIECES];
        size_t count = mc_buffer_pieces(&conn->out, slices, PIECES), total = 0;
        for (size_t i = 0; i < count; i++) {
            pieces[i] = (struct iovec){(char *)slices[i].p, slices[i].n};
            total += slices[i].n;
        }
        long n = send_pieces(conn, pieces, (uint32_t)count);
        if (n < 0 && n != -EAGAIN) {
            write_failed(conn);
            return;
        }
        mc_buffer_drain(&conn->out, n < 0 ? 0 : (size_t)n);
        if (n < 0 || (size_t)n < total) {
            break;
        }
    }
    written(conn, before);
}

mc_status mc_conn_write(mc_conn *conn, mc_slice bytes) {
    if (conn->state > MC_CONN_OPEN || conn->fin_wanted) {
        return MC_ECLOSED;
    }
    if (bytes.n == 0 || conn->write_failed) {
        return MC_OK;
    }
    if (conn->borrowed_count == MC_NET_BLOCK) {
        /* More pieces than a block holds: they go out, or are copied, early. The flush looks at the
         * watermarks. */
        send_borrowed(conn);
        if (conn->state > MC_CONN_OPEN || conn->write_failed) {
            return conn->write_failed ? MC_OK : MC_ECLOSED;
        }
    }
    if (conn->borrowed == NULL) {
        conn->borrowed = mc_net_block_get(conn->net);
        if (conn->borrowed == NULL) {
            finish(conn, MC_CLOSE_RESET);
            return MC_ENOMEM;
        }
        mc_list_push_back(&conn->net->flush, &conn->flush);
        mc_loop_defer_first(conn->net->loop, &conn->net->flusher);
    }
    conn->borrowed[conn->borrowed_count++] = (struct iovec){(char *)bytes.p, bytes.n};
    return MC_OK;
}

void mc_conn_shutdown_write(mc_conn *conn) {
    if (conn->state > MC_CONN_OPEN || conn->fin_wanted) {
        return;
    }
    conn->fin_wanted = true;
    if (conn->state == MC_CONN_OPEN && all_sent(conn) && !conn->write_failed) {
        emptied(conn);
    }
}

/* --- reading ---------------------------------------------------------------------------------------------------- */

static bool wants_reading(const mc_conn *conn) {
    return conn->state == MC_CONN_OPEN && conn->read_off == 0 && (conn->readable || conn->reoffer);
}

/* Reads once into the shared buffer at `at`; returns the bytes got. Ends the connection on an error. */
static size_t read_once(mc_conn *conn, char *at) {
    long n = conn->transport->read(conn, at, MC_NET_READ);
    if (n > 0) {
        conn->rx_bytes += (uint64_t)n;
        if (n < MC_NET_READ && conn->transport->short_read_is_last && !conn->hangup) {
            conn->readable = false;
        }
        return (size_t)n;
    }
    conn->readable = false;
    if (n == 0 && !conn->write_failed) {
        conn->eof = true;
    } else if (n != -EAGAIN || conn->write_failed) {
        finish(conn, MC_CLOSE_RESET);
    }
    return 0;
}

/* Gives the kept bytes and the `fresh` ones behind them to on_data, and keeps what it leaves. */
static void offer(mc_conn *conn, size_t kept, size_t fresh) {
    const char *bytes = conn->net->read_buffer;
    conn->reoffer = false;
    conn->offering = true;
    size_t consumed = conn->events->on_data(conn, mc_slice_of(bytes, kept + fresh));
    conn->offering = false;
    assert(consumed <= kept + fresh);
    if (conn->state > MC_CONN_OPEN) {
        return;
    }
    if (kept > 0) {
        mc_buffer_drain(&conn->in, consumed < kept ? consumed : kept);
    }
    size_t from = consumed > kept ? consumed : kept;
    if (from < kept + fresh && mc_buffer_append(&conn->in, mc_slice_of(bytes + from, kept + fresh - from)) != MC_OK) {
        finish(conn, MC_CLOSE_RESET);
    }
    /* Resumed inside on_data: the rest is owed at once, but to a reader that makes no progress only with new
     * bytes. */
    conn->reoffer = conn->reoffer && consumed > 0 && conn->in.length > 0;
}

static void tell_eof(mc_conn *conn) {
    if (conn->state != MC_CONN_OPEN || !conn->eof || conn->eof_told || conn->read_off > 0) {
        return;
    }
    conn->eof_told = true;
    if (conn->events->on_eof != NULL) {
        conn->events->on_eof(conn);
    } else {
        finish(conn, MC_CLOSE_REMOTE);
    }
}

static void receive(mc_conn *conn) {
    mc_net *net = conn->net;
    bool any = false;
    for (unsigned round = 0; wants_reading(conn); round++) {
        if (round == MC_NET_READ_ROUNDS) {
            mc_io_inject(net->loop, &conn->io, MC_OWN);
            return;
        }
        size_t kept = conn->in.length, fresh = 0;
        if (conn->readable && kept < MC_NET_KEEP) {
            fresh = read_once(conn, net->read_buffer + kept);
            conn->eof_joined = conn->eof && any;
            any = fresh > 0;
        } else if (!conn->reoffer) {
            return; /* the owner must consume what it left, and resume */
        }
        if (conn->state != MC_CONN_OPEN) {
            return;
        }
        if (fresh > 0 || (conn->reoffer && kept > 0)) {
            if (kept > 0) {
                mc_buffer_peek(&conn->in, net->read_buffer, kept);
            }
            offer(conn, kept, fresh);
            /* What was written borrows the read buffer, and may pause us. */
            if (!mc_list_empty(&net->flush) && (wants_reading(conn) || conn->eof)) {
                mc_net_flush(net);
            }
        }
    }
    tell_eof(conn);
}

/* Lingering: reading goes on only to throw away, so that the close is no reset. */
static void discard(mc_conn *conn) {
    for (unsigned round = 0; conn->state == MC_CONN_CLOSING && conn->readable; round++) {
        if (round == MC_NET_READ_ROUNDS) {
            mc_io_inject(conn->net->loop, &conn->io, MC_OWN);
            return;
        }
        read_once(conn, conn->net->read_buffer);
    }
    if (conn->state == MC_CONN_CLOSING && conn->eof && all_sent(conn)) {
        finish(conn, MC_CLOSE_LOCAL);
    }
}

void mc_conn_pause_reading(mc_conn *conn) {
    assert(conn->read_off < UINT8_MAX);
    conn->read_off++;
}

void mc_conn_resume_reading(mc_conn *conn) {
    assert(conn->read_off > 0);
    if (--conn->read_off > 0 || conn->state > MC_CONN_OPEN) {
        return;
    }
    conn->reoffer = conn->in.length > 0 || conn->offering;
    if (conn->offering) {
        return; /* the reader is at work and will see */
    }
    if (conn->state == MC_CONN_OPEN && (conn->readable || conn->reoffer || (conn->eof && !conn->eof_told))) {
        mc_io_inject(conn->net->loop, &conn->io, MC_OWN);
    }
}

/* --- events ----------------------------------------------------------------------------------------------------- */

static void connected(mc_conn *conn, uint32_t events) {
    if ((events & MC_HANGUP) != 0 && (conn->connect_error = conn->transport->error(conn)) != 0) {
        finish(conn, MC_CLOSE_CONNECT_FAILED);
        return;
    }
    conn->state = MC_CONN_OPEN;
    conn->connected_us = mc_loop_now_us(conn->net->loop);
    if (conn->events->on_connected != NULL) {
        conn->events->on_connected(conn);
    }
    if (conn->state == MC_CONN_OPEN && all_sent(conn)) {
        emptied(conn); /* a FIN asked for while connecting */
    }
}

void mc_conn_ready(mc_io *io, uint32_t events) {
    mc_conn *conn = MC_CONTAINER(io, mc_conn, io);
    if (conn->state == MC_CONN_CONNECTING) {
        if ((events & (MC_WRITE | MC_HANGUP)) == 0) {
            return;
        }
        connected(conn, events);
        events |= MC_WRITE;
    }
    if (conn->state == MC_CONN_CLOSED) {
        return;
    }
    if ((events & MC_READ) != 0) {
        conn->readable = true;
    }
    if ((events & MC_HANGUP) != 0) {
        conn->hangup = true;
        /* A reset behind the FIN, which no read tells. Asked only then: asking clears the error. */
        if (conn->eof && conn->transport->error(conn) != 0) {
            finish(conn, MC_CLOSE_RESET);
            return;
        }
    }
    if ((events & MC_WRITE) != 0 && conn->out.length > 0) {
        send_out(conn);
    }
    if (conn->state == MC_CONN_OPEN) {
        receive(conn);
        if (MC_UNLIKELY(conn->hangup && conn->read_off > 0) && conn->state == MC_CONN_OPEN &&
            conn->events->on_hangup != NULL) {
            conn->events->on_hangup(conn);
        }
    } else if (conn->state == MC_CONN_CLOSING && conn->linger) {
        discard(conn);
    }
}

/* --- closing ---------------------------------------------------------------------------------------------------- */

static bool has_queued(const mc_conn *conn) {
    return conn->state == MC_CONN_OPEN && !conn->write_failed && !all_sent(conn);
}

void mc_conn_close(mc_conn *conn, bool flush) {
    if (conn->state >= MC_CONN_CLOSING) {
        return;
    }
    if (!flush || !has_queued(conn)) {
        finish(conn, MC_CLOSE_LOCAL);
        return;
    }
    conn->state = MC_CONN_CLOSING;
    conn->close_after_flush = true;
    mc_buffer_clear(&conn->in);
}

void mc_conn_close_linger(mc_conn *conn) {
    if (conn->state != MC_CONN_OPEN || conn->write_failed) {
        mc_conn_close(conn, false);
        return;
    }
    conn->state = MC_CONN_CLOSING;
    conn->linger = conn->fin_wanted = true;
    mc_buffer_clear(&conn->in);
    if (conn->readable) {
        mc_io_inject(conn->net->loop, &conn->io, MC_OWN); /* what came while reading was paused */
    }
    if (all_sent(conn)) {
        emptied(conn);
    }
}

void mc_conn_abort(mc_conn *conn, mc_close_reason reason) { finish(conn, reason); }
