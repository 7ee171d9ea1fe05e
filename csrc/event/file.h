/* The system calls of who writes logs on a thread of its own: files, and a wake-up from other threads. Negative results are
 * -errno. */
#ifndef MC_EVENT_FILE_H
#define MC_EVENT_FILE_H

#include "base/slice.h"

/* Opens or makes a file for appending; `path` is NUL-terminated. */
int mc_file_open_append(const char *path);
/* Whether writing to it may wait for a reader: a pipe, a terminal, a socket. */
bool mc_file_may_wait(int fd);
/* Whether MC_FILE_ATOMIC bytes can be written now, or within the time. */
bool mc_file_writable(int fd, int timeout_ms);
enum { MC_FILE_ATOMIC = 4096 }; /* what poll(2) promises of a pipe: PIPE_BUF */
long mc_file_write(int fd, mc_slice bytes);
void mc_file_close(int fd);

/* A wake-up: signals before a wait are not lost. */
int mc_wake_open(void);
void mc_wake_signal(int fd);
/* Returns at a signal (which it takes) or after the time; -1: no limit. */
void mc_wake_wait(int fd, int timeout_ms);

/* Monotonic. */
uint64_t mc_clock_ms(void);

#endif
