/* Rules of rbac (FL-16): what a policy's permissions and principals say of a request, or of a connection before any request is read.
 * The two kinds of messages have their fields in common, so one kind of rule stands for both.
 * Rules live in the arena of what is compiled and are immutable. */
#ifndef MC_PROXY_FILTERS_RBAC_RULE_H
#define MC_PROXY_FILTERS_RBAC_RULE_H

#include "proxy/filters/kind.h"
#include "route/matcher.h"

typedef struct mc_rbac_rule mc_rbac_rule;

/* What rules look at. */
typedef struct mc_rbac_subject {
    mc_filter *filter; /* NULL: a connection, which has no route */
    const mc_stream_info *info;
    mc_route_request request;
    mc_match_input input;
} mc_rbac_subject;

/* The list `field` of `object`, of which one must hold; an empty one is an error. */
MC_MUST_CHECK mc_status mc_rbac_rule_compile(mc_filter_compile *c, const mc_value *object, const char *field,
                                             const mc_rbac_rule **out);
/* 1, 0 or MC_ENOMEM. */
int mc_rbac_rule_holds(const mc_rbac_rule *rule, const mc_rbac_subject *subject);
/* Whether it, or a rule within it, looks at a header. */
bool mc_rbac_rule_reads_headers(const mc_rbac_rule *rule);

#endif
