#include "lb/assignment.h"

#include "base/alloc.h"
#include "base/defaults.h"
#include "base/map.h"
#include "base/runtime.h"
#include "base/text.h"

typedef struct reader {
    mc_assignment *out;
    const mc_lb_config *config;
    mc_map seen;       /* address text -> itself */
    mc_map localities; /* priority and locality -> its weight */
    mc_error *error;
    uint64_t weights[MC_MAX_PRIORITY + 1]; /* sums by priority */
    uint64_t locality_weights[MC_MAX_PRIORITY + 1];
} reader;

/* RH-3: the tables of hash policies are made of shares of these sums. */
static bool sums_matter(const reader *r) {
    return r->config->policy == MC_LB_RING_HASH || r->config->policy == MC_LB_MAGLEV;
}

static mc_status oom(mc_error *error) { return mc_error_set(error, MC_ENOMEM, "", "out of memory"); }

static mc_status read_address(reader *r, const mc_value *endpoint, mc_host_spec *spec) {
    const mc_value *address, *socket;
    mc_slice ip = MC_SLICE_NONE;
    uint32_t port = 0;
    mc_status status;
    if ((status = mc_value_read_object(endpoint, "address", &address, r->error)) != MC_OK) {
        return status;
    }
    if ((status = mc_value_read_object(address, "socket_address", &socket, r->error)) != MC_OK) {
        goto under;
    }
    if (socket == NULL) {
        return mc_error_set(r->error, MC_EINVAL, "address.socket_address", "is required");
    }
    if ((status = mc_value_read_string(socket, "address", &ip, r->error)) != MC_OK ||
        (status = mc_value_read_u32(socket, "port_value", &port, r->error)) != MC_OK) {
        mc_error_under(r->error, "socket_address");
        goto under;
    }
    if (port > UINT16_MAX || mc_address_parse(&spec->address, ip, (uint16_t)port) != MC_OK) {
        return mc_error_set(r->error, MC_EINVAL, "address.socket_address",
                            "must be an IP address and a port of at most 65535, not \"%.*s\" and %u", MC_SLICE_ARG(ip),
                            port);
    }
    char text[MC_ADDRESS_TEXT];
    size_t n = mc_address_text(&spec->address, text);
    return mc_arena_dup(&r->out->arena, mc_slice_of(text, n), &spec->address_text) == MC_OK ? MC_OK : oom(r->error);
under:
    mc_error_under(r->error, "address");
    return status;
}

/* additional_addresses, with `address` before them. */
static mc_status read_more(reader *r, const mc_value *endpoint, mc_host_spec *spec) {
    const mc_value *items;
    size_t count;
    mc_status status = mc_value_read_list(endpoint, "additional_addresses", &items, &count, r->error);
    if (status != MC_OK || count == 0) {
        return status;
    }
    mc_address *all = mc_arena_alloc(&r->out->arena, (count + 1) * sizeof *all);
    if (all == NULL) {
        return oom(r->error);
    }
    all[0] = spec->address;
    for (size_t i = 0; i < count; i++) {
        mc_host_spec one = *spec;
        if ((status = read_address(r, &items[i], &one)) != MC_OK) {
            mc_error_under(r->error, "additional_addresses[%zu]", i);
            return status;
        }
        all[i + 1] = one.address;
    }
    spec->addresses = all;
    spec->address_count = (uint32_t)count + 1;
    return MC_OK;
}

static mc_status read_endpoint(reader *r, const mc_value *lb_endpoint, mc_host_spec *spec) {
    const mc_value *endpoint;
    mc_status status = mc_value_read_object(lb_endpoint, "endpoint", &endpoint, r->error);
    if (status != MC_OK) {
        return status;
    }
    if ((status = read_address(r, endpoint, spec)) != MC_OK || (status = read_more(r, endpoint, spec)) != MC_OK ||
        (status = mc_value_read_string(endpoint, "hostname", &spec->hostname, r->error)) != MC_OK) {
        mc_error_under(r->error, "endpoint");
    }
    return status;
}

static void read_metadata(const mc_value *lb_endpoint, mc_host_spec *spec) {
    const mc_value *filters = mc_value_get(mc_value_get(lb_endpoint, "metadata"), "filter_metadata");
    const mc_value *canary = mc_value_get(mc_value_get(filters, "envoy.lb"), "canary");
    spec->metadata = filters != NULL && filters->kind == MC_OBJECT && filters->count > 0 ? filters : NULL;
    spec->canary = canary != NULL && canary->kind == MC_BOOL && canary->boolean;
}

static mc_status read_health(const mc_value *lb_endpoint, mc_host_spec *spec, mc_error *error) {
    mc_slice name = MC_SLICE("UNKNOWN");
    mc_status status = mc_value_read_string(lb_endpoint, "health_status", &name, error);
    if (status == MC_OK && mc_eds_status_parse(name, &spec->eds_status) != MC_OK) {
        status = mc_error_set(error, MC_EINVAL, "health_status", "unknown status \"%.*s\"", MC_SLICE_ARG(name));
    }
    return status;
}

/* Names that no configuration can have: what active health checks know of a host. */
static mc_status read_checks(const mc_value *lb_endpoint, mc_host_spec *spec, mc_error *error) {
    mc_status status = mc_value_read_u32(lb_endpoint, "~flags", &spec->initial_flags, error);
    if (status == MC_OK) {
        status = mc_value_read_string(lb_endpoint, "~check", &spec->check, error);
    }
    return status == MC_OK ? mc_value_read_bool(lb_endpoint, "~pending_removal", &spec->pending_removal, error)
                           : status;
}

static mc_status append(reader *r, const mc_host_spec *spec) {
    mc_assignment *out = r->out;
    if (!r->config->keep_duplicates) {
        if (mc_map_get(&r->seen, spec->address_text) != NULL) {
            return MC_OK;
        }
        if (mc_map_put(&r->seen, spec->address_text, (void *)spec->address_text.p) != MC_OK) {
            return oom(r->error);
        }
    }
    if (mc_grow(&out->hosts, &out->cap, out->count + 1, sizeof *out->hosts) != MC_OK) {
        return oom(r->error);
    }
    out->hosts[out->count++] = *spec;
    r->weights[spec->priority] += spec->weight;
    if (sums_matter(r) && r->weights[spec->priority] > UINT32_MAX) {
        return mc_error_set(r->error, MC_EINVAL, "load_balancing_weight",
                            "the weights of priority %u must add up to at most %u", spec->priority, UINT32_MAX);
    }
    return MC_OK;
}

static mc_status read_lb_endpoint(reader *r, const mc_value *lb_endpoint, mc_host_spec spec) {
    mc_status status = read_endpoint(r, lb_endpoint, &spec);
    if (status == MC_OK) {
        status = read_health(lb_endpoint, &spec, r->error);
    }
    if (status == MC_OK) {
        status = read_checks(lb_endpoint, &spec, r->error);
    }
    if (status == MC_OK) {
        status = mc_value_read_u32(lb_endpoint, "load_balancing_weight", &spec.weight, r->error);
    }
    if (status != MC_OK) {
        return status;
    }
    spec.weight = spec.weight == 0 ? 1 : spec.weight;
    read_metadata(lb_endpoint, &spec);
    return append(r, &spec);
}

/* C-6: a locality has one weight in a priority, the last that is given; without a locality there is none. */
static mc_status weigh_locality(reader *r, const mc_value *group, mc_host_spec *spec) {
    mc_arena *arena = &r->out->arena;
    const mc_slice parts[] = {spec->region, spec->zone, spec->sub_zone};
    mc_text key;
    mc_text_init(&key);
    mc_text_u64(&key, spec->priority);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        mc_text_lit(&key, ":");
        mc_text_u64(&key, parts[i].n);
        mc_text_lit(&key, ":");
        mc_text_add(&key, parts[i]);
    }
    uint32_t *weight = key.failed ? NULL : mc_map_get(&r->localities, mc_text_slice(&key));
    if (weight == NULL && !key.failed && (weight = mc_arena_zalloc(arena, sizeof *weight)) != NULL) {
        mc_slice name;
        if (mc_arena_dup(arena, mc_text_slice(&key), &name) != MC_OK ||
            mc_map_put(&r->localities, name, weight) != MC_OK) {
            weight = NULL;
        }
    }
    mc_text_fini(&key);
    if (weight == NULL) {
        return oom(r->error);
    }
    uint64_t *sum = &r->locality_weights[spec->priority];
    *sum -= *weight;
    mc_status status = mc_value_read_u32(group, "load_balancing_weight", weight, r->error);
    *sum += *weight;
    spec->weight_of_locality = weight;
    if (status == MC_OK && sums_matter(r) && *sum > UINT32_MAX) {
        status =
            mc_error_set(r->error, MC_EINVAL, "load_balancing_weight",
                         "the locality weights of priority %u must add up to at most %u", spec->priority, UINT32_MAX);
    }
    return status;
}

/* What the hosts of a locality have in common. */
static mc_status read_locality(reader *r, const mc_value *group, mc_host_spec *spec) {
    const mc_value *locality;
    mc_status status = mc_value_read_object(group, "locality", &locality, r->error);
    if (status != MC_OK) {
        return status;
    }
    if ((status = mc_value_read_string(locality, "region", &spec->region, r->error)) != MC_OK ||
        (status = mc_value_read_string(locality, "zone", &spec->zone, r->error)) != MC_OK ||
        (status = mc_value_read_string(locality, "sub_zone", &spec->sub_zone, r->error)) != MC_OK) {
        mc_error_under(r->error, "locality");
        return status;
    }
    if ((status = mc_value_read_u32(group, "priority", &spec->priority, r->error)) != MC_OK) {
        return status;
    }
    if (spec->priority > MC_MAX_PRIORITY) {
        return mc_error_set(r->error, MC_EINVAL, "priority", "must be at most %d", MC_MAX_PRIORITY);
    }
    return locality == NULL ? MC_OK : weigh_locality(r, group, spec);
}

static mc_status read_group(reader *r, const mc_value *group) {
    const mc_value *items;
    size_t count;
    mc_host_spec spec = {.weight = 1};
    mc_status status = read_locality(r, group, &spec);
    if (status != MC_OK) {
        return status;
    }
    if (spec.priority >= r->out->priorities) {
        r->out->priorities = spec.priority + 1;
    }
    if ((status = mc_value_read_list(group, "lb_endpoints", &items, &count, r->error)) != MC_OK) {
        return status;
    }
    for (size_t i = 0; i < count; i++) {
        if ((status = read_lb_endpoint(r, &items[i], spec)) != MC_OK) {
            mc_error_under(r->error, "lb_endpoints[%zu]", i);
            return status;
        }
    }
    return MC_OK;
}

/* XDS-31: one category. */
static mc_status read_drop(const mc_value *policy, mc_assignment *out, mc_error *error) {
    const mc_value *list, *percent;
    size_t count;
    mc_fraction fraction = {0, 100, MC_SLICE_NONE};
    mc_status status = mc_value_read_list(policy, "drop_overloads", &list, &count, error);
    if (status != MC_OK || count == 0) {
        return status;
    }
    if (count > 1) {
        return mc_error_set(error, MC_EINVAL, "",
                            "Cluster drop_overloads config has %zu categories. Envoy only support one.", count);
    }
    if ((status = mc_value_read_object(&list[0], "drop_percentage", &percent, error)) != MC_OK ||
        (percent != NULL && (status = mc_fraction_read_percent(percent, &fraction, error)) != MC_OK)) {
        mc_error_under(error, "[0].drop_percentage");
        return status;
    }
    out->drop = (double)fraction.numerator / fraction.denominator;
    return out->drop <= 1
               ? MC_OK
               : mc_error_set(error, MC_EINVAL, "[0].drop_percentage", "must be between 0 and 1, not %g", out->drop);
}

static mc_status read_policy(mc_assignment *out, const mc_value *value, mc_error *error) {
    const mc_value *policy;
    mc_status status = mc_value_read_object(value, "policy", &policy, error);
    if (status != MC_OK) {
        return status;
    }
    out->overprovisioning = (uint32_t)MC_DEFAULT_OVERPROVISIONING_FACTOR;
    if ((status = mc_value_read_u32(policy, "overprovisioning_factor", &out->overprovisioning, error)) != MC_OK ||
        (status = mc_value_read_bool(policy, "weighted_priority_health", &out->weighted_health, error)) != MC_OK) {
        mc_error_under(error, "policy");
        return status;
    }
    if (out->overprovisioning == 0) {
        return mc_error_set(error, MC_EINVAL, "policy.overprovisioning_factor", "must be above 0");
    }
    status = read_drop(policy, out, error);
    if (status != MC_OK) {
        mc_error_under(error, "policy.drop_overloads");
    }
    return status;
}

mc_status mc_assignment_read(const mc_value *value, const mc_lb_config *config, mc_assignment *assignment,
                             mc_error *error) {
    const mc_value *groups;
    size_t count;
    reader r = {.out = assignment, .config = config, .error = error};
    *assignment = (mc_assignment){.priorities = 1};
    mc_arena_init(&assignment->arena, NULL);
    mc_map_init(&r.seen);
    mc_map_init(&r.localities);
    mc_status status = read_policy(assignment, value, error);
    if (status == MC_OK) {
        status = mc_value_read_list(value, "endpoints", &groups, &count, error);
    }
    for (size_t i = 0; status == MC_OK && i < count; i++) {
        if ((status = read_group(&r, &groups[i])) != MC_OK) {
            mc_error_under(error, "endpoints[%zu]", i);
        }
    }
    for (size_t i = 0; status == MC_OK && i < assignment->count; i++) {
        mc_host_spec *spec = &assignment->hosts[i];
        spec->locality_weight = spec->weight_of_locality == NULL ? 0 : *spec->weight_of_locality;
    }
    mc_map_fini(&r.seen);
    mc_map_fini(&r.localities);
    if (status != MC_OK) {
        mc_assignment_fini(assignment);
    }
    return status;
}

void mc_assignment_fini(mc_assignment *assignment) {
    mc_free(assignment->hosts);
    mc_arena_fini(&assignment->arena);
    assignment->hosts = NULL;
    assignment->count = 0;
}
