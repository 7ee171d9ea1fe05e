#include "http/stream_info.h"

void mc_stream_info_init(mc_stream_info *info) {
    memset(info, 0, sizeof *info);
    memset(&info->at, 0xff, sizeof info->at); /* MC_NO_TIME */
}

mc_slice mc_log_type_name(unsigned type) {
    static const mc_slice names[] = {
#define MC_LOG_TYPE(id, name) MC_SLICE_INIT(name),
        MC_LOG_TYPES(MC_LOG_TYPE)
#undef MC_LOG_TYPE
    };
    return type < MC_LOG_TYPE_COUNT ? names[type] : MC_SLICE_NONE;
}
