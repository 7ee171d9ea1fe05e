/* Format: an Envoy substitution format (AL-1 to AL-3), "%REQ(:path)% took %DURATION%", compiled once to a small program.
 *
 * A program is immutable, lives in the arena it was compiled into, and may run on any thread. Running it reads a stream info
 * and appends to a text; nothing else is allocated. A text without operators compiles to one literal, which callers take as it
 * is (mc_format_literal).
 *
 * What the process alone knows (%ENVIRONMENT(X)%, %HOSTNAME%) the control side writes into the text before it comes here. */
#ifndef MC_ROUTE_FORMAT_H
#define MC_ROUTE_FORMAT_H

#include "base/text.h"
#include "http/stream_info.h"

typedef struct mc_format mc_format;

/* The format of access logs without one (AL-2). */
extern const char mc_format_default[];

/* MC_EINVAL: error->path "" and what is wrong with which operator. `omit_empty`: what is absent is "" instead of "-". */
MC_MUST_CHECK mc_status mc_format_compile_text(mc_arena *arena, mc_slice text, bool omit_empty, const mc_format **out,
                                               mc_error *error);
/* `formatters` of a message: whether one of them knows operators that are not always there. */
MC_MUST_CHECK mc_status mc_format_read_formatters(const mc_value *message, bool *extended, mc_error *error);
/* mc_format_compile_text, where `extended` operators may be known. */
MC_MUST_CHECK mc_status mc_format_compile_extended(mc_arena *arena, mc_slice text, bool omit_empty, bool extended,
                                                   const mc_format **out, mc_error *error);
/* A tree whose strings are formats (AL-3); error->path leads into the tree. The line ends with a newline. */
MC_MUST_CHECK mc_status mc_format_compile_json(mc_arena *arena, const mc_value *tree, bool omit_empty,
                                               const mc_format **out, mc_error *error);
/* A SubstitutionFormatString: text_format, text_format_source (inline), json_format, omit_empty_values. */
MC_MUST_CHECK mc_status mc_format_compile(mc_arena *arena, const mc_value *message, const mc_format **out,
                                          mc_error *error);
/* The content_type of a SubstitutionFormatString, else that of its form: text/plain or application/json. */
MC_MUST_CHECK mc_status mc_format_content_type(mc_arena *arena, const mc_value *message, mc_slice *out,
                                               mc_error *error);

/* Appends to `out`, whose `failed` tells of memory that ran out. */
void mc_format_run(const mc_format *format, const mc_stream_info *info, mc_text *out);
/* Also says whether anything of it was there, be it empty; an operator that is absent adds nothing. Text alone. */
bool mc_format_run_present(const mc_format *format, const mc_stream_info *info, mc_text *out);
/* Into an arena. */
MC_MUST_CHECK mc_status mc_format_run_arena(const mc_format *format, const mc_stream_info *info, mc_arena *arena,
                                            mc_slice *out);
/* Whether the program is one constant text. */
bool mc_format_literal(const mc_format *format, mc_slice *out);
/* How many operators, and texts between them, a program of text has. */
uint32_t mc_format_parts(const mc_format *format);

/* What a program reads, for those who must keep it until later: each header name once (lower-case, of the program's arena),
 * and the parts of a stream info that are costly to keep, as bits. */
enum {
    MC_READS_TLS = 1,
    MC_READS_DYNAMIC_METADATA = 2,
    MC_READS_OTHER_METADATA = 4,
    MC_READS_FILTER_STATE = 8,
    MC_READS_HOSTS = 16, /* attempted hosts and connections */
    MC_READS_REQUEST_SIZE = 32,
    MC_READS_RESPONSE_SIZE = 64,
    MC_READS_TRAILER_SIZE = 128,
    MC_READS_BODY = 256,     /* the local reply's */
    MC_READS_LOCAL = 512,    /* the local address of the upstream connection */
    MC_READS_REQUEST = 1024, /* whole header maps */
    MC_READS_RESPONSE = 2048,
    MC_READS_TRAILERS = 4096,
    MC_READS_PLACE = 8192, /* the node, the locality of the host */
};
typedef enum mc_header_map { MC_MAP_REQUEST, MC_MAP_RESPONSE, MC_MAP_TRAILERS, MC_MAP_COUNT } mc_header_map;
typedef struct mc_format_reads {
    uint32_t parts;
    void (*header)(void *ctx, mc_header_map map, mc_slice name);
    void *ctx;
} mc_format_reads;
/* Adds to reads->parts, calls reads->header for every name that is read. */
void mc_format_tell_reads(const mc_format *format, mc_format_reads *reads);

#endif
