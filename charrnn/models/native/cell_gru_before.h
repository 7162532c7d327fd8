/* The GRU that resets before the product: n = tanh(x_n + W_n (r * h)), h' = (1 - z) * n + z * h.
 *
 * Gates: 0 reset r, 1 update z, 2 new n. Saved: r, z, n, r * h. Two stages: r and z, then n from what r leaves of h.
 */
#ifndef CHARRNN_CELL_GRU_BEFORE_H
#define CHARRNN_CELL_GRU_BEFORE_H

#include "cell.h"

INLINE void gru_before_gates_step(const Lanes *at) {
  vec r = sigmoid_vec(input(at, 0) + product(at, 0));
  vec z = sigmoid_vec(input(at, 1) + product(at, 1));
  save(at, 0, r);
  save(at, 1, z);
  save(at, 3, r * state(at));
}

INLINE void gru_before_new_step(const Lanes *at) {
  vec z = saved(at, 1);
  vec n = tanh_vec(input(at, 2) + product(at, 2));
  set_next_state(at, (splat(1.0f) - z) * n + z * state(at));
  save(at, 2, n);
}

/* This one runs first. It makes the gradient of z besides: it has all that is needed at hand. */
INLINE void gru_before_new_gradient(const Lanes *at) {
  vec one = splat(1.0f);
  vec z = saved(at, 1), n = saved(at, 2);
  vec h = state(at);
  vec dh = grad_next_state(at);
  set_grad_gate(at, 1, dh * (h - n) * z * (one - z));
  set_grad_gate(at, 2, dh * (one - z) * (one - n * n));
  set_grad_state(at, dh * z);
}

INLINE void gru_before_gates_gradient(const Lanes *at) {
  vec r = saved(at, 0);
  vec h = state(at);
  vec d_reset_state = grad_factors(at);
  set_grad_gate(at, 0, d_reset_state * h * r * (splat(1.0f) - r));
  set_grad_state(at, grad_state(at) + d_reset_state * r);
}

static const Cell gru_before_cell = {
    .name = "gru-before",
    .num_gates = 3,
    .num_saved = 4,
    .num_stages = 2,
    .stages =
        {
            {.first = 0,
             .last = 2,
             .factors = STATE,
             .step = gru_before_gates_step,
             .gradient = gru_before_gates_gradient},
            {.first = 2, .last = 3, .factors = 3, .step = gru_before_new_step, .gradient = gru_before_new_gradient},
        },
};

#endif
