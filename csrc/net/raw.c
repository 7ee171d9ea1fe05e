#include <errno.h>

#include "net/net_internal.h"

/* The raw transport: a socket's bytes as they are. */

static long raw_read(mc_conn *conn, char *out, size_t n) { return mc_socket_read(conn->io.fd, out, n); }

/* A few short pieces, a head and its body say, are cheaper copied together: the kernel takes 0.2 us longer over a vector than
 * over one piece, for which 4 KiB can be copied. */
static long raw_writev(mc_conn *conn, const struct iovec *pieces, int count) {
    size_t total = 0;
    for (int i = 0; i < count; i++) {
        total += pieces[i].iov_len;
    }
    if (count > 1 && total <= MC_NET_GATHER) {
        char *at = conn->net->gather;
        for (int i = 0; i < count; i++) {
            memcpy(at, pieces[i].iov_base, pieces[i].iov_len);
            at += pieces[i].iov_len;
        }
        struct iovec whole = {conn->net->gather, total};
        return mc_socket_writev(conn->io.fd, &whole, 1);
    }
    return mc_socket_writev(conn->io.fd, pieces, count);
}

/* A failure means that the connection is gone, which the next edge tells. */
static void raw_shutdown_write(mc_conn *conn) { (void)mc_socket_shutdown_write(conn->io.fd); }

static int raw_error(mc_conn *conn) { return mc_socket_error(conn->io.fd); }

static void raw_close(mc_conn *conn) {}

const mc_transport mc_transport_raw = {
    .read = raw_read,
    .writev = raw_writev,
    .shutdown_write = raw_shutdown_write,
    .error = raw_error,
    .close = raw_close,
    .encrypted = false,
    .short_read_is_last = true,
};
