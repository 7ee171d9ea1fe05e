/* What HTTP must know of gRPC: content types, statuses, timeouts, messages. Pure functions. */
#ifndef MC_HTTP_GRPC_H
#define MC_HTTP_GRPC_H

#include "http/headers.h"

enum { MC_GRPC_DEADLINE_EXCEEDED = 4 };

/* "application/grpc", alone or followed by '+' (HC-5); "application/grpc-web" is another thing. */
bool mc_grpc_content_type(mc_slice type);
/* A request of that type; what has no path, as CONNECT, is none. */
bool mc_grpc_request(const mc_headers *headers);
/* The gRPC status that stands for an HTTP status (HC-5). */
unsigned mc_grpc_from_http(uint16_t status);
/* The HTTP status that a gRPC status counts as (HC-6); 500 for what is not one. */
uint16_t mc_grpc_to_http(uint64_t grpc_status);
/* "DeadlineExceeded", or with `snake` "DEADLINE_EXCEEDED"; p == NULL for what is not a status. */
mc_slice mc_grpc_status_name(uint64_t grpc_status, bool snake);

/* HC-38: up to eight digits and a unit. Microseconds and nanoseconds are rounded up to milliseconds. */
MC_MUST_CHECK mc_status mc_grpc_timeout_parse(mc_slice text, uint64_t *ms);
enum { MC_GRPC_TIMEOUT_TEXT = 9 };
/* The finest unit that eight digits can hold, at most 99999999H; returns the length. */
size_t mc_grpc_timeout_write(uint64_t ms, char out[MC_GRPC_TIMEOUT_TEXT]);

#endif
