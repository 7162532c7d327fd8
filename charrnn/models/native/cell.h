/* What a cell's header tells, and the values that its equations read and write.
 *
 * A step of a cell has one stage or two. A stage multiplies the rows of W_hh of some gates with its factors: the state
 * before the step, or what the first stage has saved. Its equations then work on one vector of units of one stream.
 */
#ifndef CHARRNN_CELL_H
#define CHARRNN_CELL_H

#include "product.h"

#define MAX_STAGES 2 /* per step */
#define MAX_GATES 4  /* per stage */

/* One vector of units of one stream at one step: each pointer is to the first of them. */
typedef struct {
  long H;            /* from one gate or saved block to the next */
  long n;            /* units from here to the layer's end: those of the vector beyond it are 0 and are not stored */
  long first_gate;   /* of the stage */
  const float *x;    /* the input's share of the gates, W_ih x + b_ih */
  const float *sums; /* (gates of the stage, BLOCK_ROWS, PANEL): W_hh times the stage's factors, + b_hh */
  float *saved;
  const float *state, *cell; /* before the step */
  float *next_state, *next_cell;
  /* backward */
  const float *grad_output;
  float *grad_x, *grad_new, *grad_cell;
  float *grad_state;   /* in: of the state after the step; out: of the one before, except what comes through W_hh */
  float *grad_factors; /* of the second stage's factors */
} Lanes;

typedef struct {
  long first, last;                /* its gates: first <= g < last */
  long factors;                    /* STATE for the first stage; for a second, the saved block that holds them */
  void (*step)(const Lanes *);     /* its equations */
  void (*gradient)(const Lanes *); /* their gradients: those of its gates are then complete */
} Stage;

enum { STATE = -1 };

typedef struct {
  const char *name; /* by which Python asks for it */
  long num_gates;   /* G: blocks of H rows of W_hh */
  long num_saved;   /* S: blocks of H values kept of each step for the backward pass */
  int has_cell;     /* whether there is a cell state beside the hidden state */
  int has_grad_new; /* whether the gradient of the last gate's W_hh h + b_hh is not that of its input's share */
  long num_stages;
  Stage stages[MAX_STAGES]; /* their gates in order, 0 to G-1 in all; a second stage has the last gate alone */
} Cell;

INLINE vec input(const Lanes *at, long gate) { return load_first(at->x + gate * at->H, at->n); }
INLINE vec product(const Lanes *at, long gate) { return load(at->sums + (gate - at->first_gate) * BLOCK_ROWS * PANEL); }
INLINE vec saved(const Lanes *at, long block) { return load_first(at->saved + block * at->H, at->n); }
INLINE vec state(const Lanes *at) { return load_first(at->state, at->n); }
INLINE vec next_state(const Lanes *at) { return load_first(at->next_state, at->n); }
INLINE vec cell_state(const Lanes *at) { return load_first(at->cell, at->n); }
INLINE vec next_cell_state(const Lanes *at) { return load_first(at->next_cell, at->n); }

INLINE void save(const Lanes *at, long block, vec value) { store_first(at->saved + block * at->H, value, at->n); }
INLINE void set_next_state(const Lanes *at, vec value) { store_first(at->next_state, value, at->n); }
INLINE void set_next_cell_state(const Lanes *at, vec value) { store_first(at->next_cell, value, at->n); }

/* The gradient of the state after the step: from its output and from the step after. To be read before it is set. */
INLINE vec grad_next_state(const Lanes *at) { return load_first(at->grad_output, at->n) + load(at->grad_state); }
/* The gradient of the state before the step, except what comes through W_hh. */
INLINE vec grad_state(const Lanes *at) { return load(at->grad_state); }
INLINE void set_grad_state(const Lanes *at, vec value) { store(at->grad_state, value); }
INLINE vec grad_next_cell_state(const Lanes *at) { return load_first(at->grad_cell, at->n); }
INLINE void set_grad_cell_state(const Lanes *at, vec value) { store_first(at->grad_cell, value, at->n); }
/* The gradient of the second stage's factors, in the first stage. */
INLINE vec grad_factors(const Lanes *at) { return load(at->grad_factors); }
INLINE void set_grad_gate(const Lanes *at, long gate, vec value) {
  store_first(at->grad_x + gate * at->H, value, at->n);
}
/* The gradient of the last gate's W_hh h + b_hh, where it has a gradient of its own. */
INLINE void set_grad_new(const Lanes *at, vec value) { store_first(at->grad_new, value, at->n); }

#endif
