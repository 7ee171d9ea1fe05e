#include "http/forwarded.h"

/* Cuts the last entry off *xff; false: there is none. What stands before the first comma is one, be it empty. */
static bool take_last(mc_slice *xff, mc_slice *entry) {
    size_t comma = xff->n;
    if (xff->p == NULL) {
        return false;
    }
    while (comma > 0 && xff->p[comma - 1] != ',') {
        comma--;
    }
    *entry = mc_slice_trim(mc_slice_from(*xff, comma));
    *xff = comma == 0 ? MC_SLICE_NONE : mc_slice_until(*xff, comma - 1);
    return true;
}

mc_status mc_xff_address(mc_slice xff, uint32_t skip, mc_address *out) {
    mc_slice entry;
    while (take_last(&xff, &entry)) {
        if (skip-- == 0) {
            return mc_address_parse(out, entry, 0) == MC_OK ? MC_OK : MC_ENOTFOUND;
        }
    }
    return MC_ENOTFOUND;
}

mc_status mc_xff_untrusted_address(mc_slice xff, const mc_cidrs *trusted, mc_address *out) {
    mc_slice entry;
    mc_status status = MC_ENOTFOUND;
    while (take_last(&xff, &entry)) {
        if (mc_address_parse(out, entry, 0) != MC_OK) {
            return MC_ENOTFOUND;
        }
        status = MC_OK;
        if (!mc_cidrs_contain(trusted, out)) {
            break;
        }
    }
    return status;
}
