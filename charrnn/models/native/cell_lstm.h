/* The LSTM: c' = f * c + i * g, h' = o * tanh(c').
 *
 * Gates: 0 input i, 1 forget f, 2 new g, 3 output o. Saved: the same.
 */
#ifndef CHARRNN_CELL_LSTM_H
#define CHARRNN_CELL_LSTM_H

#include "cell.h"

INLINE void lstm_step(const Lanes *at) {
  vec i = sigmoid_vec(input(at, 0) + product(at, 0));
  vec f = sigmoid_vec(input(at, 1) + product(at, 1));
  vec g = tanh_vec(input(at, 2) + product(at, 2));
  vec o = sigmoid_vec(input(at, 3) + product(at, 3));
  vec c = f * cell_state(at) + i * g;
  set_next_cell_state(at, c);
  set_next_state(at, o * tanh_vec(c));
  save(at, 0, i);
  save(at, 1, f);
  save(at, 2, g);
  save(at, 3, o);
}

INLINE void lstm_gradient(const Lanes *at) {
  vec one = splat(1.0f);
  vec i = saved(at, 0), f = saved(at, 1), g = saved(at, 2), o = saved(at, 3);
  vec c = cell_state(at);
  vec tanh_c = tanh_vec(next_cell_state(at));
  vec dh = grad_next_state(at);
  vec dc = grad_next_cell_state(at) + dh * o * (one - tanh_c * tanh_c);
  set_grad_gate(at, 0, dc * g * i * (one - i));
  set_grad_gate(at, 1, dc * c * f * (one - f));
  set_grad_gate(at, 2, dc * i * (one - g * g));
  set_grad_gate(at, 3, dh * tanh_c * o * (one - o));
  set_grad_cell_state(at, dc * f);
  set_grad_state(at, splat(0.0f));
}

static const Cell lstm_cell = {
    .name = "lstm",
    .num_gates = 4,
    .num_saved = 4,
    .has_cell = 1,
    .num_stages = 1,
    .stages = {{.first = 0, .last = 4, .factors = STATE, .step = lstm_step, .gradient = lstm_gradient}},
};

#endif
