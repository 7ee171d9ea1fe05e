#define _GNU_SOURCE /* accept4 */
#include "event/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

static int set_int(int fd, int level, int option, int value) {
    return setsockopt(fd, level, option, &value, sizeof value) == 0 ? 0 : -errno;
}

static int listen_on(int fd, const mc_address *address, const mc_listen_options *options) {
    int error = set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (error == 0 && options->reuse_port) {
        error = set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    }
    if (error == 0 && address->any.sa_family == AF_INET6) {
        error = set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, options->v6only);
    }
    if (error == 0) {
        error = set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    }
    if (error == 0 && bind(fd, &address->any, address->length) < 0) {
        error = -errno;
    }
    if (error == 0 && listen(fd, options->backlog) < 0) {
        error = -errno;
    }
    return error;
}

int mc_socket_listen(const mc_address *address, const mc_listen_options *options) {
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    int error = listen_on(fd, address, options);
    if (error < 0) {
        close(fd);
        return error;
    }
    return fd;
}

int mc_socket_accept(int fd, mc_address *peer) {
    for (;;) {
        socklen_t length = sizeof *peer - sizeof peer->length;
        int accepted = accept4(fd, &peer->any, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (accepted >= 0) {
            peer->length = length;
            return accepted;
        }
        if (errno != EINTR) {
            return -errno;
        }
    }
}

static const mc_source *source_for(const mc_connect_options *o, int family) {
    for (uint32_t i = 0; i < o->source_count; i++) {
        if (o->sources[i].address.length != 0 && o->sources[i].address.any.sa_family == family) {
            return &o->sources[i];
        }
    }
    return &o->sources[0];
}

static int prepare(int fd, const mc_connect_options *o, const mc_source *source) {
    const mc_address *address = &source->address;
    int error = o->freebind ? set_int(fd, IPPROTO_IP, IP_FREEBIND, 1) : 0;
    for (uint32_t i = 0; error == 0 && i < source->option_count; i++) {
        const mc_socket_option *option = &source->options[i];
        error = setsockopt(fd, option->level, option->name, option->value, option->size) != 0 ? -errno : 0;
    }
    if (error != 0 || address->length == 0) {
        return error;
    }
    /* The port is chosen at connect, when the target is known: more of them can be had. */
    error = mc_address_port(address) == 0 ? set_int(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1) : 0;
    return error == 0 && bind(fd, &address->any, address->length) != 0 ? -errno : error;
}

int mc_socket_connect(const mc_address *address) { return mc_socket_connect_from(address, NULL, NULL); }

int mc_socket_connect_from(const mc_address *address, const mc_connect_options *options, bool *bind_failed) {
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    int error = set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (error == 0 && options != NULL) {
        error = prepare(fd, options, source_for(options, address->any.sa_family));
        *bind_failed = error != 0;
    }
    /* Interrupted, a connect goes on by itself, as an unfinished one does. */
    if (error == 0 && connect(fd, &address->any, address->length) < 0 && errno != EINPROGRESS && errno != EINTR) {
        error = -errno;
    }
    if (error < 0) {
        close(fd);
        return error;
    }
    return fd;
}

int mc_socket_error(int fd) {
    int error = 0;
    socklen_t n = sizeof error;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) == 0 ? error : errno;
}

int mc_socket_local(int fd, mc_address *out) {
    socklen_t length = sizeof *out - sizeof out->length;
    int error = getsockname(fd, &out->any, &length) == 0 ? 0 : -errno;
    out->length = error == 0 ? length : 0;
    return error;
}

int mc_socket_original_dst(int fd, int family, mc_address *out) {
    enum { ORIGINAL_DST = 80 }; /* SO_ORIGINAL_DST, IP6T_SO_ORIGINAL_DST: their headers do not go with the others */
    socklen_t length = sizeof *out - sizeof out->length;
    if (getsockopt(fd, family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP, ORIGINAL_DST, &out->any, &length) != 0) {
        return -errno;
    }
    out->length = length;
    return 0;
}

long mc_socket_read(int fd, void *out, size_t n) {
    for (;;) {
        ssize_t got = recv(fd, out, n, 0);
        if (got >= 0) {
            return got;
        }
        if (errno != EINTR) {
            return -errno;
        }
    }
}

/* sendmsg rather than writev: a guest may not raise SIGPIPE. */
long mc_socket_writev(int fd, const struct iovec *pieces, int count) {
    struct msghdr message = {.msg_iov = (struct iovec *)pieces, .msg_iovlen = (size_t)count};
    for (;;) {
        ssize_t sent = count == 1 ? send(fd, pieces[0].iov_base, pieces[0].iov_len, MSG_NOSIGNAL)
                                  : sendmsg(fd, &message, MSG_NOSIGNAL);
        if (sent >= 0) {
            return sent;
        }
        if (errno != EINTR) {
            return -errno;
        }
    }
}

int mc_socket_shutdown_write(int fd) { return shutdown(fd, SHUT_WR) == 0 ? 0 : -errno; }

void mc_socket_close(int fd) { close(fd); }

int mc_socket_keepalive(int fd, uint32_t probes, uint32_t time_s, uint32_t interval_s) {
    int error = set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    if (error == 0 && probes > 0) {
        error = set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, (int)probes);
    }
    if (error == 0 && time_s > 0) {
        error = set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, (int)time_s);
    }
    if (error == 0 && interval_s > 0) {
        error = set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, (int)interval_s);
    }
    return error;
}

int mc_socket_dup(int fd) {
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    return copy < 0 ? -errno : copy;
}

bool mc_socket_node_address(mc_address *out) {
    struct ifaddrs *list = NULL;
    bool found = false;
    if (getifaddrs(&list) != 0) {
        return false;
    }
    for (const struct ifaddrs *it = list; it != NULL && !found; it = it->ifa_next) {
        if (it->ifa_addr != NULL && it->ifa_addr->sa_family == AF_INET && !(it->ifa_flags & IFF_LOOPBACK)) {
            memset(out, 0, sizeof *out);
            memcpy(&out->v4, it->ifa_addr, sizeof out->v4);
            out->length = sizeof out->v4;
            found = !mc_address_is_loopback(out);
        }
    }
    freeifaddrs(list);
    return found;
}
