#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

mc_status mc_error_set(mc_error *error, mc_status status, const char *path, const char *format, ...) {
    if (error != NULL) {
        va_list args;
        snprintf(error->path, sizeof error->path, "%s", path);
        va_start(args, format);
        vsnprintf(error->reason, sizeof error->reason, format, args);
        va_end(args);
    }
    return status;
}

void mc_error_under(mc_error *error, const char *format, ...) {
    if (error == NULL) {
        return;
    }
    char prefix[256], joined[sizeof prefix + sizeof error->path + 1];
    va_list args;
    va_start(args, format);
    vsnprintf(prefix, sizeof prefix, format, args);
    va_end(args);
    const char *dot = error->path[0] == '\0' || error->path[0] == '[' ? "" : ".";
    snprintf(joined, sizeof joined, "%s%s%s", prefix, dot, error->path);
    memcpy(error->path, joined, sizeof error->path - 1);
    error->path[sizeof error->path - 1] = '\0';
}
