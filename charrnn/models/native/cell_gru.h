/* The GRU that resets after the product: n = tanh(x_n + r * (W_n h)), h' = (1 - z) * n + z * h.
 *
 * Gates: 0 reset r, 1 update z, 2 new n. Saved: r, z, n, and W_n h + b_hn, whose gradient is r times that of n's sum.
 */
#ifndef CHARRNN_CELL_GRU_H
#define CHARRNN_CELL_GRU_H

#include "cell.h"

INLINE void gru_step(const Lanes *at) {
  vec r = sigmoid_vec(input(at, 0) + product(at, 0));
  vec z = sigmoid_vec(input(at, 1) + product(at, 1));
  vec recurrent = product(at, 2);
  vec n = tanh_vec(input(at, 2) + r * recurrent);
  set_next_state(at, (splat(1.0f) - z) * n + z * state(at));
  save(at, 0, r);
  save(at, 1, z);
  save(at, 2, n);
  save(at, 3, recurrent);
}

INLINE void gru_gradient(const Lanes *at) {
  vec one = splat(1.0f);
  vec r = saved(at, 0), z = saved(at, 1), n = saved(at, 2), recurrent = saved(at, 3);
  vec h = state(at);
  vec dh = grad_next_state(at);
  vec dn = dh * (one - z) * (one - n * n);
  set_grad_gate(at, 0, dn * recurrent * r * (one - r));
  set_grad_gate(at, 1, dh * (h - n) * z * (one - z));
  set_grad_gate(at, 2, dn);
  set_grad_new(at, dn * r);
  set_grad_state(at, dh * z);
}

static const Cell gru_cell = {
    .name = "gru",
    .num_gates = 3,
    .num_saved = 4,
    .has_grad_new = 1,
    .num_stages = 1,
    .stages = {{.first = 0, .last = 3, .factors = STATE, .step = gru_step, .gradient = gru_gradient}},
};

#endif
