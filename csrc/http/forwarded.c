#include "http/forwarded.h"

mc_status mc_xff_address(mc_slice xff, uint32_t skip, mc_address *out) {
    while (xff.n > 0) {
        size_t comma = xff.n;
        while (comma > 0 && xff.p[comma - 1] != ',') {
            comma--;
        }
        if (skip-- == 0) {
            mc_slice entry = mc_slice_trim(mc_slice_from(xff, comma));
            return mc_address_parse(out, entry, 0) == MC_OK ? MC_OK : MC_ENOTFOUND;
        }
        xff.n = comma == 0 ? 0 : comma - 1;
    }
    return MC_ENOTFOUND;
}
