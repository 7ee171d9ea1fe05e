/* Facts: what is remembered of the upstream side of a stream for who tells of it later (access logs, header formats, filters that
 * look at the stream info). A stream without such readers has none (mc_stream.facts NULL), and every note below is one branch.
 *
 * Lives in the stream's arena; texts are copied, because hosts and connections end before the stream does. */
#ifndef MC_PROXY_FACTS_H
#define MC_PROXY_FACTS_H

#include "http/stream_info.h"
#include "pool/pool.h"

typedef struct mc_facts {
    mc_arena *arena;
    const mc_loop *loop;
    uint64_t start_us;
    bool wants_local; /* the local address costs a system call */
    bool wants_place; /* the locality costs copies */

    mc_slice cluster, cluster_raw;
    const mc_value *cluster_metadata, *host_metadata;
    const mc_value *locality;       /* of the host; NULL: none */
    uint32_t endpoints;             /* of the cluster */
    mc_address host, remote, local; /* the chosen host's; the connection's */
    mc_slice host_name;
    const mc_address **attempted; /* hosts that the last try had a connection to, each once */
    mc_slice *attempted_names;
    uint64_t *connections;
    uint32_t attempted_count, connection_count, room; /* at most so many of either */
    uint64_t connection;
    bool raw;
    /* The client's side: what its connection had received and written when the request began; bytes of headers. */
    uint64_t asked_at, answered_at, request_header_bytes, response_header_bytes;
    uint64_t try_us;          /* when the last try began */
    uint64_t received_before; /* by the connection, for earlier tries */
    /* By all tries; of HTTP/1, the bytes of a header are those of its line. */
    uint64_t wire_sent, wire_received, header_sent, header_received;
    uint64_t plain_header_received;    /* "decompressed": with each answer, as Envoy counts, those of before again */
    uint64_t received_earlier;         /* of wire_received, by tries before the last */
    uint64_t body_sent, body_received; /* by the last try */
    /* As mc_stream_info.at. */
    uint64_t connect_begin, connect_end, send_begin, send_end, body_begin, receive_end, pool_ready;
} mc_facts;

MC_MUST_CHECK mc_facts *mc_facts_new(mc_arena *arena, const mc_loop *loop, uint64_t start_us, bool wants_local,
                                     bool wants_place);
/* `client` is the downstream connection; NULL: there is none. */
void mc_facts_fill(const mc_facts *facts, const mc_conn *client, mc_stream_info *info);

/* Out of memory is not told: a fact more or less. */
void mc_facts_note_asked(mc_facts *facts, uint32_t field_bytes); /* mc_h1_head */
void mc_facts_note_asked_trailers(mc_facts *facts, const mc_headers *trailers);
void mc_facts_note_head(mc_facts *facts, mc_slice head); /* of the response, as the client gets it */
void mc_facts_note_trailers(mc_facts *facts, const mc_headers *trailers);
void mc_facts_note_cluster(mc_facts *facts, const mc_cluster *cluster); /* of the route; NULL: none */
void mc_facts_note_host(mc_facts *facts, mc_host *host);
void mc_facts_note_ready(mc_facts *facts, const mc_conn *conn, bool raw); /* raw: no HTTP is spoken on it */
void mc_facts_note_failed(mc_facts *facts);
void mc_facts_note_sent_head(mc_facts *facts, mc_slice head);
void mc_facts_note_sent(mc_facts *facts, size_t body, size_t framing);
void mc_facts_note_sent_all(mc_facts *facts);
void mc_facts_note_answered(mc_facts *facts, uint32_t field_bytes, mc_attempt *attempt); /* mc_h1_head */
void mc_facts_note_answered_trailers(mc_facts *facts, const mc_headers *trailers);
void mc_facts_note_body(mc_facts *facts, size_t n, mc_attempt *attempt);
void mc_facts_note_received(mc_facts *facts);
/* What came of the response, as long as the try lasts. */
void mc_facts_note_progress(mc_facts *facts, mc_attempt *attempt);
void mc_facts_note_over(mc_facts *facts, mc_attempt *attempt); /* once for each try */

/* MC_FACT(stream, host, t->host) */
#define MC_FACT(stream, what, ...)                                                                                     \
    do {                                                                                                               \
        if (MC_UNLIKELY((stream)->facts != NULL)) {                                                                    \
            mc_facts_note_##what(__VA_ARGS__);                                                                         \
        }                                                                                                              \
    } while (0)

#endif
