#include "event/file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int mc_file_open_append(const char *path) {
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0644);
    return fd < 0 ? -errno : fd;
}

bool mc_file_may_wait(int fd) {
    struct stat status;
    return fstat(fd, &status) == 0 && !S_ISREG(status.st_mode);
}

bool mc_file_writable(int fd, int timeout_ms) {
    struct pollfd entry = {.fd = fd, .events = POLLOUT};
    return poll(&entry, 1, timeout_ms) == 1 && (entry.revents & (POLLOUT | POLLERR | POLLHUP)) != 0;
}

long mc_file_write(int fd, mc_slice bytes) {
    long n;
    do {
        n = write(fd, bytes.p, bytes.n);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

void mc_file_close(int fd) { close(fd); }

int mc_wake_open(void) {
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

void mc_wake_signal(int fd) { (void)!eventfd_write(fd, 1); }

void mc_wake_wait(int fd, int timeout_ms) {
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    eventfd_t count;
    if (poll(&entry, 1, timeout_ms) == 1) {
        (void)!eventfd_read(fd, &count);
    }
}

uint64_t mc_clock_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}
