#include <errno.h>

#include "net/net_internal.h"

/* The raw transport: a socket's bytes as they are. */

static long raw_read(mc_conn *conn, char *out, size_t n) { return mc_socket_read(conn->io.fd, out, n); }

static long raw_writev(mc_conn *conn, const struct iovec *pieces, int count) {
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
