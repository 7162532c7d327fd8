/* A team of threads that works through numbered parts of a job.
 *
 * What a part computes depends on its number alone, never on which thread takes it, so results are the same in every
 * run. By default the team is a few POSIX threads started at first use. team_borrow gives it instead the pool of an
 * OpenMP runtime already in the process (its GOMP_parallel), so that no second pool competes for the cores.
 */
#ifndef CHARRNN_TEAM_H
#define CHARRNN_TEAM_H

typedef void (*part_function)(void *job, long part);
typedef void (*borrowed_team)(void (*function)(void *), void *data, unsigned num_threads, unsigned flags);

void team_run(part_function function, void *job, long num_parts, long num_threads);
void team_borrow(borrowed_team team);

#endif
