/* A team of threads that works through numbered parts of a job.
 *
 * What a part computes depends on its number alone, never on which thread takes it, so results are the same in every
 * run. The team is a few POSIX threads started at first use. A thread that comes late finds its parts taken by others
 * and is not waited for: only one that has begun a part is. On a machine that others use too, this is what counts.
 */
#ifndef CHARRNN_TEAM_H
#define CHARRNN_TEAM_H

#include <stdatomic.h>

#define PARTS_PER_THREAD 4 /* of a job that can be divided at will: who is late then takes fewer */

typedef void (*part_function)(void *job, long part);

void team_run(part_function function, void *job, long num_parts, long num_threads);

/* On a cache line of its own. */
typedef struct {
  _Alignas(64) atomic_long value;
} Counter;

/* Where the parts of a job meet after each stage of it. */
typedef struct {
  Counter *begun; /* (num_parts,) stages that each part has begun, 0 at first */
  Counter *ended; /* stages ended, summed over the parts, 0 at first */
  long num_parts;
} Meeting;

/* Stage 0, 1, ... of a job, its parts shared by all threads that call this for the same stages in order; it returns
 * once every part has ended. A thread begins with its own part and runs another's whose thread is late, so that it
 * never waits for a thread that has not begun. What `function` does may depend on stage and part alone, and only inside
 * it is it safe to read what other parts write. */
void team_stage(const Meeting *meeting, long own, long stage, part_function function, void *data);

#endif
