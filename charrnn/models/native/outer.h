/* Products that sum over the rows of two long arrays: to (M, C) = left (N, M)^T @ right (N, C).
 *
 * The right array is packed once, panel by panel; then strips of STRIP rows of the result are made, each from as many
 * columns of the left array. A sum's terms are added in the order of N, however the strips are shared.
 */
#ifndef CHARRNN_OUTER_H
#define CHARRNN_OUTER_H

#include "product.h"

enum { STRIP = BLOCK_ROWS };

typedef struct {
  Precision precision;
  long N, K, C, panels; /* rows, and padded; columns of the right array, and panels of them */
  long panel_floats;    /* of one packed panel */
  long strip_floats;    /* of room that a strip of the left array takes */
  float *right;         /* (panels, panel_floats) */
} Outer;

/* The shape of the work, `right` still to be given panels * panel_floats floats. */
INLINE Outer outer_of(Precision precision, long N, long C) {
  Outer o = {.precision = precision, .N = N, .K = padded_length(precision, N), .C = C, .panels = ceil_div(C, PANEL)};
  o.panel_floats = panel_floats(precision, N);
  o.strip_floats = STRIP * o.K / (precision == FLOAT32 ? 1 : 2);
  return o;
}

/* Packs one panel of the right array (N, C; stride). */
INLINE void outer_pack(const Outer *o, long panel, const float *right, long stride) {
  long u = panel * PANEL;
  pack(o->precision, o->right + panel * o->panel_floats, right + u, stride, o->C - u, o->N);
}

/* Columns of panels first <= p < last of rows to (n <= STRIP, C) = left (N, n; stride)^T @ right. Between
 * begin_products(precision, STRIP) and end_products. */
static inline void outer_strip(const Outer *o, float *strip, const float *left, long stride, long n, float *to,
                               long first, long last) {
  float sums[3][STRIP][PANEL];
  long most_rows = o->precision == FLOAT32 ? MAX_ROWS : STRIP;
  take_transposed(o->precision, strip, left, stride, n, o->N);
  for (long p = first; p < last; p += 3) {
    long panels = min_long(3, last - p);
    memset(sums, 0, sizeof sums);
    for (long r = 0, rows; r < STRIP; r += rows) {
      rows = min_long(ceil_div(STRIP, ceil_div(STRIP, most_rows)), STRIP - r);
      add_products(o->precision, (int)rows, panels, sums[0][r], PANEL, STRIP * PANEL, strip + r * o->K, o->K, o->K,
                   o->right + p * o->panel_floats, o->panel_floats);
    }
    for (long i = 0; i < panels; i++)
      for (long r = 0; r < n; r++)
        memcpy(to + r * o->C + (p + i) * PANEL, sums[i][r],
               (size_t)min_long(PANEL, o->C - (p + i) * PANEL) * sizeof(float));
  }
}

#endif
