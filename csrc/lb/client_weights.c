#include "lb/client_weights.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/value.h"
#include "lb/host.h"
#include "lb/hosts.h"

/* --- weights ---------------------------------------------------------------------------------------------------------------- */

bool mc_load_report_weight(const mc_load_report *report, const mc_client_weights_config *config, uint32_t *out) {
    if (!(report->rps > 0)) {
        return false;
    }
    double utilization = report->metric > 0                    ? report->metric
                         : report->application_utilization > 0 ? report->application_utilization
                                                               : report->cpu_utilization;
    utilization += config->error_penalty * report->eps / report->rps;
    if (!(utilization > 0)) {
        return false;
    }
    const double weight = report->rps / utilization;
    *out = weight >= (double)UINT32_MAX ? UINT32_MAX : (uint32_t)weight;
    return true;
}

void mc_client_weight_report(mc_host *host, uint32_t weight, uint64_t now_ms) {
    uint64_t never = 0;
    atomic_store_explicit(&host->reported_weight, weight, memory_order_relaxed);
    atomic_store_explicit(&host->reported_ms, now_ms, memory_order_relaxed);
    atomic_compare_exchange_strong(&host->reporting_since_ms, &never, now_ms);
}

enum { NO_WEIGHT = -1 };

/* The reported weight, NO_WEIGHT when it does not count. One that is too old starts its blackout again. */
static int64_t valid_weight(mc_host *host, const mc_client_weights_config *config, uint64_t now_ms) {
    const uint64_t since = atomic_load(&host->reporting_since_ms), last = atomic_load(&host->reported_ms);
    if (since == 0 || since + config->blackout_ms > now_ms) {
        return NO_WEIGHT;
    }
    if (last + config->expiration_ms < now_ms) {
        atomic_store(&host->reporting_since_ms, 0);
        return NO_WEIGHT;
    }
    return atomic_load_explicit(&host->reported_weight, memory_order_relaxed);
}

static int by_value(const void *a, const void *b) {
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static uint32_t median(uint32_t *weights, size_t count) {
    if (count == 0) {
        return 1;
    }
    qsort(weights, count, sizeof *weights, by_value);
    return count % 2 == 1 ? weights[count / 2]
                          : (uint32_t)(((uint64_t)weights[count / 2 - 1] + weights[count / 2]) / 2);
}

/* The hosts of one priority: those without a weight of their own get the median of the others'. */
static bool update_list(mc_host_list list, int64_t *valid, uint32_t *sorted, const mc_client_weights_config *config,
                        uint64_t now_ms) {
    size_t n = 0;
    bool changed = false;
    for (size_t i = 0; i < list.count; i++) {
        valid[i] = valid_weight(list.items[i], config, now_ms);
        if (valid[i] != NO_WEIGHT) {
            sorted[n++] = (uint32_t)valid[i];
        }
    }
    const uint32_t usual = median(sorted, n);
    for (size_t i = 0; i < list.count; i++) {
        const uint32_t weight = valid[i] != NO_WEIGHT ? (uint32_t)valid[i] : usual;
        changed |= mc_host_set_weight(list.items[i], weight > 0 ? weight : 1); /* C-4 */
    }
    return changed;
}

bool mc_client_weights_update(const mc_hosts *hosts, const mc_client_weights_config *config, uint64_t now_ms) {
    const size_t count = mc_hosts_count(hosts);
    int64_t *valid = mc_malloc(count * sizeof *valid);
    uint32_t *sorted = mc_malloc(count * sizeof *sorted);
    bool changed = false; /* without memory the weights stay for another period */
    for (size_t i = 0; valid != NULL && sorted != NULL && i < hosts->priority_count; i++) {
        changed |= update_list(hosts->sets[i]->all, valid, sorted, config, now_ms);
    }
    mc_free(valid);
    mc_free(sorted);
    return changed;
}

/* --- reports ---------------------------------------------------------------------------------------------------------------- */

static bool is_metric(mc_slice name, const mc_client_weights_config *config) {
    for (size_t i = 0; i < config->metric_count; i++) {
        if (mc_slice_eq(config->metrics[i], name)) {
            return true;
        }
    }
    return false;
}

static void take(mc_load_report *report, mc_slice name, double value, const mc_client_weights_config *config) {
    if (mc_slice_eq(name, MC_SLICE("rps_fractional"))) {
        report->rps = value;
    } else if (mc_slice_eq(name, MC_SLICE("eps"))) {
        report->eps = value;
    } else if (mc_slice_eq(name, MC_SLICE("application_utilization"))) {
        report->application_utilization = value;
    } else if (mc_slice_eq(name, MC_SLICE("cpu_utilization"))) {
        report->cpu_utilization = value;
    }
    if (is_metric(name, config) && value > report->metric) {
        report->metric = value;
    }
}

static mc_status parse_number(mc_slice text, double *out) {
    char copy[64], *end;
    if (text.n == 0 || text.n >= sizeof copy) {
        return MC_EINVAL;
    }
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    *out = strtod(copy, &end);
    return end == copy + text.n && *out >= 0 && *out < 1e300 ? MC_OK : MC_EINVAL;
}

static mc_status parse_text(mc_slice text, const mc_client_weights_config *config, mc_load_report *out) {
    mc_slice pair;
    while (mc_slice_next(&text, ',', &pair)) {
        const size_t at = mc_slice_find(pair, '=');
        double value;
        if (pair.n == 0) {
            continue;
        }
        if (at == pair.n || parse_number(mc_slice_trim(mc_slice_from(pair, at + 1)), &value) != MC_OK) {
            return MC_EINVAL;
        }
        take(out, mc_slice_trim(mc_slice_until(pair, at)), value, config);
    }
    return MC_OK;
}

/* The members of an object, one level down with their name in front: named_metrics.queue. */
static void take_members(const mc_value *object, mc_slice prefix, const mc_client_weights_config *config,
                         mc_load_report *out) {
    for (size_t i = 0; object->kind == MC_OBJECT && i < object->count; i++) {
        const mc_value *item = &object->items[i];
        char name[128];
        const size_t n = prefix.n + object->names[i].n;
        if (n > sizeof name) {
            continue;
        }
        memcpy(name, prefix.p == NULL ? "" : prefix.p, prefix.n);
        memcpy(name + prefix.n, object->names[i].p, object->names[i].n);
        if (item->kind == MC_NUMBER) {
            take(out, mc_slice_of(name, n), item->number, config);
        } else if (item->kind == MC_OBJECT && prefix.n == 0 && n < sizeof name) {
            name[n] = '.';
            take_members(item, mc_slice_of(name, n + 1), config, out);
        }
    }
}

static mc_status parse_json(mc_slice text, const mc_client_weights_config *config, mc_load_report *out) {
    const mc_value *value;
    mc_arena arena;
    mc_arena_init(&arena, NULL);
    mc_status status = mc_value_parse(&arena, text, &value, NULL);
    if (status == MC_OK && value->kind == MC_OBJECT) {
        take_members(value, MC_SLICE_NONE, config, out);
    } else if (status == MC_OK) {
        status = MC_EINVAL;
    }
    mc_arena_fini(&arena);
    return status;
}

mc_status mc_load_report_parse(mc_slice header, const mc_client_weights_config *config, mc_load_report *out) {
    *out = (mc_load_report){0};
    if (mc_slice_has_prefix(header, MC_SLICE("TEXT "))) {
        return parse_text(mc_slice_from(header, 5), config, out);
    }
    if (mc_slice_has_prefix(header, MC_SLICE("JSON "))) {
        return parse_json(mc_slice_from(header, 5), config, out);
    }
    if (mc_slice_has_prefix(header, MC_SLICE("BIN "))) {
        return mc_load_report_parse_binary(mc_slice_from(header, 4), config, out);
    }
    return MC_EINVAL;
}

/* --- xds.data.orca.v3.OrcaLoadReport on the wire ------------------------------------------------------------------------------ */

static bool varint(mc_slice *rest, uint64_t *out) {
    *out = 0;
    for (unsigned shift = 0; shift < 64 && rest->n > 0; shift += 7) {
        const uint8_t byte = (uint8_t)rest->p[0];
        *rest = mc_slice_from(*rest, 1);
        *out |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            return true;
        }
    }
    return false;
}

typedef struct wire_field {
    uint64_t number;
    double value;   /* of a fixed64 */
    mc_slice bytes; /* of a length-delimited one */
} wire_field;

/* MC_OK, MC_EOF after the last one, or MC_EINVAL. */
static mc_status next_field(mc_slice *rest, wire_field *out) {
    uint64_t tag, n = 0;
    *out = (wire_field){0};
    if (rest->n == 0) {
        return MC_EOF;
    }
    if (!varint(rest, &tag)) {
        return MC_EINVAL;
    }
    out->number = tag >> 3;
    switch (tag & 7) {
    case 0: return varint(rest, &n) ? MC_OK : MC_EINVAL;
    case 1: n = 8; break;
    case 5: n = 4; break;
    case 2:
        if (!varint(rest, &n)) {
            return MC_EINVAL;
        }
        break;
    default: return MC_EINVAL;
    }
    if (n > rest->n) {
        return MC_EINVAL;
    }
    out->bytes = mc_slice_until(*rest, n);
    if ((tag & 7) == 1) {
        memcpy(&out->value, rest->p, 8); /* little-endian, as this machine */
    }
    *rest = mc_slice_from(*rest, n);
    return MC_OK;
}

/* An entry of a map<string, double>. */
static void take_entry(mc_slice entry, mc_slice prefix, const mc_client_weights_config *config, mc_load_report *out) {
    wire_field field;
    char name[128];
    size_t n = 0;
    double value = 0;
    while (next_field(&entry, &field) == MC_OK) {
        if (field.number == 1 && prefix.n + field.bytes.n <= sizeof name && field.bytes.n > 0) {
            memcpy(name, prefix.p, prefix.n);
            memcpy(name + prefix.n, field.bytes.p, field.bytes.n);
            n = prefix.n + field.bytes.n;
        } else if (field.number == 2) {
            value = field.value;
        }
    }
    take(out, mc_slice_of(name, n), value, config);
}

static mc_status parse_wire(mc_slice wire, const mc_client_weights_config *config, mc_load_report *out) {
    static const mc_slice doubles[] = {[1] = MC_SLICE_INIT("cpu_utilization"),
                                       [2] = MC_SLICE_INIT("mem_utilization"),
                                       [6] = MC_SLICE_INIT("rps_fractional"),
                                       [7] = MC_SLICE_INIT("eps"),
                                       [9] = MC_SLICE_INIT("application_utilization")};
    static const mc_slice maps[] = {[4] = MC_SLICE_INIT("request_cost."),
                                    [5] = MC_SLICE_INIT("utilization."),
                                    [8] = MC_SLICE_INIT("named_metrics.")};
    wire_field field;
    mc_status status;
    while ((status = next_field(&wire, &field)) == MC_OK) {
        if (field.number < sizeof doubles / sizeof *doubles && doubles[field.number].n > 0) {
            take(out, doubles[field.number], field.value, config);
        } else if (field.number < sizeof maps / sizeof *maps && maps[field.number].n > 0) {
            take_entry(field.bytes, maps[field.number], config, out);
        }
    }
    return status == MC_EOF ? MC_OK : MC_EINVAL;
}

mc_status mc_load_report_parse_binary(mc_slice base64, const mc_client_weights_config *config, mc_load_report *out) {
    const mc_slice name = MC_SLICE("report");
    mc_value text = {.kind = MC_STRING, .string = base64};
    const mc_value object = {.kind = MC_OBJECT, .items = &text, .names = &name, .count = 1};
    mc_slice wire = MC_SLICE_NONE;
    mc_arena arena;
    *out = (mc_load_report){0};
    mc_arena_init(&arena, NULL);
    mc_status status = mc_value_read_bytes(&object, "report", &arena, &wire, NULL);
    if (status == MC_OK) {
        status = parse_wire(wire, config, out);
    }
    mc_arena_fini(&arena);
    return status;
}
