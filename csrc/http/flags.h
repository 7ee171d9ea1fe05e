/* Response flags: why a response is what it is (rule section 4.6). X(BIT NAME, "short", "Long"). */
#ifndef MC_HTTP_FLAGS_H
#define MC_HTTP_FLAGS_H

#include <stdint.h>

#include "base/slice.h"

#define MC_RESPONSE_FLAGS(X)                                                                                           \
    X(LH, "LH", "FailedLocalHealthCheck")                                                                              \
    X(UH, "UH", "NoHealthyUpstream")                                                                                   \
    X(UT, "UT", "UpstreamRequestTimeout")                                                                              \
    X(LR, "LR", "LocalReset")                                                                                          \
    X(UR, "UR", "UpstreamRemoteReset")                                                                                 \
    X(UF, "UF", "UpstreamConnectionFailure")                                                                           \
    X(UC, "UC", "UpstreamConnectionTermination")                                                                       \
    X(UO, "UO", "UpstreamOverflow")                                                                                    \
    X(NR, "NR", "NoRouteFound")                                                                                        \
    X(DI, "DI", "DelayInjected")                                                                                       \
    X(FI, "FI", "FaultInjected")                                                                                       \
    X(RL, "RL", "RateLimited")                                                                                         \
    X(UAEX, "UAEX", "UnauthorizedExternalService")                                                                     \
    X(RLSE, "RLSE", "RateLimitServiceError")                                                                           \
    X(DC, "DC", "DownstreamConnectionTermination")                                                                     \
    X(URX, "URX", "UpstreamRetryLimitExceeded")                                                                        \
    X(SI, "SI", "StreamIdleTimeout")                                                                                   \
    X(IH, "IH", "InvalidEnvoyRequestHeaders")                                                                          \
    X(DPE, "DPE", "DownstreamProtocolError")                                                                           \
    X(UMSDR, "UMSDR", "UpstreamMaxStreamDurationReached")                                                              \
    X(RFCF, "RFCF", "ResponseFromCacheFilter")                                                                         \
    X(NFCF, "NFCF", "NoFilterConfigFound")                                                                             \
    X(DT, "DT", "DurationTimeout")                                                                                     \
    X(UPE, "UPE", "UpstreamProtocolError")                                                                             \
    X(NC, "NC", "NoClusterFound")                                                                                      \
    X(OM, "OM", "OverloadManagerTerminated")                                                                           \
    X(DF, "DF", "DnsResolutionFailed")                                                                                 \
    X(DO, "DO", "DropOverload")                                                                                        \
    X(DR, "DR", "DownstreamRemoteReset")                                                                               \
    X(UDO, "UDO", "UnconditionalDropOverload")

enum {
#define MC_FLAG_INDEX(id, text, name) MC_FLAG_INDEX_##id,
    MC_RESPONSE_FLAGS(MC_FLAG_INDEX)
#undef MC_FLAG_INDEX
        MC_FLAG_COUNT
};
#define MC_FLAG(id) ((uint64_t)1 << MC_FLAG_INDEX_##id)

/* Flags are written in the order they were set: six bits each, 1 + the flag's index, the first one lowest; those that find no room
 * come last, lowest first. */
void mc_flags_add(uint64_t *flags, uint64_t *order, uint64_t added);
/* Takes the flag that is written next out of both; false at the end. */
bool mc_flags_take(uint64_t *flags, uint64_t *order, unsigned *index);

/* Short names joined by ',', or "-"; NUL-terminated, cut at n. Returns the length. */
size_t mc_flags_text(uint64_t flags, char *out, size_t n);
size_t mc_flags_text_ordered(uint64_t flags, uint64_t order, char *out, size_t n);
mc_slice mc_flag_name(unsigned index);
mc_slice mc_flag_long_name(unsigned index);
/* The flag of a short name ("UH") as a bit; 0: there is none. */
uint64_t mc_flag_by_name(mc_slice name);

#endif
