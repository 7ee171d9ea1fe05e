/* Operators that write addresses and hosts. */
#include "http/uri.h"
#include "route/compile.h"
#include "route/format_evals.h"

static bool known(const mc_address *address) { return address != NULL && address->length != 0; }

static mc_format_result add_address(const mc_address *address, bool with_port, mc_text *out) {
    char text[MC_ADDRESS_TEXT];
    if (!known(address)) {
        return MC_FORMAT_NOTHING;
    }
    mc_text_add(out, mc_slice_of(text, with_port ? mc_address_text(address, text) : mc_address_ip(address, text)));
    return MC_FORMAT_SOME;
}

MC_FORMAT_PARSER(mc_format_parse_mask) {
    uint64_t bits;
    if (argument.n > 0 && mc_slice_u64(argument, &bits) == MC_OK && bits <= 128) {
        op->mode = 1;
        op->scope = (uint8_t)bits;
    }
    return MC_OK;
}

/* "10.1.0.0/16" */
static mc_format_result add_masked(const mc_address *address, unsigned bits, mc_text *out) {
    mc_address masked = *address;
    bool v4 = address->any.sa_family == AF_INET;
    unsigned char *raw = v4 ? (void *)&masked.v4.sin_addr : (void *)&masked.v6.sin6_addr;
    unsigned width = v4 ? 32 : 128;
    bits = bits < width ? bits : width;
    for (unsigned i = 0; i < width / 8; i++) {
        unsigned keep = bits >= (i + 1) * 8 ? 8 : bits > i * 8 ? bits - i * 8 : 0;
        raw[i] &= (unsigned char)(0xff00u >> keep);
    }
    (void)add_address(&masked, false, out);
    mc_text_lit(out, "/");
    mc_text_u64(out, bits);
    return MC_FORMAT_SOME;
}

MC_FORMAT_EVAL(mc_format_eval_address) {
    const mc_address *address = MC_FORMAT_FIELD(mc_address *, op, info);
    if (!known(address)) {
        return MC_FORMAT_NOTHING;
    }
    if (op->command->variant == MC_ADDRESS_PORT) {
        return MC_FORMAT_COUNT(mc_address_port(address));
    }
    if (op->mode == 1) {
        return add_masked(address, op->scope, out);
    }
    return add_address(address, op->command->variant == MC_ADDRESS_WITH_PORT, out);
}

/* A host's name as written; without one its address. */
static mc_format_result add_host(const mc_address *address, mc_slice name, unsigned how, mc_text *out) {
    if (!(how & MC_HOST_NAMES) || name.n == 0) {
        const size_t start = out->n;
        mc_format_result result = add_address(address, !(how & MC_HOST_WITHOUT_PORT) || (how & MC_HOST_NAMES), out);
        if (result.kind == MC_FORMAT_TEXT && (how & MC_HOST_NAMES) && (how & MC_HOST_WITHOUT_PORT) && !out->failed) {
            out->n = start + mc_uri_port_start(mc_slice_of(out->p + start, out->n - start));
        }
        return result;
    }
    mc_text_add(out, how & MC_HOST_WITHOUT_PORT ? mc_slice_until(name, mc_uri_port_start(name)) : name);
    return MC_FORMAT_SOME;
}

MC_FORMAT_EVAL(mc_format_eval_host_name) {
    if (!known(info->upstream_host) && info->upstream_host_name.n == 0) {
        return MC_FORMAT_NOTHING;
    }
    return add_host(info->upstream_host, info->upstream_host_name, MC_HOST_NAMES | op->command->variant, out);
}

MC_FORMAT_EVAL(mc_format_eval_hosts) {
    for (uint32_t i = 0; i < info->attempted_host_count; i++) {
        if (i > 0) {
            mc_text_lit(out, ",");
        }
        mc_slice name = info->attempted_host_names == NULL ? MC_SLICE_NONE : info->attempted_host_names[i];
        (void)add_host(info->attempted_hosts[i], name, op->command->variant, out);
    }
    return info->attempted_host_count > 0 ? MC_FORMAT_SOME : MC_FORMAT_NOTHING;
}

MC_FORMAT_EVAL(mc_format_eval_connections) {
    for (uint32_t i = 0; i < info->attempted_connection_count; i++) {
        if (i > 0) {
            mc_text_lit(out, ",");
        }
        mc_text_u64(out, info->attempted_connections[i]);
    }
    return info->attempted_connection_count > 0 ? MC_FORMAT_SOME : MC_FORMAT_NOTHING;
}
