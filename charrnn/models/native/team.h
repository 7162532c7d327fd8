/* A team of threads that works through numbered parts of a job.
 *
 * What a part computes depends on its number alone, never on which thread takes it, so results are the same in every
 * run. By default the team is a few POSIX threads started at first use. team_use_openmp gives it instead the pool of an
 * OpenMP runtime already in the process (its GOMP_parallel), so that no second pool competes for the cores.
 */
#ifndef CHARRNN_TEAM_H
#define CHARRNN_TEAM_H

#include <stdatomic.h>

typedef void (*part_function)(void *job, long part);
typedef void (*openmp_parallel)(void (*function)(void *), void *data, unsigned num_threads, unsigned flags);

void team_run(part_function function, void *job, long num_parts, long num_threads);
void team_use_openmp(openmp_parallel parallel);

/* On a cache line of its own. */
typedef struct {
  _Alignas(64) atomic_long value;
} Counter;

/* Raises a counter by 1 if it is at `from`, for one of all that try; whether it was this one. */
static inline int counter_raise_from(Counter *counter, long from) {
  return atomic_load_explicit(&counter->value, memory_order_relaxed) == from &&
         atomic_compare_exchange_strong(&counter->value, &from, from + 1);
}

static inline void counter_add(Counter *counter) { atomic_fetch_add(&counter->value, 1); }

/* Returns once the counter has come to `least`; all that was written before it was raised so far is then seen. */
void counter_wait(const Counter *counter, long least);

#endif
