#include "base/alloc.h"
#include "net/net_internal.h"

enum { SCRATCH = 16384 };

static void run_flusher(mc_deferred *deferred) { mc_net_flush(MC_CONTAINER(deferred, mc_net, flusher)); }

mc_net *mc_net_new(mc_loop *loop) {
    mc_net *net = mc_calloc(1, sizeof *net);
    if (net == NULL) {
        return NULL;
    }
    net->read_buffer = mc_malloc(MC_NET_KEEP + MC_NET_READ);
    if (net->read_buffer == NULL) {
        mc_free(net);
        return NULL;
    }
    net->loop = loop;
    net->flusher.run = run_flusher;
    mc_list_init(&net->flush);
    mc_chunk_pool_init(&net->chunks, MC_NET_CHUNKS);
    mc_buffer_init(&net->retired, &net->chunks);
    return net;
}

void mc_net_free(mc_net *net) {
    if (net == NULL) {
        return;
    }
    mc_deferred_cancel(&net->flusher);
    for (void *block = net->free_blocks, *next; block != NULL; block = next) {
        memcpy(&next, block, sizeof next);
        mc_free(block);
    }
    for (mc_scratch_block *block = net->scratch, *next; block != NULL; block = next) {
        next = block->next;
        mc_free(block);
    }
    mc_buffer_clear(&net->retired);
    mc_chunk_pool_fini(&net->chunks);
    mc_free(net->read_buffer);
    mc_free(net);
}

mc_loop *mc_net_loop(mc_net *net) { return net->loop; }
mc_chunk_pool *mc_net_chunks(mc_net *net) { return &net->chunks; }

struct iovec *mc_net_block_get(mc_net *net) {
    void *block = net->free_blocks;
    if (block == NULL) {
        return mc_malloc(MC_NET_BLOCK * sizeof(struct iovec));
    }
    memcpy(&net->free_blocks, block, sizeof block);
    return block;
}

void mc_net_block_put(mc_net *net, struct iovec *block) {
    memcpy(block, &net->free_blocks, sizeof net->free_blocks);
    net->free_blocks = block;
}

char *mc_net_scratch(mc_net *net, size_t n) {
    mc_scratch_block *block = net->scratch;
    if (block == NULL || block->size - net->scratch_used < n) {
        size_t size = n > SCRATCH ? n : SCRATCH;
        block = size > SIZE_MAX - sizeof *block ? NULL : mc_malloc(sizeof *block + size);
        if (block == NULL) {
            return NULL;
        }
        *block = (mc_scratch_block){net->scratch, size};
        net->scratch = block;
        net->scratch_used = 0;
    }
    char *bytes = block->data + net->scratch_used;
    net->scratch_used += n;
    mc_loop_defer_first(net->loop, &net->flusher);
    return bytes;
}

void mc_net_retire(mc_net *net, mc_buffer *buffer) {
    if (buffer->length > 0) {
        mc_buffer_move(&net->retired, buffer);
        mc_loop_defer_first(net->loop, &net->flusher);
    }
}

/* Keeps one block of the ordinary size. */
static void scratch_reset(mc_net *net) {
    net->scratch_used = 0;
    while (net->scratch != NULL && (net->scratch->next != NULL || net->scratch->size > SCRATCH)) {
        mc_scratch_block *next = net->scratch->next;
        mc_free(net->scratch);
        net->scratch = next;
    }
}

void mc_net_flush(mc_net *net) {
    for (mc_link *link; (link = mc_list_pop_front(&net->flush)) != NULL;) {
        mc_conn_flush(MC_CONTAINER(link, mc_conn, flush));
    }
    mc_buffer_clear(&net->retired);
    scratch_reset(net);
}
