/* Values to text as Envoy's %CEL()% has them, and to JSON for its typed kin. */
#include <stdlib.h>

#include "base/base64.h"
#include "base/utf8.h"
#include "base/value_edit.h"
#include "cel/node.h"

/* --- messages in protobuf's text form, on one line ----------------------------------------------------------------------------- */

static void put_quoted(mc_slice s, mc_text *out) {
    mc_text_lit(out, "\"");
    for (size_t i = 0; i < s.n; i++) {
        const unsigned char c = (unsigned char)s.p[i];
        const char *name = c == 0 ? NULL : strchr("\nn\rr\tt\"\"''\\\\", c);
        if (name != NULL && (c < 0x20 || c == '"' || c == '\'' || c == '\\')) {
            mc_text_lit(out, "\\");
            mc_text_add(out, mc_slice_of(name + 1, 1));
        } else if (c < 0x20 || c >= 0x7f) {
            const char octal[] = {'\\', (char)('0' + (c >> 6)), (char)('0' + (c >> 3 & 7)), (char)('0' + (c & 7))};
            mc_text_add(out, mc_slice_of(octal, sizeof octal));
        } else {
            mc_text_add(out, mc_slice_of(s.p + i, 1));
        }
    }
    mc_text_lit(out, "\"");
}

/* 15 digits where they are enough. */
static void put_number(double value, mc_text *out) {
    const size_t start = out->n;
    char digits[40];
    mc_text_general(out, value, 15);
    const size_t n = out->n - start;
    if (!out->failed && n < sizeof digits) {
        memcpy(digits, out->p + start, n);
        digits[n] = '\0';
        if (strtod(digits, NULL) != value) {
            out->n = start;
            mc_text_general(out, value, 17);
        }
    }
}

static void put_struct(const mc_value *object, const char *entry, mc_text *out);

static void put_value(const mc_value *value, mc_text *out) {
    switch (value->kind) {
    case MC_NULL: mc_text_lit(out, "null_value: NULL_VALUE "); return;
    case MC_BOOL:
        mc_text_add(out, value->boolean ? MC_SLICE("bool_value: true ") : MC_SLICE("bool_value: false "));
        return;
    case MC_NUMBER:
        mc_text_lit(out, "number_value: ");
        put_number(value->number, out);
        break;
    case MC_STRING:
        mc_text_lit(out, "string_value: ");
        put_quoted(value->string, out);
        break;
    case MC_LIST:
        mc_text_lit(out, "list_value { ");
        for (size_t i = 0; i < value->count; i++) {
            mc_text_lit(out, "values { ");
            put_value(&value->items[i], out);
            mc_text_lit(out, "} ");
        }
        mc_text_lit(out, "}");
        break;
    case MC_OBJECT:
        mc_text_lit(out, "struct_value { ");
        put_struct(value, "fields", out);
        mc_text_lit(out, "}");
        break;
    }
    mc_text_lit(out, " ");
}

/* The entries of a map by name; those of filter_metadata are themselves Structs. */
static void put_struct(const mc_value *object, const char *entry, mc_text *out) {
    const mc_value *last = NULL;
    mc_slice before = MC_SLICE_NONE;
    for (size_t done = 0; object != NULL && done < object->count; done++) {
        size_t next = object->count;
        for (size_t i = 0; i < object->count; i++) {
            if ((last == NULL || mc_slice_cmp(object->names[i], before) > 0) &&
                (next == object->count || mc_slice_cmp(object->names[i], object->names[next]) < 0)) {
                next = i;
            }
        }
        if (next == object->count) {
            return; /* a name twice */
        }
        before = object->names[next];
        last = &object->items[next];
        mc_text_add(out, mc_slice_cstr(entry));
        mc_text_lit(out, " { key: ");
        put_quoted(before, out);
        mc_text_lit(out, " value { ");
        if (strcmp(entry, "filter_metadata") == 0) {
            put_struct(last, "fields", out);
        } else {
            put_value(last, out);
        }
        mc_text_lit(out, "} } ");
    }
}

static void put_message(const mc_cel *message, mc_text *out) {
    const char *name;
    if (message->which == MC_CEL_METADATA) {
        put_struct(message->json, "filter_metadata", out);
        return;
    }
    for (uint32_t i = 0; (name = mc_cel_message_field((mc_cel_message)message->which, i)) != NULL; i++) {
        const mc_slice field = mc_slice_cstr(name);
        if (mc_cel_message_has(message, field) != 1) {
            continue;
        }
        const mc_cel value = mc_cel_message_get(message, field);
        mc_text_add(out, field);
        if (value.kind == MC_CEL_STRING) {
            mc_text_lit(out, ": ");
            put_quoted(value.text, out);
        } else {
            mc_text_lit(out, " { ");
            if (value.kind == MC_CEL_MESSAGE) {
                put_message(&value, out);
            } else {
                put_struct(value.json, "fields", out);
            }
            mc_text_lit(out, "}");
        }
        mc_text_lit(out, " ");
    }
}

bool mc_cel_print(const mc_cel *value, mc_text *out) {
    switch ((mc_cel_kind)value->kind) {
    case MC_CEL_ERROR:
    case MC_CEL_KIND_COUNT: return false;
    case MC_CEL_NULL: mc_text_lit(out, "NULL"); break;
    case MC_CEL_BOOL: mc_text_add(out, value->boolean ? MC_SLICE("true") : MC_SLICE("false")); break;
    case MC_CEL_INT: mc_text_i64(out, value->i); break;
    case MC_CEL_UINT: mc_text_u64(out, value->u); break;
    case MC_CEL_DOUBLE: mc_text_general(out, value->d, 6); break;
    case MC_CEL_STRING:
    case MC_CEL_BYTES: mc_text_add(out, value->text); break;
    case MC_CEL_LIST: mc_text_lit(out, "CelList value"); break;
    case MC_CEL_MAP: mc_text_lit(out, "CelMap value"); break;
    case MC_CEL_TYPE: mc_text_lit(out, "CelType value"); break;
    case MC_CEL_DURATION: mc_cel_print_duration(value, out); break;
    case MC_CEL_TIMESTAMP: mc_cel_print_timestamp(value, out); break;
    case MC_CEL_MESSAGE: put_message(value, out); break;
    }
    return true;
}

/* --- JSON ---------------------------------------------------------------------------------------------------------------------- */

/* Text that is no UTF-8 is taken as bytes, each of which is a character. */
static mc_status json_text(mc_arena *arena, mc_slice text, mc_value *out) {
    *out = mc_value_text(MC_SLICE_NONE);
    if (mc_utf8_valid(text)) {
        return mc_arena_dup(arena, text, &out->string);
    }
    char *copy = mc_arena_bytes(arena, 2 * text.n);
    size_t n = 0;
    if (copy == NULL) {
        return MC_ENOMEM;
    }
    for (size_t i = 0; i < text.n; i++) {
        const unsigned char c = (unsigned char)text.p[i];
        if (c >= 0x80) {
            copy[n++] = (char)(0xc0 | c >> 6);
        }
        copy[n++] = (char)(c >= 0x80 ? 0x80 | (c & 0x3f) : c);
    }
    out->string = mc_slice_of(copy, n);
    return MC_OK;
}

static mc_status json_time(const mc_cel *value, mc_arena *arena, mc_value *out) {
    mc_text text;
    mc_text_init(&text);
    bool good =
        value->kind == MC_CEL_DURATION ? mc_cel_json_duration(value, &text) : mc_cel_json_timestamp(value, &text);
    mc_status status = text.failed ? MC_ENOMEM : good ? json_text(arena, mc_text_slice(&text), out) : MC_EINVAL;
    mc_text_fini(&text);
    return status;
}

static mc_status json_bytes(mc_slice bytes, mc_arena *arena, mc_value *out) {
    mc_slice text = MC_SLICE_NONE;
    mc_status status = mc_base64_encode(arena, bytes, true, &text);
    *out = mc_value_text(text);
    return status;
}

static mc_status json_key(const mc_cel *key, mc_arena *arena, mc_slice *out) {
    char digits[24];
    switch (key->kind) {
    case MC_CEL_STRING: *out = key->text; return MC_OK;
    case MC_CEL_INT:
    case MC_CEL_UINT: {
        const bool negative = key->kind == MC_CEL_INT && key->i < 0;
        digits[0] = '-';
        size_t n = mc_format_u64(digits + negative, negative ? 0 - key->u : key->u);
        return mc_arena_dup(arena, mc_slice_of(digits, n + negative), out);
    }
    default: return MC_EINVAL;
    }
}

static mc_status json_list(const mc_cel *list, mc_arena *arena, mc_value *out) {
    const uint32_t count = mc_cel_size(list);
    mc_value *items = mc_arena_zalloc(arena, count * sizeof *items);
    mc_status status = items == NULL ? MC_ENOMEM : MC_OK;
    for (uint32_t i = 0; i < count && status == MC_OK; i++) {
        const mc_cel item = mc_cel_list_item(list, i);
        status = mc_cel_to_json(&item, arena, &items[i]);
    }
    *out = (mc_value){.kind = MC_LIST, .items = items, .count = count};
    return status;
}

/* Keys of two kinds may be one name; the last one counts. */
static size_t find_name(const mc_slice *names, size_t count, bool may_repeat) {
    size_t at = may_repeat ? 0 : count;
    while (at < count && !mc_slice_eq(names[at], names[count])) {
        at++;
    }
    return at;
}

static mc_status json_map(const mc_cel *map, mc_arena *arena, mc_value *out) {
    mc_cel_context ctx = {.arena = arena};
    const uint32_t slots = mc_cel_map_slots(map);
    mc_value *items = mc_arena_zalloc(arena, slots * sizeof *items);
    mc_slice *names = mc_arena_zalloc(arena, slots * sizeof *names);
    mc_status status = items == NULL || names == NULL ? MC_ENOMEM : MC_OK;
    size_t count = 0;
    if (map->form == MC_CEL_ATTRIBUTES || map->form == MC_CEL_FILTER_STATE) {
        return MC_EINVAL; /* these cannot be listed */
    }
    for (uint32_t i = 0; i < slots && status == MC_OK; i++) {
        const mc_cel key = mc_cel_map_key(map, i);
        if (key.kind == MC_CEL_ERROR) {
            continue;
        }
        const mc_cel value = mc_cel_map_get(map, &key, &ctx);
        status = ctx.failed ? MC_ENOMEM : json_key(&key, arena, &names[count]);
        if (status == MC_OK) {
            const size_t at = find_name(names, count, map->form == MC_CEL_ITEMS);
            status = mc_cel_to_json(&value, arena, &items[at]);
            count += at == count;
        }
    }
    *out = (mc_value){.kind = MC_OBJECT, .items = items, .names = names, .count = count};
    return status;
}

/* The fields that are there. */
static mc_status json_message(const mc_cel *message, mc_arena *arena, mc_value *out) {
    mc_value *items = mc_arena_zalloc(arena, 8 * sizeof *items);
    mc_slice *names = mc_arena_zalloc(arena, 8 * sizeof *names);
    mc_status status = items == NULL || names == NULL ? MC_ENOMEM : MC_OK;
    size_t count = 0;
    const char *name;
    for (uint32_t i = 0; status == MC_OK && (name = mc_cel_message_field((mc_cel_message)message->which, i)) != NULL;
         i++) {
        names[count] = mc_slice_cstr(name);
        if (mc_cel_message_has(message, names[count]) == 1) {
            const mc_cel value = mc_cel_message_get(message, names[count]);
            status = mc_cel_to_json(&value, arena, &items[count++]);
        }
    }
    *out = (mc_value){.kind = MC_OBJECT, .items = items, .names = names, .count = count};
    return status;
}

mc_status mc_cel_to_json(const mc_cel *value, mc_arena *arena, mc_value *out) {
    switch ((mc_cel_kind)value->kind) {
    case MC_CEL_NULL: *out = (mc_value){.kind = MC_NULL}; return MC_OK;
    case MC_CEL_BOOL: *out = mc_value_bool(value->boolean); return MC_OK;
    case MC_CEL_INT: *out = mc_value_number((double)value->i); return MC_OK;
    case MC_CEL_UINT: *out = mc_value_number((double)value->u); return MC_OK;
    case MC_CEL_DOUBLE: *out = mc_value_number(value->d); return MC_OK;
    case MC_CEL_STRING: return json_text(arena, value->text, out);
    case MC_CEL_BYTES: return json_bytes(value->text, arena, out);
    case MC_CEL_LIST: return json_list(value, arena, out);
    case MC_CEL_MAP: return json_map(value, arena, out);
    case MC_CEL_MESSAGE: return json_message(value, arena, out);
    case MC_CEL_DURATION:
    case MC_CEL_TIMESTAMP: return json_time(value, arena, out);
    case MC_CEL_ERROR:
    case MC_CEL_TYPE:
    case MC_CEL_KIND_COUNT: break;
    }
    return MC_EINVAL;
}
