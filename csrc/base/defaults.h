/* Constants MC_DEFAULT_<NAME>, MC_MIN_<NAME>, MC_MAX_<NAME> out of defaults.def. */
#ifndef MC_BASE_DEFAULTS_H
#define MC_BASE_DEFAULTS_H

#include <stdint.h>

static const uint64_t
#define MC_DEFAULT(name, unit, value, min, max, source)                                                                \
    MC_DEFAULT_##name = (value), MC_MIN_##name = (min), MC_MAX_##name = (max),
#include "base/defaults.def"
#undef MC_DEFAULT
    MC_DEFAULTS_END = 0;

#endif
