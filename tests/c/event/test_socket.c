/* The socket calls: what a listener or a connect can run into, and the options that must be set. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <unistd.h>

#include "../test.h"
#include "event/socket.h"

static const mc_listen_options plain = {.backlog = 16};

static mc_address at(const char *ip, uint16_t port) {
    mc_address address;
    CHECK_INT(mc_address_parse(&address, mc_slice_cstr(ip), port), MC_OK);
    return address;
}

static int listening(const char *ip, const mc_listen_options *options, mc_address *bound) {
    mc_address address = at(ip, 0);
    int fd = mc_socket_listen(&address, options);
    if (fd >= 0) {
        CHECK_INT(mc_socket_local(fd, bound), 0);
        CHECK(mc_address_port(bound) != 0);
    }
    return fd;
}

static int option(int fd, int level, int name) {
    int value = -1;
    socklen_t n = sizeof value;
    CHECK_INT(getsockopt(fd, level, name, &value, &n), 0);
    return value;
}

static void ready(int fd, short events) {
    struct pollfd p = {.fd = fd, .events = events};
    CHECK_INT(poll(&p, 1, 5000), 1);
}

TEST(a_connection_from_connect_to_accept) {
    mc_address bound, peer, local;
    int server = listening("127.0.0.1", &plain, &bound);
    CHECK(server >= 0);
    CHECK_INT(mc_socket_accept(server, &peer), -EAGAIN);
    int client = mc_socket_connect(&bound);
    CHECK(client >= 0);
    ready(client, POLLOUT);
    CHECK_INT(mc_socket_error(client), 0);
    int accepted = mc_socket_accept(server, &peer);
    CHECK(accepted >= 0);
    CHECK_INT(mc_socket_local(client, &local), 0);
    CHECK_INT(mc_address_port(&peer), mc_address_port(&local));
    int fds[] = {server, client, accepted};
    for (unsigned i = 0; i < 3; i++) {
        CHECK((fcntl(fds[i], F_GETFL) & O_NONBLOCK) != 0 && (fcntl(fds[i], F_GETFD) & FD_CLOEXEC) != 0);
    }
    CHECK(option(client, IPPROTO_TCP, TCP_NODELAY) != 0 && option(accepted, IPPROTO_TCP, TCP_NODELAY) != 0);
    char got[8];
    CHECK_INT(mc_socket_read(accepted, got, sizeof got), -EAGAIN);
    struct iovec pieces[] = {{"ab", 2}, {"c", 1}};
    CHECK_INT(mc_socket_writev(client, pieces, 2), 3);
    CHECK_INT(mc_socket_writev(client, pieces, 1), 2);
    CHECK_INT(mc_socket_shutdown_write(client), 0);
    ready(accepted, POLLIN);
    CHECK_INT(mc_socket_read(accepted, got, sizeof got), 5);
    CHECK(memcmp(got, "abcab", 5) == 0);
    CHECK_INT(mc_socket_read(accepted, got, sizeof got), 0);
    CHECK_INT(mc_socket_keepalive(client, 3, 60, 10), 0);
    CHECK_INT(option(client, SOL_SOCKET, SO_KEEPALIVE), 1);
    CHECK_INT(option(client, IPPROTO_TCP, TCP_KEEPCNT), 3);
    CHECK_INT(option(client, IPPROTO_TCP, TCP_KEEPIDLE), 60);
    CHECK_INT(option(client, IPPROTO_TCP, TCP_KEEPINTVL), 10);
    for (unsigned i = 0; i < 3; i++) {
        mc_socket_close(fds[i]);
    }
}

TEST(a_write_to_a_dead_peer_is_an_error_and_no_signal) {
    mc_address bound, peer;
    int server = listening("127.0.0.1", &plain, &bound), client = mc_socket_connect(&bound);
    ready(server, POLLIN);
    int accepted = mc_socket_accept(server, &peer);
    CHECK_INT(mc_socket_shutdown_write(client), 0);
    struct iovec piece = {"x", 1}, two[] = {piece, piece};
    CHECK_INT(mc_socket_writev(client, &piece, 1), -EPIPE);
    CHECK_INT(mc_socket_writev(client, two, 2), -EPIPE);
    mc_socket_close(accepted);
    mc_socket_close(client);
    mc_socket_close(server);
    CHECK(mc_socket_shutdown_write(client) < 0);
}

TEST(a_port_in_use_unless_it_is_shared) {
    mc_address bound;
    int first = listening("127.0.0.1", &plain, &bound);
    CHECK(first >= 0);
    CHECK_INT(mc_socket_listen(&bound, &plain), -EADDRINUSE);
    mc_socket_close(first);
    mc_listen_options shared = {.backlog = 16, .reuse_port = true};
    first = listening("127.0.0.1", &shared, &bound);
    int second = mc_socket_listen(&bound, &shared);
    CHECK(first >= 0 && second >= 0);
    mc_socket_close(first);
    mc_socket_close(second);
}

TEST(version_six_alone_or_with_four) {
    mc_address bound;
    mc_listen_options only = {.backlog = 1, .v6only = true};
    int fd = listening("::", &only, &bound);
    if (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL) {
        return; /* a machine without IPv6 */
    }
    CHECK(fd >= 0);
    CHECK_INT(option(fd, IPPROTO_IPV6, IPV6_V6ONLY), 1);
    mc_socket_close(fd);
    fd = listening("::", &plain, &bound);
    CHECK_INT(option(fd, IPPROTO_IPV6, IPV6_V6ONLY), 0);
    mc_socket_close(fd);
}

TEST(a_refused_connect_has_its_errno) {
    mc_address bound;
    int fd = listening("127.0.0.1", &plain, &bound);
    mc_socket_close(fd);
    fd = mc_socket_connect(&bound);
    if (fd >= 0) {
        ready(fd, POLLOUT);
        CHECK_INT(mc_socket_error(fd), ECONNREFUSED);
        mc_socket_close(fd);
    } else {
        CHECK_INT(fd, -ECONNREFUSED);
    }
}
