#include "stats/labels.h"

#include "base/alloc.h"
#include "stats/store.h"

/* Prometheus label name: anything but letters, digits and "_" becomes "_". */
static char *put_name(char *at, mc_slice name) {
    for (size_t i = 0; i < name.n; i++) {
        *at++ = mc_prometheus_char(name.p[i]);
    }
    return at;
}

static char *put_value(char *at, mc_slice value) {
    for (size_t i = 0; i < value.n; i++) {
        char c = value.p[i];
        if (c == '\\' || c == '"' || c == '\n') {
            *at++ = '\\';
        }
        *at++ = c == '\n' ? 'n' : c;
    }
    return at;
}

static char *put(char *at, mc_slice from, mc_slice *to) {
    *to = mc_slice_of(at, from.n);
    if (from.n > 0) {
        memcpy(at, from.p, from.n);
    }
    return at + from.n;
}

/* One block: the struct, the tags, their bytes, the Prometheus form. */
static mc_stat_labels *labels_new(mc_slice extracted, const mc_tag *tags, size_t count) {
    size_t bytes = extracted.n;
    for (size_t i = 0; i < count; i++) {
        bytes += tags[i].name.n * 2 + tags[i].value.n * 3 + 4;
    }
    mc_stat_labels *labels = mc_malloc(sizeof *labels + count * sizeof *tags + bytes);
    if (labels == NULL) {
        return NULL;
    }
    mc_tag *copies = (mc_tag *)(labels + 1);
    char *at = put((char *)(copies + count), extracted, &labels->extracted);
    for (size_t i = 0; i < count; i++) {
        at = put(at, tags[i].name, &copies[i].name);
        at = put(at, tags[i].value, &copies[i].value);
    }
    char *start = at;
    for (size_t i = 0; i < count; i++) {
        if (i > 0) {
            *at++ = ',';
        }
        at = put_name(at, tags[i].name);
        *at++ = '=';
        *at++ = '"';
        at = put_value(at, tags[i].value);
        *at++ = '"';
    }
    labels->prometheus = mc_slice_of(start, (size_t)(at - start));
    labels->tags = copies;
    labels->count = count;
    return labels;
}

mc_status mc_stats_label(mc_stats *stats, mc_stat stat, mc_slice extracted, const mc_tag *tags, size_t count) {
    mc_stat_labels *labels = labels_new(extracted, tags, count);
    if (labels == NULL) {
        return MC_ENOMEM;
    }
    mc_status status = MC_OK;
    pthread_mutex_lock(&stats->lock);
    if (stat >= stats->count || stats->infos[stat] == NULL) {
        status = MC_ENOTFOUND;
    } else if (stats->infos[stat]->labels != NULL) {
        status = MC_EEXIST;
    } else {
        stats->infos[stat]->labels = labels;
        labels = NULL;
    }
    pthread_mutex_unlock(&stats->lock);
    mc_free(labels);
    return status;
}
