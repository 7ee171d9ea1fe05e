#include "http/grpc.h"

bool mc_grpc_content_type(mc_slice type) {
    mc_slice grpc = MC_SLICE("application/grpc");
    return mc_slice_has_prefix(type, grpc) && (type.n == grpc.n || type.p[grpc.n] == '+');
}

bool mc_grpc_request(const mc_headers *headers) {
    const mc_slice type = mc_headers_get_known(headers, MC_H_CONTENT_TYPE);
    if (!mc_grpc_content_type(type) || !mc_headers_has(headers, MC_H_PATH)) {
        return false;
    }
    /* Two lines are one with a comma, joined already or not, and "application/grpc," is no such type. */
    uint32_t at = headers->first[MC_H_CONTENT_TYPE];
    return !headers->repeated || mc_slice_find(type, '+') < type.n ||
           mc_headers_next(headers, MC_SLICE("content-type"), &at) == NULL;
}

unsigned mc_grpc_from_http(uint16_t status) {
    switch (status) {
    case 400: return 13; /* INTERNAL */
    case 401: return 16; /* UNAUTHENTICATED */
    case 403: return 7;  /* PERMISSION_DENIED */
    case 404: return 12; /* UNIMPLEMENTED */
    case 429:
    case 502:
    case 503:
    case 504: return 14; /* UNAVAILABLE */
    default: return 2;   /* UNKNOWN */
    }
}

uint16_t mc_grpc_to_http(uint64_t grpc_status) {
    static const uint16_t http[] = {200, 499, 500, 400, 504, 404, 409, 403, 429,
                                    400, 409, 400, 501, 500, 503, 500, 401};
    return grpc_status < sizeof http / sizeof http[0] ? http[grpc_status] : 500;
}

enum { DIGITS = 8, MOST = 99999999 };

mc_status mc_grpc_timeout_parse(mc_slice text, uint64_t *ms) {
    uint64_t value;
    if (text.n < 2 || text.n > DIGITS + 1 || mc_slice_u64(mc_slice_until(text, text.n - 1), &value) != MC_OK) {
        return MC_EINVAL;
    }
    switch (text.p[text.n - 1]) {
    case 'H': *ms = value * 3600 * 1000; return MC_OK;
    case 'M': *ms = value * 60 * 1000; return MC_OK;
    case 'S': *ms = value * 1000; return MC_OK;
    case 'm': *ms = value; return MC_OK;
    case 'u': *ms = (value + 999) / 1000; return MC_OK;
    case 'n': *ms = (value + 999999) / 1000000; return MC_OK;
    default: return MC_EINVAL;
    }
}

size_t mc_grpc_timeout_write(uint64_t ms, char out[MC_GRPC_TIMEOUT_TEXT]) {
    static const char units[] = "mSMH";
    static const unsigned divisors[] = {1000, 60, 60};
    char digits[20];
    unsigned unit = 0;
    for (; ms > MOST && unit < 3; unit++) {
        ms /= divisors[unit];
    }
    size_t n = mc_format_u64(digits, ms > MOST ? MOST : ms);
    memcpy(out, digits, n);
    out[n] = units[unit];
    return n + 1;
}

mc_slice mc_grpc_status_name(uint64_t grpc_status, bool snake) {
    static const mc_slice names[][2] = {
#define NAME(camel, snake) {MC_SLICE_INIT(camel), MC_SLICE_INIT(snake)}
        NAME("OK", "OK"),
        NAME("Canceled", "CANCELLED"),
        NAME("Unknown", "UNKNOWN"),
        NAME("InvalidArgument", "INVALID_ARGUMENT"),
        NAME("DeadlineExceeded", "DEADLINE_EXCEEDED"),
        NAME("NotFound", "NOT_FOUND"),
        NAME("AlreadyExists", "ALREADY_EXISTS"),
        NAME("PermissionDenied", "PERMISSION_DENIED"),
        NAME("ResourceExhausted", "RESOURCE_EXHAUSTED"),
        NAME("FailedPrecondition", "FAILED_PRECONDITION"),
        NAME("Aborted", "ABORTED"),
        NAME("OutOfRange", "OUT_OF_RANGE"),
        NAME("Unimplemented", "UNIMPLEMENTED"),
        NAME("Internal", "INTERNAL"),
        NAME("Unavailable", "UNAVAILABLE"),
        NAME("DataLoss", "DATA_LOSS"),
        NAME("Unauthenticated", "UNAUTHENTICATED"),
#undef NAME
    };
    return grpc_status <= 16 ? names[grpc_status][snake] : MC_SLICE_NONE;
}
