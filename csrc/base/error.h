/* A configuration error: where and what. Filled by compile steps, shown to the user as ConfigError(path, reason). */
#ifndef MC_BASE_ERROR_H
#define MC_BASE_ERROR_H

#include "base/status.h"

typedef struct mc_error {
    char path[512];   /* field path, e.g. virtual_hosts[0].routes[2].match.prefix */
    char reason[256]; /* what it must be */
} mc_error;

/* Both NUL-terminated and cut to fit; returns `status`. */
mc_status mc_error_set(mc_error *error, mc_status status, const char *path, const char *format, ...) MC_PRINTF(4, 5);
/* Puts "prefix." (or "prefix" before '[') in front of the path: callers add their part on the way up. */
void mc_error_under(mc_error *error, const char *format, ...) MC_PRINTF(2, 3);

#endif
