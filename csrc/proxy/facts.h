/* Facts: what is remembered of the upstream side of a stream for who tells of it later (access logs, header formats, filters that
 * look at the stream info). A stream without such readers has none (mc_stream.facts NULL), and every note below is one branch.
 *
 * Lives in the stream's arena; texts are copied, because hosts and connections end before the stream does. */
#ifndef MC_PROXY_FACTS_H
#define MC_PROXY_FACTS_H

#include "http/stream_info.h"
#include "pool/pool.h"

/* Of one try. Tries that overlap do not mix. */
typedef struct mc_try_facts {
    struct mc_facts *all;
    const mc_value *host_metadata;
    const mc_value *locality; /* of the host; NULL: none */
    mc_address host, local;   /* the chosen host's; of the connection, ours */
    mc_slice host_name;
    mc_slice failure;            /* why it got no connection; static */
    const mc_address *attempted; /* the host */
    uint64_t connection;
    bool connected, raw;                 /* raw: no HTTP is spoken */
    uint64_t began_us, receive_begin_us; /* 0: no response yet, or but informational ones */
    uint64_t received_before;            /* by the connection, for others */
    /* By it and by all that had their connections before it, as they stood when it got its own; of HTTP/1, the bytes of a header
     * are those of its line. */
    uint64_t wire_sent, wire_received, header_sent, header_received;
    uint64_t plain_header_received;    /* "decompressed": with each answer, as Envoy counts, those of before again */
    uint64_t received_earlier;         /* of wire_received, by those before */
    uint64_t body_sent, body_received; /* by it alone */
    /* As mc_stream_info.at. */
    uint64_t connect_begin, connect_end, send_begin, send_end, body_begin, receive_end, pool_ready;
} mc_try_facts;

typedef struct mc_facts {
    mc_arena *arena;
    const mc_loop *loop;
    uint64_t start_us;
    bool wants_local; /* the local address costs a system call */
    bool wants_place; /* the locality costs copies */

    mc_slice cluster, cluster_raw;
    const mc_value *cluster_metadata;
    uint32_t endpoints; /* of the cluster */
    /* The client's side: what its connection had received and written when the request began; bytes of headers. */
    uint64_t asked_at, answered_at, request_header_bytes, response_header_bytes;
    /* What the request tells of its upstream's side: the try that answers, before that the last one. Its bytes are those of the
     * last that got a connection, whoever answers. */
    mc_try_facts *told, *metered;
    mc_try_facts first; /* all zero and no times while there is no try */
    bool tried;
} mc_facts;

MC_MUST_CHECK mc_facts *mc_facts_new(mc_arena *arena, const mc_loop *loop, uint64_t start_us, bool wants_local,
                                     bool wants_place);
/* `client` is the downstream connection; NULL: there is none. */
void mc_facts_fill(const mc_facts *facts, const mc_conn *client, mc_stream_info *info);
/* The upstream's side as this try has it. */
void mc_facts_fill_try(const mc_try_facts *of, mc_stream_info *info);

/* Out of memory is not told: a fact more or less. */
void mc_facts_note_asked(mc_facts *facts, uint32_t field_bytes); /* mc_h1_head */
void mc_facts_note_asked_trailers(mc_facts *facts, const mc_headers *trailers);
void mc_facts_note_head(mc_facts *facts, mc_slice head); /* of the response, as the client gets it */
void mc_facts_note_trailers(mc_facts *facts, const mc_headers *trailers);
void mc_facts_note_cluster(mc_facts *facts, const mc_cluster *cluster); /* of the route; NULL: none */
/* The request tells of this try. */
static inline void mc_facts_note_answers(mc_try_facts *of) { of->all->told = of; }

/* A try to this host, which the request tells of from now on; NULL: out of memory, or nobody reads them. */
mc_try_facts *mc_facts_begin_try(mc_facts *facts, mc_host *host);
void mc_facts_note_ready(mc_try_facts *of, const mc_conn *conn, bool raw);
void mc_facts_note_failed(mc_try_facts *of);
static inline void mc_facts_note_failure(mc_try_facts *of, mc_slice why) { of->failure = why; }
void mc_facts_note_sent_head(mc_try_facts *of, mc_slice head);
void mc_facts_note_sent(mc_try_facts *of, size_t body, size_t framing);
void mc_facts_note_sent_all(mc_try_facts *of);
void mc_facts_note_answered(mc_try_facts *of, uint32_t field_bytes, mc_attempt *attempt); /* mc_h1_head */
void mc_facts_note_answered_trailers(mc_try_facts *of, const mc_headers *trailers);
static inline void mc_facts_note_begun(mc_try_facts *of, uint64_t at_us) { of->receive_begin_us = at_us; }
void mc_facts_note_body(mc_try_facts *of, size_t n, mc_attempt *attempt);
void mc_facts_note_received(mc_try_facts *of);
/* What came of the response, as long as the try lasts. */
void mc_facts_note_progress(mc_try_facts *of, mc_attempt *attempt);
void mc_facts_note_over(mc_try_facts *of, mc_attempt *attempt); /* once for each try */

/* MC_FACT(stream, head, stream->facts, head); of a try, its own are asked for instead of the stream's. */
#define MC_FACT(of, what, ...)                                                                                         \
    do {                                                                                                               \
        if (MC_UNLIKELY((of)->facts != NULL)) {                                                                        \
            mc_facts_note_##what(__VA_ARGS__);                                                                         \
        }                                                                                                              \
    } while (0)

#endif
