/* Columns of weights (columns, K), with a bias: y = W x + b, in float32.
 *
 * The weights are packed for products (see product.h) and lie with their bias in one block of memory, which the caller
 * owns. K may be 0: then only the bias is left.
 */
#ifndef CHARRNN_LINEAR_H
#define CHARRNN_LINEAR_H

#include "product.h"

typedef struct {
  long K, columns, panels, padded;
  float *packed;  /* (panels, K, PANEL) */
  float *bias;    /* (padded,), behind them */
  uint16_t *half; /* the packed weights in half precision, to be read in their place; or NULL */
} Linear;

/* Floats of memory that it takes. */
INLINE long linear_floats(long columns, long K) { return ceil_div(columns, PANEL) * PANEL * (K + 1); }

INLINE Linear linear_at(float *memory, long columns, long K) {
  Linear linear = {.K = K, .columns = columns, .panels = ceil_div(columns, PANEL), .packed = memory};
  linear.padded = linear.panels * PANEL;
  linear.bias = memory + linear.padded * K;
  return linear;
}

/* From weight (columns, K) and bias (columns,) or NULL; what pads the last panel gets the bias `outside`. */
static inline void linear_fill(const Linear *linear, const float *weight, const float *bias, float outside) {
  long K = linear->K;
  for (long p = 0; p < linear->panels && K > 0; p++)
    pack_transposed(FLOAT32, linear->packed + p * K * PANEL, weight + p * PANEL * K, K, linear->columns - p * PANEL, K);
  for (long c = 0; c < linear->padded; c++) linear->bias[c] = c >= linear->columns ? outside : bias ? bias[c] : 0.0f;
}

/* Columns of some panels of to (num_rows, padded) = rows (num_rows, K; stride) @ W^T + b. */
static inline void linear_run(const Linear *linear, long first_panel, long last_panel, float *to, const float *rows,
                              long stride, long num_rows) {
  long blocks = ceil_div(num_rows, MAX_ROWS), u = first_panel * PANEL, n = (last_panel - first_panel) * PANEL;
  if (n == 0) return;
  for (long i = 0; i < blocks; i++) {
    long first = i * num_rows / blocks, last = (i + 1) * num_rows / blocks;
    for (long r = first; r < last; r++)
      memcpy(to + r * linear->padded + u, linear->bias + u, (size_t)n * sizeof(float));
    const float *block = rows + first * stride;
    float *sums = to + first * linear->padded + u;
    long num_panels = last_panel - first_panel, at = u * linear->K, panel_words = linear->K * PANEL;
    if (linear->half)
      add_products_half((int)(last - first), num_panels, sums, linear->padded, PANEL, block, stride, linear->K,
                        linear->half + at, panel_words);
    else
      add_products(FLOAT32, (int)(last - first), num_panels, sums, linear->padded, PANEL, block, stride, linear->K,
                   linear->packed + at, panel_words);
  }
}

#endif
