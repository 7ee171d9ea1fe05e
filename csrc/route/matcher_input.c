#include "route/matcher_input.h"

#include "base/read.h"
#include "base/value_edit.h"

#define COMMON  "envoy.extensions.matching.common_inputs."
#define NETWORK COMMON "network.v3."
#define SSL     COMMON "ssl.v3."
static const mc_name_value inputs[] = {{"envoy.type.matcher.v3.HttpRequestHeaderMatchInput", MC_INPUT_HEADER},
                                       {"envoy.type.matcher.v3.HttpRequestQueryParamMatchInput", MC_INPUT_QUERY},
                                       {COMMON "environment_variable.v3.Config", MC_INPUT_ENVIRONMENT},
                                       {NETWORK "DestinationIPInput", MC_INPUT_DESTINATION_IP},
                                       {NETWORK "DestinationPortInput", MC_INPUT_DESTINATION_PORT},
                                       {NETWORK "SourceIPInput", MC_INPUT_SOURCE_IP},
                                       {NETWORK "SourcePortInput", MC_INPUT_SOURCE_PORT},
                                       {NETWORK "DirectSourceIPInput", MC_INPUT_DIRECT_SOURCE_IP},
                                       {NETWORK "SourceTypeInput", MC_INPUT_SOURCE_TYPE},
                                       {NETWORK "ServerNameInput", MC_INPUT_SERVER_NAME},
                                       {NETWORK "FilterStateInput", MC_INPUT_FILTER_STATE},
                                       {NETWORK "DynamicMetadataInput", MC_INPUT_METADATA},
                                       {SSL "UriSanInput", MC_INPUT_URI_SAN},
                                       {SSL "DnsSanInput", MC_INPUT_DNS_SAN},
                                       {SSL "SubjectInput", MC_INPUT_SUBJECT},
                                       {"xds.type.matcher.v3.HttpAttributesCelMatchInput", MC_INPUT_ATTRIBUTES},
                                       {NULL, 0}};

/* The control side puts "=" and what the variable holds in the place of its name, where it is set. */
static mc_status read_environment(mc_arena *arena, const mc_value *config, mc_slice *out, mc_error *error) {
    mc_slice name;
    MC_TRY(mc_read_name(arena, config, "name", &name, error));
    if (name.p[0] == '=') {
        *out = mc_slice_of(name.p + 1, name.n - 1);
    }
    return MC_OK;
}

mc_status mc_tree_input_compile(mc_arena *arena, const mc_value *value, mc_tree_input *out, bool *reads_info,
                                mc_error *error) {
    const mc_value *config;
    uint64_t kind;
    mc_status status = MC_OK;
    MC_TRY(mc_read_extension(value, "typed_config", inputs, &config, &kind, error));
    out->kind = (mc_tree_input_kind)kind;
    *reads_info = *reads_info || kind >= MC_INPUT_DIRECT_SOURCE_IP;
    switch (out->kind) {
    case MC_INPUT_HEADER:
        status = mc_read_text(arena, config, "header_name", &out->name, error); /* an empty one is no header */
        if (status == MC_OK) {
            status = mc_dup_lower(arena, out->name, &out->name);
        }
        break;
    case MC_INPUT_QUERY: status = mc_read_name(arena, config, "query_param", &out->name, error); break;
    case MC_INPUT_ENVIRONMENT: status = read_environment(arena, config, &out->name, error); break;
    case MC_INPUT_FILTER_STATE:
        status = mc_read_name(arena, config, "key", &out->name, error);
        if (status == MC_OK) {
            status = mc_read_text(arena, config, "field", &out->field, error);
        }
        break;
    case MC_INPUT_METADATA: status = mc_metadata_place_read(arena, config, "filter", &out->place, error); break;
    default: break;
    }
    return mc_error_in(status, error, "typed_config");
}

static mc_status ip_text(const mc_match_input *in, const mc_address *address, bool port, mc_slice *out) {
    char text[MC_ADDRESS_TEXT];
    if (address == NULL || address->length == 0) {
        return MC_OK;
    }
    size_t n = port ? mc_format_u64(text, mc_address_port(address)) : mc_address_ip(address, text);
    return mc_arena_dup(in->request->arena, mc_slice_of(text, n), out);
}

const mc_value *mc_tree_input_metadata(const mc_tree_input *input, const mc_match_input *in) {
    return in->request->info == NULL ? NULL : mc_metadata_find(in->request->info->dynamic_metadata, &input->place);
}

/* Alternative names as one text. */
static mc_status join(mc_slices names, mc_arena *arena, mc_slice *out) {
    size_t count = 0;
    mc_slice *parts = mc_arena_alloc(arena, 2 * (size_t)names.count * sizeof *parts);
    if (parts == NULL) {
        return MC_ENOMEM;
    }
    for (uint32_t i = 0; i < names.count; i++) {
        parts[count++] = names.items[i];
        parts[count++] = MC_SLICE(",");
    }
    return count == 0 ? MC_OK : mc_arena_concat(arena, parts, count - 1, out);
}

static mc_status of_certificate(const mc_tree_input *input, const mc_match_input *in, mc_slice *out) {
    const mc_stream_info *info = in->request->info;
    const mc_certificate *peer = info == NULL || info->downstream_tls == NULL ? NULL : info->downstream_tls->peer;
    if (peer == NULL) {
        return MC_OK;
    }
    switch (input->kind) {
    case MC_INPUT_URI_SAN: return join(peer->uri_sans, in->request->arena, out);
    case MC_INPUT_DNS_SAN: return join(peer->dns_sans, in->request->arena, out);
    default: break;
    }
    if (peer->subject.n > 0) {
        *out = peer->subject;
    }
    return MC_OK;
}

/* A field of an object of the filter state; what has none has no such text. */
static mc_status field_text(const mc_value *object, mc_slice name, mc_arena *arena, mc_slice *out) {
    char digits[20];
    const mc_value *value = object != NULL && object->kind == MC_OBJECT ? mc_value_find(object, name) : NULL;
    if (value != NULL && value->kind == MC_STRING) {
        *out = value->string;
    } else if (value != NULL && value->kind == MC_NUMBER && value->number >= 0) {
        return mc_arena_dup(arena, mc_slice_of(digits, mc_format_u64(digits, (uint64_t)value->number)), out);
    }
    return MC_OK;
}

mc_status mc_tree_input_text(const mc_tree_input *input, const mc_match_input *in, mc_slice *out) {
    const mc_route_request *request = in->request;
    const mc_stream_info *info = request->info;
    const mc_value *value;
    *out = MC_SLICE_NONE;
    switch (input->kind) {
    case MC_INPUT_HEADER: return mc_headers_joined(request->headers, input->name, request->arena, out);
    case MC_INPUT_QUERY:
        return mc_query_get(in->query, input->name, out) ? mc_percent_decode(*out, request->arena, out) : MC_OK;
    case MC_INPUT_ENVIRONMENT: *out = input->name; return MC_OK;
    case MC_INPUT_DESTINATION_IP: return ip_text(in, request->local, false, out);
    case MC_INPUT_DESTINATION_PORT: return ip_text(in, request->local, true, out);
    case MC_INPUT_SOURCE_IP: return ip_text(in, request->remote, false, out);
    case MC_INPUT_SOURCE_PORT: return ip_text(in, request->remote, true, out);
    case MC_INPUT_DIRECT_SOURCE_IP:
        return ip_text(in, info == NULL ? NULL : info->downstream_direct_remote, false, out);
    case MC_INPUT_SOURCE_TYPE:
        if (request->remote != NULL && mc_address_is_loopback(request->remote)) {
            *out = MC_SLICE("local");
        }
        return MC_OK;
    case MC_INPUT_SERVER_NAME:
        if (info != NULL && info->requested_server_name.n > 0) {
            *out = info->requested_server_name;
        }
        return MC_OK;
    case MC_INPUT_FILTER_STATE:
        value = info == NULL ? NULL : mc_value_find(info->filter_state, input->name);
        if (input->field.n > 0) {
            return field_text(value, input->field, request->arena, out);
        }
        break;
    case MC_INPUT_METADATA: value = mc_tree_input_metadata(input, in); break;
    case MC_INPUT_ATTRIBUTES: return MC_OK;
    default: return of_certificate(input, in, out);
    }
    if (value != NULL && value->kind == MC_STRING) {
        *out = value->string;
    }
    return MC_OK;
}
