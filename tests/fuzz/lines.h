/* Headers out of arbitrary text: "name: value" lines. */
#ifndef MC_FUZZ_LINES_H
#define MC_FUZZ_LINES_H

#include "http/headers.h"

static inline mc_slice take_line(mc_slice *rest) {
    size_t end = mc_slice_find(*rest, '\n');
    mc_slice line = mc_slice_until(*rest, end);
    *rest = mc_slice_from(*rest, end + 1);
    return line;
}

static inline mc_status add_header(mc_headers *headers, mc_slice name, mc_slice value) {
    return name.n == 0 ? MC_OK : mc_headers_add(headers, name, value.p == NULL ? MC_SLICE("") : value);
}

/* A name may begin with ':'. */
static inline mc_status add_lines(mc_headers *headers, mc_slice text) {
    mc_status status = MC_OK;
    while (status == MC_OK && text.n > 0) {
        mc_slice line = take_line(&text);
        size_t colon = line.n > 0 ? 1 + mc_slice_find(mc_slice_from(line, 1), ':') : 0;
        status = add_header(headers, mc_slice_until(line, colon), mc_slice_trim(mc_slice_from(line, colon + 1)));
    }
    return status;
}

#endif
