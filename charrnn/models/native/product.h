/* Products against weights packed beforehand, in any precision: the one place that knows which there are.
 *
 * For a precision it packs the weights, rounds the other factors and multiplies. Packed weights are panels of PANEL
 * columns, (K, PANEL) each; K is padded_length(precision, length). Room for packed weights is counted in floats
 * whatever they hold.
 */
#ifndef CHARRNN_PRODUCT_H
#define CHARRNN_PRODUCT_H

#include "product_bfloat16.h"
#include "product_float32.h"

/* The first two are what a caller may ask for. */
typedef enum {
  FLOAT32,       /* factors and sums in float32 */
  BFLOAT16,      /* factors rounded to bfloat16, sums in float32 */
  BFLOAT16_TILES /* the same by tiles of up to 16 rows */
} Precision;

#define BLOCK_ROWS 16 /* most rows of a product in any precision */

#if HAVE_BFLOAT16
#define ON_BFLOAT16(...) __VA_ARGS__
#else /* bfloat16_support() is 0: callers stay with FLOAT32 */
#define ON_BFLOAT16(...) __builtin_unreachable()
#endif

#if HAVE_TILES
#define ON_TILES(...) __VA_ARGS__
#else
#define ON_TILES(...) __builtin_unreachable()
#endif

/* Whether products of bfloat16 can be made here: 0 no, 1 by vectors, 2 by tiles. */
INLINE int bfloat16_support(void) {
#if HAVE_TILES
  return 1 + tiles_permitted();
#elif HAVE_BFLOAT16
  return 1;
#else
  return 0;
#endif
}

/* The fastest way to make products of the precision asked for. */
INLINE Precision fastest(Precision asked) {
  return asked == BFLOAT16 && bfloat16_support() == 2 ? BFLOAT16_TILES : asked;
}

/* Most rows that one product takes without splitting them. */
INLINE long block_rows(Precision precision) { return precision == BFLOAT16_TILES ? BLOCK_ROWS : MAX_ROWS; }

/* What a sum over `length` factors is padded to with zeros. */
INLINE long padded_length(Precision precision, long length) {
  return precision == FLOAT32 ? length : ceil_div(length, BFLOAT16_BLOCK) * BFLOAT16_BLOCK;
}

/* Floats of room that one packed panel takes. */
INLINE long panel_floats(Precision precision, long length) {
  return padded_length(precision, length) * PANEL / (precision == FLOAT32 ? 1 : 2);
}

/* Packs the transpose of rows (num_columns, length; stride): a panel's column c is row c; 0 where there is none. */
INLINE void pack_transposed(Precision precision, float *panel, const float *rows, long rows_stride, long num_columns,
                            long length) {
  if (precision == FLOAT32)
    pack_transposed_float32(panel, rows, rows_stride, num_columns, length);
  else
    ON_BFLOAT16(pack_transposed_bfloat16((uint32_t *)panel, rows, rows_stride, num_columns, length,
                                         padded_length(precision, length)));
}

/* Packs rows (length, num_columns; stride) as they are: a panel's column c is column c; 0 where there is none. */
INLINE void pack(Precision precision, float *panel, const float *rows, long rows_stride, long num_columns,
                 long length) {
  if (precision == FLOAT32)
    pack_float32(panel, rows, rows_stride, num_columns, length);
  else
    ON_BFLOAT16(
        pack_bfloat16((uint32_t *)panel, rows, rows_stride, num_columns, length, padded_length(precision, length)));
}

/* Rounds a row of factors and pads it with zeros up to K; FLOAT32 has nothing to round, its factors stay in place. */
INLINE void round_factors(Precision precision, uint16_t *to, const float *from, long length, long K) {
  (void)to, (void)from, (void)length, (void)K;
  if (precision != FLOAT32) ON_BFLOAT16(round_bfloat16(to, from, length, K));
}

/* The transpose of rows (length, num_columns <= 16; stride) as factors (16, padded length), rounded where they are. */
INLINE void take_transposed(Precision precision, float *to, const float *rows, long rows_stride, long num_columns,
                            long length) {
  long K = padded_length(precision, length);
  if (precision == FLOAT32)
    transpose_float32(to, rows, rows_stride, num_columns, length);
  else
    ON_BFLOAT16(round_transposed_bfloat16((uint32_t *)to, rows, rows_stride, num_columns, length, K));
  (void)K;
}

/* Before products of R rows on this thread; ended by end_products. */
INLINE void begin_products(Precision precision, int R) {
  (void)R;
  if (precision == BFLOAT16_TILES) ON_TILES(begin_tiles(R));
}

INLINE void end_products(Precision precision) {
  if (precision == BFLOAT16_TILES) ON_TILES(end_tiles());
}

/* sums (R, num_panels of PANEL columns; strides between rows and panels) += factors (R, K; stride) @ packed panels.
 *
 * The factors are float, or uint16_t where they are rounded. A sum's terms are added in an order that depends neither
 * on R nor on num_panels.
 */
INLINE void add_products(Precision precision, int R, long num_panels, float *sums, long sums_stride, long sums_panel,
                         const void *factors, long factors_stride, long K, const float *packed, long panel_stride) {
  if (precision == FLOAT32)
    add_products_float32(R, num_panels, sums, sums_stride, sums_panel, factors, factors_stride, K, packed,
                         panel_stride);
  else if (precision == BFLOAT16)
    ON_BFLOAT16(add_products_bfloat16(R, num_panels, sums, sums_stride, sums_panel, factors, factors_stride, K,
                                      (const uint32_t *)packed, panel_stride));
  else
    ON_TILES(add_products_tiles(num_panels, sums, sums_stride, sums_panel, factors, factors_stride, K,
                                (const uint32_t *)packed, panel_stride));
}

#endif
