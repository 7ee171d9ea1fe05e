#include "base/alloc.h"
#include "event/loop_internal.h"

/* The loop without a kernel: waiting is a jump of the clock. */

static mc_status io_open(mc_loop *loop, mc_io *io) { return MC_EINVAL; }
static void io_close(mc_loop *loop, mc_io *io) {}
static mc_status io_enable(mc_loop *loop, mc_io *io, bool on) { return MC_EINVAL; }
static void nothing(mc_loop *loop) {}
static int no_fd(mc_loop *loop) { return -1; }
static void virtual_free(mc_loop *loop) { mc_free(loop); }

static mc_status jump(mc_loop *loop, int64_t timeout_ms) {
    uint64_t now = mc_loop_now_ms(loop);
    uint64_t limit =
        timeout_ms < 0 || (uint64_t)timeout_ms > UINT64_MAX / 1000 - now ? UINT64_MAX : now + (uint64_t)timeout_ms;
    while (timeout_ms != 0 && mc_list_empty(&loop->wheel.due)) {
        uint64_t next = mc_wheel_next(&loop->wheel);
        if (next > limit || next > UINT64_MAX / 1000) {
            now = limit == UINT64_MAX ? now : limit;
            break;
        }
        now = next;
        mc_wheel_advance(&loop->wheel, now);
    }
    mc_loop_set_now(loop, now * 1000);
    return MC_OK;
}

static const mc_backend virtual_backend = {
    .io_open = io_open,
    .io_close = io_close,
    .io_enable = io_enable,
    .wait = jump,
    .refresh = nothing,
    .wake = nothing,
    .settle = nothing,
    .fd = no_fd,
    .free = virtual_free,
};

mc_loop *mc_loop_new_virtual(uint64_t seed) {
    mc_loop *loop = mc_aligned_alloc(_Alignof(mc_loop), sizeof *loop);
    if (loop == NULL) {
        return NULL;
    }
    memset(loop, 0, sizeof *loop);
    loop->wall_minus_now_ms = MC_VIRTUAL_EPOCH_MS;
    mc_loop_init(loop, &virtual_backend, seed);
    return loop;
}

bool mc_loop_is_virtual(const mc_loop *loop) { return loop->backend == &virtual_backend; }
