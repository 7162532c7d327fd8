/* The vanilla cell: h' = tanh(x + W h). */
#ifndef CHARRNN_CELL_RNN_H
#define CHARRNN_CELL_RNN_H

#include "cell.h"

INLINE void rnn_step(const Lanes *at) { set_next_state(at, tanh_vec(input(at, 0) + product(at, 0))); }

INLINE void rnn_gradient(const Lanes *at) {
  vec h = next_state(at);
  vec dh = grad_next_state(at);
  set_grad_gate(at, 0, dh * (splat(1.0f) - h * h));
  set_grad_state(at, splat(0.0f));
}

static const Cell rnn_cell = {
    .name = "rnn",
    .num_gates = 1,
    .num_stages = 1,
    .stages = {{.first = 0, .last = 1, .factors = STATE, .step = rnn_step, .gradient = rnn_gradient}},
};

#endif
