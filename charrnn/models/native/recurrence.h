/* The recurrence of one layer over a window: what its callers in C need. See recurrence.c. */
#ifndef CHARRNN_RECURRENCE_H
#define CHARRNN_RECURRENCE_H

#include <stdint.h>

#include "team.h"

enum { RNN, LSTM, GRU, GRU_BEFORE };
enum { OK, NO_MEMORY, BAD_ID, NO_BF16 };
enum { FLOAT32, BFLOAT16 };

#define BLOCK_ROWS 16 /* most streams a step is made for at once */

/* Mirrors `_Window` in recurrence.py. Arrays are float32, contiguous, time-major. */
typedef struct {
  int64_t cell, T, B, H, V, num_threads, precision;
  const float *x;            /* (T, B, G*H) input's share of the gates; with ids: (V, G*H), one row a symbol */
  const int64_t *ids;        /* (T, B) or NULL */
  const float *weight_hh;    /* (G*H, H) */
  const float *bias_hh;      /* (G*H,) or NULL */
  float *hidden;             /* (T+1, B, H): [0] is the state before the window, given */
  float *cells;              /* (T+1, B, H): likewise, LSTM only */
  float *saved;              /* (T, B, S*H) for the backward pass, or NULL */
  const float *grad_outputs; /* (T, B, H) */
  float *grad_hidden;        /* (B, H): in, of the last state; out, of the first */
  float *grad_cells;         /* (B, H): likewise, LSTM only */
  float *grad_x;             /* (T, B, G*H) */
  float *grad_new;           /* (T, B, H): GRU with reset after: of W_hn h + b_hn */
  float *grad_table;         /* (V, G*H) or NULL: added to */
  float *grad_bias;          /* (G*H,) or NULL: added to */
  float *grad_weight;        /* (G*H, H), written with bfloat16 products only: float32 is the caller's one product */
} Window;

typedef struct {
  const Window *w;
  long G, S, panels, padded, block_rows;
  long stream_parts, unit_parts, num_parts; /* a part: some streams, some units; num_parts their product */
  int bf16, tiles;                          /* whether products round to bfloat16; whether they are made by tiles */
  long K;                                   /* H, with bfloat16 padded to whole blocks */
  long gate_words;      /* words of one gate in one packed panel: K*PANEL, with bfloat16 half of it */
  float *packed;        /* (panels, G, gate_words) */
  uint16_t *rounded;    /* (2, B, G*K): factors of even and odd stages, with bfloat16 */
  Counter *taken;       /* (num_parts,) stages begun */
  Counter *done;        /* (stream_parts,) shares of stages ended */
  float *bias;          /* (G, padded) */
  long x_stride;        /* floats from one row of the input's share to the next: G*H, or more */
  float *saved;         /* Window.saved, or room for one step */
  long saved_step;      /* floats from one step's saved values to the next's: B*S*H, or 0 */
  float *carried, *fed; /* (B, padded): gradient of the state; of r*h, GRU with reset before */
} Job;

/* The shape of the work, its pointers still to be filled in. */
Job recurrence_job(const Window *w);

/* Packs the weights and bias of one panel of units for the forward pass into job->packed and job->bias. */
void recurrence_pack(void *job, long panel);

/* Runs one part of the streams through the window: fills hidden and cells, and saved. */
void recurrence_forward_part(void *job, long part);

/* Floats at an address that suits vectors; NULL where there is no memory. */
float *recurrence_new_floats(long count);

#endif
