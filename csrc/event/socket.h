/* The system calls on sockets; every descriptor is non-blocking and close-on-exec. Negative results are -errno.
 *
 * Address text is Envoy's: "1.2.3.4:80", "[::1]:80". */
#ifndef MC_EVENT_SOCKET_H
#define MC_EVENT_SOCKET_H

#include <sys/socket.h>
#include <sys/uio.h>

#include "base/slice.h"

typedef struct mc_address {
    struct sockaddr_storage storage;
    socklen_t length;
} mc_address;

/* Numeric ip and port. MC_EINVAL when not an IP literal. */
MC_MUST_CHECK mc_status mc_address_parse(mc_address *out, mc_slice ip, uint16_t port);
enum { MC_ADDRESS_TEXT = 64 };
/* "ip:port", NUL-terminated; returns the length. */
size_t mc_address_text(const mc_address *address, char out[MC_ADDRESS_TEXT]);
size_t mc_address_ip(const mc_address *address, char out[MC_ADDRESS_TEXT]);
uint16_t mc_address_port(const mc_address *address);
bool mc_address_is_loopback(const mc_address *address);

typedef struct mc_listen_options {
    int backlog;
    bool reuse_port; /* SO_REUSEPORT: each worker its own socket */
    bool v6only;
} mc_listen_options;

/* Bound and listening descriptor, or -errno. */
int mc_socket_listen(const mc_address *address, const mc_listen_options *options);
/* accept4; the peer's address is filled in. TCP_NODELAY is inherited from the listening socket. */
int mc_socket_accept(int fd, mc_address *peer);
/* Starts a connect with TCP_NODELAY; -errno, or the descriptor (connecting or connected). */
int mc_socket_connect(const mc_address *address);
/* After writability: 0, or the errno of the connect. */
int mc_socket_error(int fd);
int mc_socket_local(int fd, mc_address *out);
long mc_socket_read(int fd, void *out, size_t n);
long mc_socket_writev(int fd, const struct iovec *pieces, int count);
int mc_socket_shutdown_write(int fd);
void mc_socket_close(int fd);
int mc_socket_keepalive(int fd, uint32_t probes, uint32_t time_s, uint32_t interval_s);

#endif
