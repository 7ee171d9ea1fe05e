#include "lb/subset_path.h"

#include "lb/metadata.h"

void mc_subset_path_key(mc_text *path, mc_slice key) {
    mc_text_u64(path, key.n);
    mc_text_lit(path, ":");
    mc_text_add(path, key);
}

void mc_subset_path_value(mc_text *path, mc_slice key, const mc_value *value) {
    mc_subset_path_key(path, key);
    mc_text_lit(path, "=");
    mc_lb_value_text(path, value);
    mc_text_lit(path, ";");
}
