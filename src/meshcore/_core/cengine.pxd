"""csrc/engine and csrc/proxy as their bindings see them."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from meshcore._core.cbase cimport (
    c_bool,
    mc_address,
    mc_error,
    mc_slice,
    mc_status,
    mc_text,
    mc_value,
)
from meshcore._core.chttp cimport mc_header, mc_headers
from meshcore._core.stats cimport mc_stats


cdef extern from "event/socket.h" nogil:
    bint mc_socket_node_address(mc_address *out)

cdef extern from "event/loop.h" nogil:
    ctypedef struct mc_loop:
        pass
    ctypedef struct mc_message:
        void (*run)(mc_message *message, mc_loop *loop) noexcept nogil
        void (*drop)(mc_message *message) noexcept nogil
    int mc_loop_fd(mc_loop *loop)
    long mc_loop_turn(mc_loop *loop, int64_t timeout_ms)
    void mc_mailbox_post(mc_loop *loop, mc_message *message)

cdef extern from "proxy/filter.h" nogil:
    ctypedef struct mc_filter:
        pass
    ctypedef enum mc_filter_status:
        MC_FILTER_CONTINUE
        MC_FILTER_STOP
    ctypedef struct mc_filter_type:
        const char *name
        mc_status (*open)(mc_filter *filter) noexcept nogil
        mc_filter_status (*decode_headers)(
            mc_filter *filter, mc_headers *headers, c_bool end_stream) noexcept nogil
        mc_filter_status (*encode_headers)(
            mc_filter *filter, mc_headers *headers, c_bool end_stream) noexcept nogil
        void (*close)(mc_filter *filter) noexcept nogil
    ctypedef struct mc_filter_factory:
        mc_slice name
        const mc_filter_type *type
        void *config
    ctypedef struct mc_reply:
        uint16_t status
        mc_slice body
        const char *details
        uint64_t flags
        const mc_header *headers
        size_t header_count
    const void *mc_filter_get_config(const mc_filter *filter)
    void mc_filter_set_state(mc_filter *filter, void *state)
    void *mc_filter_get_state(const mc_filter *filter)
    mc_headers *mc_filter_request_headers(mc_filter *filter)
    mc_headers *mc_filter_response_headers(mc_filter *filter)
    mc_loop *mc_filter_loop(mc_filter *filter)
    const mc_address *mc_filter_remote(mc_filter *filter)
    void mc_filter_clear_route(mc_filter *filter)
    void mc_filter_continue_decoding(mc_filter *filter)
    void mc_filter_continue_encoding(mc_filter *filter)
    void mc_filter_reply(mc_filter *filter, const mc_reply *reply)

cdef extern from "http/flags.h" nogil:
    size_t mc_flags_text(uint64_t flags, char *out, size_t n)

cdef extern from "proxy/record.h" nogil:
    ctypedef struct mc_record:
        uint64_t start_ms
        uint32_t duration_us
        uint32_t upstream_us
        uint64_t flags
        uint64_t bytes_received
        uint64_t bytes_sent
        mc_address peer
        mc_address upstream
        uint16_t status
        uint8_t version_minor
        uint8_t attempts
        const char *details
        uint8_t method_n
        uint8_t authority_n
        uint8_t path_n
        uint8_t route_n
        uint8_t cluster_n
        char *text

cdef extern from "lb/lb.h" nogil:
    ctypedef struct mc_host_stats:
        uint32_t cx_total
        uint32_t cx_connect_fail
        uint32_t rq_total
        uint32_t rq_success
        uint32_t rq_error
        uint32_t rq_timeout
        uint32_t cx_active
    ctypedef struct mc_host:
        uint32_t rq_active
        uint32_t health_flags
        uint32_t weight
        uint32_t priority
        uint8_t eds_status
        c_bool canary
        mc_slice address_text
        mc_slice hostname
        mc_slice region
        mc_slice zone
        mc_slice sub_zone
        mc_host_stats stats
        mc_outlier_host *outlier
    void mc_host_unref(mc_host *host)
    ctypedef struct mc_hosts:
        pass
    size_t mc_hosts_count(const mc_hosts *hosts)
    const mc_address *mc_hosts_address(const mc_hosts *hosts, const mc_host *host, uint32_t index)
    mc_host *mc_hosts_at(const mc_hosts *hosts, size_t index)
    size_t mc_host_flags_text(uint32_t flags, char *out, size_t n)

cdef extern from "pool/cluster.h" nogil:
    ctypedef struct mc_breaker:
        uint32_t max
    ctypedef struct mc_breakers:
        mc_breaker connections
        mc_breaker pending
        mc_breaker requests
        mc_breaker retries
    ctypedef struct mc_cluster:
        mc_slice name
        mc_slice stat_name
        mc_breakers breakers[2]
    void mc_cluster_unref(mc_cluster *cluster)

cdef extern from "health/outlier.h" nogil:
    ctypedef enum mc_outlier_action:
        MC_OUTLIER_EJECT
        MC_OUTLIER_WOULD_EJECT
        MC_OUTLIER_UNEJECT
    ctypedef int mc_outlier_type
    const char *mc_outlier_type_name(mc_outlier_type type)
    struct mc_outlier_host:
        double success_rate
        double local_success_rate

cdef extern from "engine/members.h" nogil:
    ctypedef struct mc_outlier:
        double success_rate_average[2]
        double success_rate_threshold[2]
    ctypedef struct mc_members:
        pass
    ctypedef struct mc_member:
        mc_hosts *hosts
        c_bool watched
        mc_outlier outlier
    mc_member *mc_members_find(const mc_members *members, const mc_cluster *cluster)
    ctypedef struct mc_outlier_note:
        mc_cluster *cluster
        mc_host *host
        mc_outlier_action action
        mc_outlier_type type
        uint64_t wall_ms
        uint64_t since_ms
        uint32_t ejections
        double success_rate
        double average
        double threshold
    const mc_address *mc_member_address(const mc_member *member, const mc_host *host)
    c_bool mc_members_take_failed(mc_members *members, mc_cluster **cluster, mc_host **host)
    size_t mc_members_notes(mc_members *members, mc_outlier_note *out, size_t n)
    void mc_outlier_note_fini(mc_outlier_note *note)

cdef extern from "pool/names.h" nogil:
    ctypedef struct mc_name_cache:
        mc_slice name

cdef extern from "engine/snapshot.h" nogil:
    ctypedef struct mc_listener_config:
        mc_slice name
        mc_address address
    ctypedef struct mc_snapshot_cluster:
        mc_cluster *cluster
    ctypedef struct mc_snapshot:
        mc_listener_config *listeners
        uint32_t listener_count
        mc_snapshot_cluster *clusters
        uint32_t cluster_count
    void mc_snapshot_unref(mc_snapshot *snapshot)

cdef extern from "proxy/log_writer.h" nogil:
    ctypedef struct mc_log_writer:
        pass
    ctypedef struct mc_log_options:
        uint64_t flush_interval_ms
        size_t flush_bytes
    void mc_log_writer_run(mc_log_writer *writer)
    void mc_log_writer_stop(mc_log_writer *writer)
    void mc_log_writer_reopen(mc_log_writer *writer)
    bint mc_log_writer_flush(mc_log_writer *writer, int timeout_ms)
    bint mc_log_writer_used(const mc_log_writer *writer)
    uint64_t mc_log_writer_dropped(const mc_log_writer *writer)
    ctypedef struct mc_log_batch:
        mc_text text
        uint64_t messages
    c_bool mc_log_writer_take(
        mc_log_writer *writer, uint32_t number, c_bool rest, mc_log_batch *out)

cdef extern from "proxy/overload.h" nogil:
    enum: MC_OVERLOAD_COUNT
    ctypedef struct mc_overload:
        pass
    int mc_overload_find(mc_slice name)
    void mc_overload_set_floor(mc_overload *overload, mc_slice name, uint64_t ms, double share)
    void mc_overload_clear(mc_overload *overload)

cdef extern from "engine/engine.h" nogil:
    ctypedef struct mc_worker:
        mc_loop *loop
    ctypedef struct mc_bound:
        mc_address actual
    ctypedef struct mc_engine:
        mc_stats *stats
        mc_log_writer *log_writer
        mc_loop *control
        mc_worker *workers
        uint32_t worker_count
        mc_snapshot *current
        mc_members members
        mc_overload overload
    ctypedef struct mc_engine_options:
        uint32_t workers
        uint64_t seed
        uint32_t record_capacity
        mc_stats *stats
        mc_log_options log
        c_bool is_virtual
    mc_status mc_engine_new(const mc_engine_options *options, mc_engine **out)
    void mc_engine_free(mc_engine *engine)
    mc_status mc_engine_compile(mc_engine *engine, const mc_value *bootstrap,
                                const mc_filter_factory *factories, size_t factory_count,
                                mc_snapshot **out, mc_error *error)
    mc_status mc_engine_bind(mc_engine *engine, const mc_snapshot *snapshot, mc_error *error)
    mc_status mc_engine_publish(mc_engine *engine, mc_snapshot *snapshot)
    c_bool mc_engine_applied(const mc_engine *engine)
    mc_status mc_engine_set_assignment(mc_engine *engine, mc_slice cluster,
                                       const mc_value *assignment, mc_error *error)
    ctypedef struct mc_health_update:
        uint32_t set
        uint32_t clear
        c_bool passed
        c_bool well
        c_bool failed
    mc_status mc_engine_set_health(mc_engine *engine, mc_slice cluster, mc_slice address,
                                   const mc_health_update *update)
    mc_status mc_engine_refresh(mc_engine *engine, mc_slice cluster)
    void mc_engine_set_overload(mc_engine *engine, int id, double chance)
    void mc_engine_track_heavy(mc_engine *engine, unsigned shift)
    uint32_t mc_engine_connections(const mc_engine *engine)
    c_bool mc_engine_health_failed(const mc_engine *engine)
    void mc_engine_fail_health(mc_engine *engine, c_bool fail)
    void mc_engine_drain(mc_engine *engine)
    c_bool mc_engine_drained(const mc_engine *engine)
    void mc_engine_close_listeners(mc_engine *engine)
    void mc_engine_stop(mc_engine *engine)
    c_bool mc_engine_stopped(const mc_engine *engine)
    void mc_engine_wake(mc_engine *engine)
    mc_status mc_engine_run_worker(mc_engine *engine, uint32_t index)
    mc_hosts *mc_engine_members(const mc_engine *engine, const mc_cluster *cluster)
    const mc_bound *mc_engine_find_bound(const mc_engine *engine, mc_slice name)
    size_t mc_engine_records(mc_engine *engine, mc_record *out, size_t n)
    uint64_t mc_engine_records_dropped(const mc_engine *engine)
    bint mc_engine_span(mc_engine *engine, mc_text *out)
    uint64_t mc_engine_spans_dropped(const mc_engine *engine)

cdef extern from "engine/names.h" nogil:
    mc_status mc_engine_names_open(
        mc_engine *engine, mc_slice cache, uint32_t max_hosts, uint32_t max_pending)
    c_bool mc_engine_names_take(mc_engine *engine, mc_name_cache **cache, mc_slice *key)
    mc_status mc_engine_names_count(mc_engine *engine, mc_slice cache, uint32_t hosts)
    mc_status mc_engine_names_set(
        mc_engine *engine, mc_slice cache, mc_slice key, const mc_address *addresses,
        uint32_t count, mc_slice details)
    void mc_engine_names_drop(mc_engine *engine, mc_slice cache, mc_slice key)
    uint64_t mc_engine_names_age(const mc_engine *engine, mc_slice cache, mc_slice key)
