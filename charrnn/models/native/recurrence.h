/* The recurrence of one layer over a window: what its callers in C need. See recurrence.c. */
#ifndef CHARRNN_RECURRENCE_H
#define CHARRNN_RECURRENCE_H

#include "window.h"

/* The shape of the work, its pointers still to be filled in. */
Job recurrence_job(const Window *w);

/* Packs the weights and bias of one panel of units for the forward pass into job->packed and job->bias. */
void recurrence_pack(void *job, long panel);

/* Runs one part of the streams through the window: fills hidden and cells, and saved. */
void recurrence_forward_part(void *job, long part);

/* One stage of job->unit_parts parts that share all streams; T * num_stages stages make a window. The caller keeps
 * their order and lets the parts meet. Backward, job->grad_state, job->grad_factors and the window's grad_cells hold 0
 * before the first stage; afterwards the gradients of all gates are complete. */
void recurrence_forward_stage(const Job *job, long stage, long part);
void recurrence_backward_stage(const Job *job, long stage, long part);

#endif
