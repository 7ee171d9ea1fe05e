#include "proxy/proxy.h"

#include <string.h>

#include "http/uri.h"

mc_status mc_proxy_init(mc_proxy *proxy, mc_net *net, mc_slab *slab, uint32_t record_capacity) {
    memset(proxy, 0, sizeof *proxy);
    proxy->loop = mc_net_loop(net);
    proxy->net = net;
    proxy->slab = slab;
    mc_block_pool_init(&proxy->blocks, 256);
    mc_list_init(&proxy->connections);
    return mc_record_ring_init(&proxy->records, record_capacity);
}

void mc_proxy_fini(mc_proxy *proxy) {
    mc_record_ring_fini(&proxy->records);
    mc_span_ring_fini(&proxy->spans);
    mc_block_pool_fini(&proxy->blocks);
}

mc_slice mc_proxy_date(mc_proxy *proxy) {
    uint64_t second = mc_loop_wall_ms(proxy->loop) / 1000;
    if (proxy->date_n == 0 || second != proxy->date_second) {
        proxy->date_second = second;
        proxy->date_n = (uint8_t)mc_http_date((int64_t)second, proxy->date);
    }
    return mc_slice_of(proxy->date, proxy->date_n);
}
