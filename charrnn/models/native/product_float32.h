/* Products in float32. Callers use product.h.
 *
 * Packed weights are panels of PANEL columns, (K, PANEL) each, the last padded with zeros. A product keeps R rows x
 * PANEL columns of sums in registers while it runs down K: each weight read serves R rows, each value of a row PANEL
 * columns. A sum's terms are added in the order of K whatever R is, so results do not depend on how rows are split.
 */
#ifndef CHARRNN_PRODUCT_FLOAT32_H
#define CHARRNN_PRODUCT_FLOAT32_H

#include "vector.h"

INLINE long ceil_div(long a, long b) { return (a + b - 1) / b; }
INLINE long min_long(long a, long b) { return a < b ? a : b; }

/* A vector of packed weights, which are float or in half precision. */
INLINE vec load_packed(const int is_half, const void *packed, long at) {
  return is_half ? load_half((const uint16_t *)packed + at) : load((const float *)packed + at);
}

/* sums (R, P panels of PANEL columns; strides between rows and panels) += rows (R, K; stride) @ P panels (K, PANEL). */
INLINE void multiply(const int R, const int P, const int is_half, float *restrict sums, long sums_stride,
                     long sums_panel, const float *restrict rows, long rows_stride, long K, const void *restrict panels,
                     long panel_words) {
  vec sum[MAX_ROWS][PANEL_VECTORS];
  for (int i = 0; i < P * R; i++)
    for (int v = 0; v < PANEL_VECTORS; v++)
      sum[i][v] = load(sums + i / R * sums_panel + i % R * sums_stride + v * LANES);
  for (long k = 0; k < K; k++)
    for (int p = 0; p < P; p++) {
      vec weight[PANEL_VECTORS];
      for (int v = 0; v < PANEL_VECTORS; v++)
        weight[v] = load_packed(is_half, panels, p * panel_words + k * PANEL + v * LANES);
      for (int r = 0; r < R; r++)
        for (int v = 0; v < PANEL_VECTORS; v++) sum[p * R + r][v] += rows[r * rows_stride + k] * weight[v];
    }
  for (int i = 0; i < P * R; i++)
    for (int v = 0; v < PANEL_VECTORS; v++)
      store(sums + i / R * sums_panel + i % R * sums_stride + v * LANES, sum[i][v]);
}

/* The same of R rows, up to MAX_ROWS, and any number of panels. Of few rows a single panel's few sums would wait for
 * each other: several panels go together. */
INLINE void multiply_all(const int is_half, int R, long num_panels, float *sums, long sums_stride, long sums_panel,
                         const float *rows, long rows_stride, long K, const void *packed, long panel_words) {
  const char *panels = packed;
  long p = 0, panel_bytes = panel_words * (long)(is_half ? sizeof(uint16_t) : sizeof(float));
#define TOGETHER(R, P)                                                                          \
  for (; p + P <= num_panels; p += P)                                                           \
  multiply(R, P, is_half, sums + p * sums_panel, sums_stride, sums_panel, rows, rows_stride, K, \
           panels + p * panel_bytes, panel_words)
#define CASE(R)     \
  case R:           \
    TOGETHER(R, 1); \
    break
  switch (R) {
    case 1:
      TOGETHER(1, 4);
      TOGETHER(1, 3);
      TOGETHER(1, 2);
      TOGETHER(1, 1);
      break;
    case 2:
      TOGETHER(2, 2);
      TOGETHER(2, 1);
      break;
    case 3:
      TOGETHER(3, 2);
      TOGETHER(3, 1);
      break;
      CASE(4);
      CASE(5);
      CASE(6);
#if MAX_ROWS > 6
      CASE(7);
      CASE(8);
      CASE(9);
      CASE(10);
      CASE(11);
      CASE(12);
#endif
  }
#undef CASE
#undef TOGETHER
}

static inline void add_products_float32(int R, long num_panels, float *sums, long sums_stride, long sums_panel,
                                        const float *rows, long rows_stride, long K, const float *panels,
                                        long panel_words) {
  multiply_all(0, R, num_panels, sums, sums_stride, sums_panel, rows, rows_stride, K, panels, panel_words);
}

/* The same of panels packed in half precision. */
static inline void add_products_half(int R, long num_panels, float *sums, long sums_stride, long sums_panel,
                                     const float *rows, long rows_stride, long K, const uint16_t *panels,
                                     long panel_words) {
  multiply_all(1, R, num_panels, sums, sums_stride, sums_panel, rows, rows_stride, K, panels, panel_words);
}

/* sums (num_k <= LANES) += rows (num_rows, length) @ the transpose of packed panels, from their row k on. */
INLINE void multiply_transposed(const long num_k, const int is_half, float *restrict sums, long k,
                                const float *restrict rows, long num_rows, long length, const void *restrict packed,
                                long row_words, long panel_words) {
  vec sum[LANES];
  for (long j = 0; j < num_k; j++) sum[j] = splat(0.0f);
  for (long u = 0; u < length; u += PANEL)
    for (long g = 0; g < num_rows; g++) {
      const float *row = rows + g * length + u;
      long at = u / PANEL * panel_words + g * row_words + k * PANEL;
      vec factors[PANEL_VECTORS];
      if (u + PANEL <= length)
        for (int v = 0; v < PANEL_VECTORS; v++) factors[v] = load(row + v * LANES);
      else
        for (int v = 0; v < PANEL_VECTORS; v++)
          factors[v] = length - u > v * LANES ? load_first(row + v * LANES, length - u - v * LANES) : splat(0.0f);
      UNROLLED
      for (long j = 0; j < num_k; j++)
        for (int v = 0; v < PANEL_VECTORS; v++)
          sum[j] += load_packed(is_half, packed, at + j * PANEL + v * LANES) * factors[v];
    }
  float lanes[LANES][LANES];
  for (long j = 0; j < num_k; j++) store(lanes[j], sum[j]);
  for (long j = 0; j < num_k; j++)
    for (int lane = 0; lane < LANES; lane++) sums[j] += lanes[j][lane];
}

/* sums[k] += sum over g, p and c of rows[g][p * PANEL + c] * panel(p, g)[k][c], for first <= k < last: a product with
 * the transpose of what is packed. For each PANEL columns of rows (num_rows, length) there are num_rows packed panels.
 * No sum depends on which others are made: turned, the last come first.
 */
INLINE void add_transposed(const int is_half, float *sums, long first, long last, int turned, const float *rows,
                           long num_rows, long length, const void *packed, long row_words, long panel_words) {
  long blocks = ceil_div(last - first, LANES);
  for (long i = 0; i < blocks; i++) {
    long k = first + (turned ? blocks - 1 - i : i) * LANES, n = min_long(LANES, last - k);
    if (n == LANES)
      multiply_transposed(LANES, is_half, sums + k, k, rows, num_rows, length, packed, row_words, panel_words);
    else
      multiply_transposed(n, is_half, sums + k, k, rows, num_rows, length, packed, row_words, panel_words);
  }
}

static inline void add_transposed_float32(float *sums, long first, long last, int turned, const float *rows,
                                          long num_rows, long length, const float *packed, long row_words,
                                          long panel_words) {
  add_transposed(0, sums, first, last, turned, rows, num_rows, length, packed, row_words, panel_words);
}

static inline void add_transposed_half(float *sums, long first, long last, int turned, const float *rows, long num_rows,
                                       long length, const uint16_t *packed, long row_words, long panel_words) {
  add_transposed(1, sums, first, last, turned, rows, num_rows, length, packed, row_words, panel_words);
}

/* Panel of the transpose of rows (columns, K): panel[k][c] = rows[c][k], for c < num_columns, else 0. */
static inline void pack_transposed_float32(float *panel, const float *rows, long rows_stride, long num_columns,
                                           long K) {
  if (num_columns < PANEL) memset(panel, 0, (size_t)(K * PANEL) * sizeof(float));
  for (long k0 = 0; k0 < K; k0 += 16)
    for (long c = 0; c < min_long(num_columns, PANEL); c++)
      for (long k = k0; k < min_long(k0 + 16, K); k++) panel[k * PANEL + c] = rows[c * rows_stride + k];
}

/* The transpose of rows (length, num_columns <= 16): to[c][k] = rows[k][c], for c < num_columns, else 0. */
static inline void transpose_float32(float *to, const float *rows, long rows_stride, long num_columns, long length) {
  if (num_columns < 16) memset(to, 0, (size_t)(16 * length) * sizeof(float));
  for (long k0 = 0; k0 < length; k0 += 16)
    for (long c = 0; c < min_long(num_columns, 16); c++)
      for (long k = k0; k < min_long(k0 + 16, length); k++) to[c * length + k] = rows[k * rows_stride + c];
}

/* Panel of the rows themselves: panel[k][c] = rows[k][c], for c < num_columns, else 0. */
static inline void pack_float32(float *panel, const float *rows, long rows_stride, long num_columns, long K) {
  long n = min_long(num_columns, PANEL);
  for (long k = 0; k < K; k++) {
    memcpy(panel + k * PANEL, rows + k * rows_stride, (size_t)n * sizeof(float));
    if (n < PANEL) memset(panel + k * PANEL + n, 0, (size_t)(PANEL - n) * sizeof(float));
  }
}

#endif
