/* The system calls on sockets; every descriptor is non-blocking and close-on-exec. Negative results are
 * -errno. */
#ifndef MC_EVENT_SOCKET_H
#define MC_EVENT_SOCKET_H

#include <sys/socket.h>
#include <sys/uio.h>

#include "base/address.h"

typedef struct mc_listen_options {
    int backlog;
    bool reuse_port; /* SO_REUSEPORT: each worker its own socket */
    bool v6only;
} mc_listen_options;

/* Bound and listening descriptor, or -errno. */
int mc_socket_listen(const mc_address *address, const mc_listen_options *options);
/* accept4; the peer's address is filled in. TCP_NODELAY is inherited from the listening socket. */
int mc_socket_accept(int fd, mc_address *peer);
typedef struct mc_socket_option {
    int level, name;
    const void *value;
    uint32_t size;
} mc_socket_option;

/* What a connecting socket is bound to, and the options that are set before. */
typedef struct mc_source {
    mc_address address; /* length 0: none */
    const mc_socket_option *options;
    uint32_t option_count;
} mc_source;

/* How a connecting socket is made. */
typedef struct mc_connect_options {
    const mc_source *sources; /* the first of the target's family counts; without one the first */
    uint32_t source_count;    /* at least one */
    bool freebind;
} mc_connect_options;

/* Starts a connect with TCP_NODELAY; -errno, or the descriptor (connecting or connected). */
int mc_socket_connect(const mc_address *address);
/* *bind_failed tells that the source address was refused; other options than bind's count as that too. */
int mc_socket_connect_from(const mc_address *address, const mc_connect_options *options, bool *bind_failed);
/* After writability: 0, or the errno of the connect. */
int mc_socket_error(int fd);
int mc_socket_local(int fd, mc_address *out);
/* Where the client was going before a rule of the kernel's redirected it; negative: nobody knows. */
int mc_socket_original_dst(int fd, int family, mc_address *out);
long mc_socket_read(int fd, void *out, size_t n);
long mc_socket_writev(int fd, const struct iovec *pieces, int count);
int mc_socket_shutdown_write(int fd);
/* The first IPv4 address of an interface that is up and not a loopback: what Envoy calls the node's local address (HC-11).
 * False: there is none. */
bool mc_socket_node_address(mc_address *out);
/* A second descriptor of the same socket, or -errno. */
int mc_socket_dup(int fd);
void mc_socket_close(int fd);
int mc_socket_keepalive(int fd, uint32_t probes, uint32_t time_s, uint32_t interval_s);

#endif
