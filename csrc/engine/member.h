/* Inside of members (members.h): what its files do for one another. Control thread only.
 *
 *   members.c       clusters come into use and go
 *   delivery.c      which hosts workers are told of, and when (CL-11, CL-12)
 *   watch.c         outlier detection and its event log (OD-6 to OD-15)
 *   worker_hosts.c  what workers say of hosts: made on first use, asked to be taken out (CL-15, HC-14) */
#ifndef MC_ENGINE_MEMBER_H
#define MC_ENGINE_MEMBER_H

#include "engine/members.h"

#define COUNT(member, name) mc_counter_inc((member)->engine->slab, (member)->engine->members.name)

uint64_t mc_member_now(const mc_member *member);

/* --- members.c --- */

/* Weights by load reports stay what they are, whatever an assignment says; true when one changed. */
bool mc_member_weigh(mc_member *member);

/* --- delivery.c --- */

void mc_member_delivery_init(mc_member *member);
void mc_member_delivery_stop(mc_member *member);
void mc_member_delivery_fini(mc_member *member);
/* CL-11: once for each priority that won or lost hosts. */
void mc_member_count_changes(const mc_member *member, const mc_hosts *before, const mc_hosts *after);
/* Without memory a watched cluster's new hosts are not watched, the old ones stay so. */
void mc_member_take_hosts(mc_member *member, mc_hosts *hosts);
/* What a configuration brings along: workers are given these hosts, and nothing waits. */
void mc_member_start_over(mc_member *member, mc_hosts *hosts);
/* What a decision changed, to the lists; without memory the next change brings it along. */
void mc_member_after_decision(mc_member *member, bool changed);

/* --- watch.c --- */

/* Outlier detection, if the cluster has it. */
void mc_member_watch(mc_member *member);
void mc_member_unwatch(mc_member *member);

/* --- worker_hosts.c --- */

/* An ORIGINAL_DST cluster lets go of hosts that nobody uses, from now on. */
void mc_member_reap_unused(mc_member *member);

#endif
