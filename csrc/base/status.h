/* Status codes returned by every core function that can fail.
 *
 * Convention: 0 is success, negative is failure; parsers return bytes consumed (>= 0) or a negative status. A function
 * whose result must not be dropped is marked MC_MUST_CHECK. Wire codes (HTTP statuses, response flags) are separate
 * types and never travel as mc_status. */
#ifndef MC_BASE_STATUS_H
#define MC_BASE_STATUS_H

#define MC_MUST_CHECK        __attribute__((warn_unused_result))
#define MC_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define MC_LIKELY(x)         __builtin_expect(!!(x), 1)
#define MC_UNLIKELY(x)       __builtin_expect(!!(x), 0)

#define MC_STATUS_LIST(X)                                                                                              \
    X(MC_OK, 0, "ok")                                                                                                  \
    X(MC_ENOMEM, -1, "out of memory")                                                                                  \
    X(MC_EINVAL, -2, "invalid argument")                                                                               \
    X(MC_AGAIN, -3, "not ready")                                                                                       \
    X(MC_EOF, -4, "end of stream")                                                                                     \
    X(MC_ERESET, -5, "connection reset")                                                                               \
    X(MC_EPROTO, -6, "protocol error")                                                                                 \
    X(MC_ELIMIT, -7, "limit exceeded")                                                                                 \
    X(MC_ENOTFOUND, -8, "not found")                                                                                   \
    X(MC_EEXIST, -9, "already exists")                                                                                 \
    X(MC_ESYS, -10, "system call failed")                                                                              \
    X(MC_ECLOSED, -11, "closed")

typedef enum mc_status {
#define MC_STATUS_ENUM(name, value, text) name = value,
    MC_STATUS_LIST(MC_STATUS_ENUM)
#undef MC_STATUS_ENUM
} mc_status;

/* Returns the status of what failed. */
#define MC_TRY(expr)                                                                                                   \
    do {                                                                                                               \
        mc_status try_status_ = (mc_status)(expr);                                                                     \
        if (try_status_ != MC_OK) {                                                                                    \
            return try_status_;                                                                                        \
        }                                                                                                              \
    } while (0)

/* Static, never NULL. */
const char *mc_status_name(mc_status status);

#endif
