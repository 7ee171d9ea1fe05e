/* Paths that name subsets: the keys, or keys with values, in ascending order of the keys, as bytes that are equal for equal
 * paths only (SB-2, SB-3). */
#ifndef MC_LB_SUBSET_PATH_H
#define MC_LB_SUBSET_PATH_H

#include "base/text.h"
#include "base/value.h"

/* Appends a step to a path of keys. No path begins another but where its keys begin the other's. */
void mc_subset_path_key(mc_text *path, mc_slice key);
/* Appends a step to a path of keys with values. */
void mc_subset_path_value(mc_text *path, mc_slice key, const mc_value *value);

#endif
