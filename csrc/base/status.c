#include "base/status.h"

const char *mc_status_name(mc_status status) {
    switch (status) {
#define MC_STATUS_CASE(name, value, text)                                                                              \
    case name: return text;
        MC_STATUS_LIST(MC_STATUS_CASE)
#undef MC_STATUS_CASE
    }
    return "unknown status";
}
