#include "event/cpu.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "event/loop_internal.h"

#define CGROUP "/sys/fs/cgroup/"

void mc_cpu_tell(mc_loop *loop, mc_cpu_use use) { loop->cpu = use; }

static bool read_text(const char *path, char *out, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, out, size - 1);
    if (fd >= 0) {
        close(fd);
    }
    out[n < 0 ? 0 : n] = '\0';
    return n > 0;
}

/* The first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal. */
static mc_status read_machine(mc_cpu_use *out) {
    char text[256], *at = text + 4;
    double all = 0, unused = 0;
    if (!read_text("/proc/stat", text, sizeof text) || memcmp(text, "cpu ", 4) != 0) {
        return MC_EINVAL;
    }
    for (int i = 0; i < 8; i++) {
        const double ticks = strtod(at, &at);
        all += ticks;
        unused += i == 3 || i == 4 ? ticks : 0;
    }
    out->worked = all - unused;
    out->passed = all;
    return MC_OK;
}

/* cgroup v2: microseconds that were used, of a quota in a period. */
static mc_status read_container(const mc_loop *loop, mc_cpu_use *out) {
    char text[1024], *after;
    if (!read_text(CGROUP "cpu.stat", text, sizeof text) || strncmp(text, "usage_usec ", 11) != 0) {
        return MC_EINVAL;
    }
    out->worked = strtod(text + 11, NULL);
    if (read_text(CGROUP "cpu.max", text, sizeof text) && strncmp(text, "max", 3) != 0) {
        const double quota = strtod(text, &after), period = strtod(after, NULL);
        out->cores = period > 0 && quota / period < out->cores ? quota / period : out->cores;
    }
    out->passed = (double)loop->now_us * out->cores;
    return MC_OK;
}

mc_status mc_cpu_read(mc_loop *loop, bool container, mc_cpu_use *out) {
    if (mc_loop_is_virtual(loop)) {
        *out = loop->cpu;
        return MC_OK;
    }
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    out->cores = cores < 1 ? 1 : (double)cores;
    return container ? read_container(loop, out) : read_machine(out);
}
