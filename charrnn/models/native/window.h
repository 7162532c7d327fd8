/* A call of a layer's kernels: the window it computes, and the work as its parts share it. */
#ifndef CHARRNN_WINDOW_H
#define CHARRNN_WINDOW_H

#include <stdint.h>

#include "cell.h"
#include "product.h"
#include "team.h"

enum { OK, NO_MEMORY, BAD_ID, NO_BF16, NOT_FINITE };

/* Mirrors `Window` in recurrence.py. Arrays are float32, contiguous, time-major. */
typedef struct {
  int64_t cell, T, B, H, V, num_threads, precision; /* cell: the number that charrnn_cell gives */
  const float *x;            /* (T, B, G*H) input's share of the gates; with ids: (V, G*H), one row per symbol */
  const int64_t *ids;        /* (T, B) or NULL */
  const float *weight_hh;    /* (G*H, H) */
  const float *bias_hh;      /* (G*H,) or NULL */
  float *hidden;             /* (T+1, B, H): [0] is the state before the window, given */
  float *cells;              /* (T+1, B, H): likewise, for a cell that has a cell state */
  float *saved;              /* (T, B, S*H) for the backward pass, or NULL */
  const float *grad_outputs; /* (T, B, H) */
  float *grad_hidden;        /* (B, H): in, of the last state; out, of the first */
  float *grad_cells;         /* (B, H): likewise, for a cell that has a cell state */
  float *grad_x;             /* (T, B, G*H) */
  float *grad_new;           /* (T, B, H): for a cell whose has_grad_new is set */
  float *grad_table;         /* (V, G*H) or NULL: added to */
  float *grad_bias;          /* (G*H,) or NULL: added to */
  float *grad_weight;        /* (G*H, H) */
} Window;

/* Mirrors `CellFacts` in kernel.py: see Cell. */
typedef struct {
  int64_t num_gates, num_saved, has_cell, has_grad_new;
  int64_t new_factors; /* the saved block that the last gate's weights multiply; -1: the state */
} CellFacts;

typedef struct {
  const Window *w;
  const Cell *cell;
  long G, panels, padded;                   /* gates; panels of units; units in them */
  long stream_parts, unit_parts, num_parts; /* a part: some streams, some units; num_parts their product */
  Precision precision;
  long K;                    /* H, padded as the precision has it */
  long panel_floats;         /* of one gate in one packed panel */
  float *packed;             /* (panels, G, panel_floats) */
  const uint16_t *half;      /* the same in half precision, to be read in its place; or NULL */
  long turn;                 /* forward: odd where the first step goes through the panels from the last one on */
  int reads_forward_weights; /* backward, in float32: `packed` is as the forward pass has it */
  uint16_t *rounded;         /* (2, B, G*K): factors of even and odd stages, where they are rounded */
  Counter *begun;            /* (num_parts,) stages begun */
  Counter *ended;            /* (stream_parts,) stages ended, summed over the parts of these streams */
  float *bias;               /* (G, padded) */
  long x_stride;             /* floats from one row of the input's share to the next: G*H, or more */
  float *saved;              /* Window.saved, or room for one step */
  long saved_step;           /* floats from one step's saved values to the next's: B*S*H, or 0 */
  float *grad_state;         /* (B, padded): carried from step to step */
  float *grad_factors;       /* (B, padded): of the second stage's, where a step has two */
} Job;

#endif
