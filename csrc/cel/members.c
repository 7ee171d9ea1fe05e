/* Members: of lists, maps whatever holds them, and messages. */
#include <math.h>

#include "base/value_edit.h"
#include "cel/node.h"

mc_cel mc_cel_from_json(const mc_value *value) {
    switch (value->kind) {
    case MC_NULL: return (mc_cel){.kind = MC_CEL_NULL};
    case MC_BOOL: return mc_cel_bool(value->boolean);
    case MC_NUMBER: return mc_cel_double(value->number);
    case MC_STRING: return mc_cel_string(value->string);
    case MC_LIST: return (mc_cel){.kind = MC_CEL_LIST, .form = MC_CEL_JSON, .json = value};
    case MC_OBJECT: return (mc_cel){.kind = MC_CEL_MAP, .form = MC_CEL_JSON, .json = value};
    }
    return MC_CEL_FAILED;
}

/* A name's first entry stands for all of them. */
static bool is_first(const mc_headers *headers, const mc_header *header) {
    uint32_t at = 0;
    return mc_headers_next(headers, header->name, &at) == header;
}

static uint32_t count_names(const mc_headers *headers) {
    uint32_t count = 0;
    if (headers != NULL) {
        MC_HEADERS_EACH(headers, header) { count += is_first(headers, header); }
    }
    return count;
}

uint32_t mc_cel_size(const mc_cel *container) {
    switch ((mc_cel_form)container->form) {
    case MC_CEL_ITEMS: return container->count;
    case MC_CEL_JSON: return container->json == NULL ? 0 : (uint32_t)container->json->count;
    case MC_CEL_HEADERS: return count_names(container->headers);
    case MC_CEL_ATTRIBUTES:
    case MC_CEL_FILTER_STATE: break; /* Envoy's cannot be listed, and say that they are empty */
    }
    return 0;
}

mc_cel mc_cel_list_item(const mc_cel *list, uint32_t index) {
    return list->form == MC_CEL_ITEMS ? list->items[index] : mc_cel_from_json(&list->json->items[index]);
}

mc_cel mc_cel_map_key(const mc_cel *map, uint32_t index) {
    switch ((mc_cel_form)map->form) {
    case MC_CEL_ITEMS: return map->items[2 * index];
    case MC_CEL_JSON: return mc_cel_string(map->json->names[index]);
    case MC_CEL_HEADERS: {
        const mc_header *header = &map->headers->items[index];
        return header->removed || !is_first(map->headers, header) ? MC_CEL_FAILED : mc_cel_string(header->name);
    }
    default: break;
    }
    return MC_CEL_FAILED;
}

uint32_t mc_cel_map_slots(const mc_cel *map) {
    return map->form != MC_CEL_HEADERS ? mc_cel_size(map) : map->headers == NULL ? 0 : map->headers->count;
}

/* --- maps --------------------------------------------------------------------------------------------------------------------- */

/* A key of its own kind comes before one that is merely equal. */
static mc_cel get_item(const mc_cel *map, const mc_cel *key) {
    mc_cel found = MC_CEL_FAILED;
    for (uint32_t i = 0; i < map->count; i++) {
        const mc_cel *own = &map->items[2 * i];
        if (mc_cel_equal(own, key, NULL)) {
            found = map->items[2 * i + 1];
            if (own->kind == key->kind) {
                break;
            }
        }
    }
    return found;
}

static bool is_header_name(mc_slice name) {
    for (size_t i = 0; i < name.n; i++) {
        unsigned char c = (unsigned char)name.p[i];
        bool word = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
        if (!word && (c == '\0' || strchr("!#$%&'*+-.^_`|~:", c) == NULL)) {
            return false;
        }
    }
    return name.n > 0;
}

static mc_cel get_header(const mc_headers *headers, mc_slice name, mc_cel_context *ctx) {
    mc_slice value = MC_SLICE_NONE;
    if (headers == NULL || !is_header_name(name)) {
        return MC_CEL_FAILED;
    }
    if (mc_slice_ieq(name, MC_SLICE("host"))) {
        name = mc_header_name(mc_header_alias(headers, MC_H_HOST));
    }
    if (mc_headers_joined(headers, name, ctx->arena, &value) != MC_OK) {
        ctx->failed = true;
    }
    return value.p == NULL ? MC_CEL_FAILED : mc_cel_string(value);
}

static const mc_value *plain_form(const mc_value *state, mc_slice key, mc_cel_context *ctx) {
    mc_slice name, parts[] = {key, MC_FORM_PLAIN};
    ctx->failed = ctx->failed || mc_arena_concat(ctx->arena, parts, 2, &name) != MC_OK;
    return ctx->failed ? NULL : mc_value_find(state, name);
}

static mc_cel joined_bytes(const mc_value *list, mc_cel_context *ctx) {
    mc_slice text = MC_SLICE_NONE;
    for (size_t i = 0; i < list->count; i++) {
        mc_slice parts[] = {text, i == 0 ? MC_SLICE_NONE : MC_SLICE(","), list->items[i].string};
        ctx->failed = ctx->failed || mc_arena_concat(ctx->arena, parts, 3, &text) != MC_OK;
    }
    return mc_cel_bytes(text);
}

/* An object with fields is a map of them, anything else its text as bytes. */
static mc_cel get_state(const mc_value *state, mc_slice key, mc_cel_context *ctx) {
    const mc_value *object = mc_value_find(state, key);
    if (object == NULL || object->kind == MC_NULL) {
        return MC_CEL_FAILED;
    }
    if (object->kind == MC_OBJECT) {
        const mc_value *plain = plain_form(state, key, ctx);
        return plain == NULL ? mc_cel_from_json(object) : joined_bytes(plain, ctx);
    }
    if (object->kind == MC_STRING) {
        return mc_cel_bytes(object->string);
    }
    const mc_cel value = mc_cel_from_json(object);
    mc_text text;
    mc_slice copy = MC_SLICE_NONE;
    mc_text_init(&text);
    bool printed = mc_cel_print(&value, &text) && !text.failed;
    if (!printed || mc_arena_dup(ctx->arena, mc_text_slice(&text), &copy) != MC_OK) {
        ctx->failed = true;
    }
    mc_text_fini(&text);
    return mc_cel_bytes(copy);
}

mc_cel mc_cel_map_get(const mc_cel *map, const mc_cel *key, mc_cel_context *ctx) {
    if (map->form == MC_CEL_ITEMS) {
        return get_item(map, key);
    }
    if (key->kind != MC_CEL_STRING) {
        return MC_CEL_FAILED;
    }
    const mc_value *value = NULL;
    switch ((mc_cel_form)map->form) {
    case MC_CEL_HEADERS: return get_header(map->headers, key->text, ctx);
    case MC_CEL_FILTER_STATE: return get_state(map->json, key->text, ctx);
    case MC_CEL_ATTRIBUTES: {
        mc_cel_attribute attribute = mc_cel_attribute_by_name((mc_cel_root)map->which, key->text);
        return attribute == MC_CEL_ATTRIBUTE_COUNT
                   ? MC_CEL_FAILED
                   : mc_cel_attribute_value(attribute, ctx->info, ctx->arena, &ctx->failed);
    }
    default: value = mc_value_find(map->json, key->text); break;
    }
    return value == NULL ? MC_CEL_FAILED : mc_cel_from_json(value);
}

/* --- messages ------------------------------------------------------------------------------------------------------------------- */

/* What there is to read; of Metadata, whose JSON here is that of filter_metadata, it is the whole. */
static const struct {
    const char *name;
    uint8_t message;
    enum { TEXT, STRUCT, LOCALITY, WHOLE, EMPTY } field;
} fields[] = {
    {"filter_metadata", MC_CEL_METADATA, WHOLE},
    {"typed_filter_metadata", MC_CEL_METADATA, EMPTY},
    {"id", MC_CEL_NODE, TEXT},
    {"cluster", MC_CEL_NODE, TEXT},
    {"metadata", MC_CEL_NODE, STRUCT},
    {"locality", MC_CEL_NODE, LOCALITY},
    {"user_agent_name", MC_CEL_NODE, TEXT},
    {"user_agent_version", MC_CEL_NODE, TEXT},
    {"region", MC_CEL_LOCALITY, TEXT},
    {"zone", MC_CEL_LOCALITY, TEXT},
    {"sub_zone", MC_CEL_LOCALITY, TEXT},
};
enum { FIELD_COUNT = sizeof fields / sizeof *fields };

static unsigned find_field(const mc_cel *message, mc_slice name) {
    unsigned i = 0;
    while (i < FIELD_COUNT &&
           (fields[i].message != message->which || !mc_slice_eq(mc_slice_cstr(fields[i].name), name))) {
        i++;
    }
    return i;
}

const char *mc_cel_message_field(mc_cel_message type, uint32_t index) {
    for (unsigned i = 0; i < FIELD_COUNT; i++) {
        if (fields[i].message == type && index-- == 0) {
            return fields[i].name;
        }
    }
    return NULL;
}

mc_cel mc_cel_message_get(const mc_cel *message, mc_slice name) {
    const unsigned i = find_field(message, name);
    if (i == FIELD_COUNT) {
        return MC_CEL_FAILED;
    }
    const mc_value *value = mc_value_find(message->json, name);
    switch (fields[i].field) {
    case TEXT: return mc_cel_string(value != NULL && value->kind == MC_STRING ? value->string : MC_SLICE(""));
    case LOCALITY: return mc_cel_message_of(MC_CEL_LOCALITY, value);
    case WHOLE: value = message->json; break;
    case STRUCT:
    case EMPTY: break;
    }
    return (mc_cel){.kind = MC_CEL_MAP, .form = MC_CEL_JSON, .json = value};
}

int mc_cel_message_has(const mc_cel *message, mc_slice name) {
    const unsigned i = find_field(message, name);
    if (i == FIELD_COUNT) {
        return -1;
    }
    const mc_value *value = fields[i].field == WHOLE ? message->json : mc_value_find(message->json, name);
    return value != NULL && value->kind == MC_OBJECT ? fields[i].field != WHOLE || value->count > 0
                                                     : value != NULL && value->kind == MC_STRING && value->string.n > 0;
}
