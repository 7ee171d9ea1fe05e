#include "route/domains.h"

#include "base/alloc.h"
#include "route/compile.h"

static void wildcards_fini(mc_wildcards *wildcards) {
    mc_map_fini(&wildcards->by_text);
    mc_free(wildcards->lengths);
}

void mc_domains_fini(mc_domains *domains) {
    mc_map_fini(&domains->exact);
    wildcards_fini(&domains->suffixes);
    wildcards_fini(&domains->prefixes);
}

static mc_status put_once(mc_compile *c, mc_map *map, mc_slice text, mc_slice domain, const mc_host *host) {
    if (mc_map_get(map, text) != NULL) {
        return mc_error_set(c->error, MC_EINVAL, "", "domain %.*s is there already", MC_SLICE_ARG(domain));
    }
    return mc_map_put(map, text, (void *)host);
}

static mc_status add_wildcard(mc_compile *c, mc_wildcards *wildcards, mc_slice text, mc_slice domain,
                              const mc_host *host) {
    MC_TRY(put_once(c, &wildcards->by_text, text, domain, host));
    size_t at = 0;
    while (at < wildcards->length_count && wildcards->lengths[at] > text.n) {
        at++;
    }
    if (at < wildcards->length_count && wildcards->lengths[at] == text.n) {
        return MC_OK;
    }
    MC_TRY(
        mc_grow(&wildcards->lengths, &wildcards->length_cap, wildcards->length_count + 1, sizeof *wildcards->lengths));
    memmove(wildcards->lengths + at + 1, wildcards->lengths + at,
            (wildcards->length_count - at) * sizeof *wildcards->lengths);
    wildcards->lengths[at] = (uint32_t)text.n;
    wildcards->length_count++;
    return MC_OK;
}

mc_status mc_domains_add(mc_compile *c, mc_domains *domains, mc_slice domain, const mc_host *host) {
    mc_slice lower;
    MC_TRY(mc_dup_lower(c->arena, domain, &lower));
    if (mc_slice_eq(lower, MC_SLICE("*"))) {
        if (domains->any != NULL) {
            return mc_error_set(c->error, MC_EINVAL, "", "domain * is there already");
        }
        domains->any = host;
        return MC_OK;
    }
    if (lower.n > 0 && lower.p[0] == '*') {
        return add_wildcard(c, &domains->suffixes, mc_slice_from(lower, 1), domain, host);
    }
    if (lower.n > 0 && lower.p[lower.n - 1] == '*') {
        return add_wildcard(c, &domains->prefixes, mc_slice_until(lower, lower.n - 1), domain, host);
    }
    return put_once(c, &domains->exact, lower, domain, host);
}

static const mc_host *find_wildcard(const mc_wildcards *wildcards, mc_slice name, bool suffix) {
    for (size_t i = 0; i < wildcards->length_count; i++) {
        uint32_t n = wildcards->lengths[i];
        if (n >= name.n) { /* the '*' stands for at least one byte */
            continue;
        }
        mc_slice part = suffix ? mc_slice_from(name, name.n - n) : mc_slice_until(name, n);
        const mc_host *host = mc_map_get(&wildcards->by_text, part);
        if (host != NULL) {
            return host;
        }
    }
    return NULL;
}

const mc_host *mc_domains_find(const mc_domains *domains, mc_slice name) {
    if (mc_domains_only_any(domains)) {
        return domains->any;
    }
    if (name.p == NULL) {
        return NULL;
    }
    const mc_host *host = mc_map_get(&domains->exact, name);
    if (host == NULL) {
        host = find_wildcard(&domains->suffixes, name, true);
    }
    if (host == NULL) {
        host = find_wildcard(&domains->prefixes, name, false);
    }
    return host == NULL ? domains->any : host;
}
