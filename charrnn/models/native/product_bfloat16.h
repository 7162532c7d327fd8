/* Products with factors rounded to bfloat16 and sums in float32, on x86-64 that has them. Callers use product.h.
 *
 * Both instruction sets take pairs of neighbours in K: AMX multiplies a tile of 16 rows x 32 of K with one of 32 of K
 * x 16 columns at once; AVX512-BF16 one row's pair with those of 16 columns. One layout serves both:
 *   rows   (R, K) bfloat16, K padded with zeros to whole blocks of 32
 *   panels (K / 2, PANEL) pairs: low half of a word the even row of the weights, high half the odd
 */
#ifndef CHARRNN_PRODUCT_BFLOAT16_H
#define CHARRNN_PRODUCT_BFLOAT16_H

#include "product_float32.h"

#define BFLOAT16_BLOCK 32 /* K is padded to whole blocks of this */

#if defined(__AVX512BF16__) && defined(__AVX512BW__)
#define HAVE_BFLOAT16 1
#include <immintrin.h>

#if defined(__AMX_BF16__) && defined(__AMX_TILE__) && defined(__linux__)
#define HAVE_TILES 1
#include <sys/syscall.h>
#include <unistd.h>

/* Linux lets a process use tiles only after it has asked: their state is large. */
static inline int tiles_permitted(void) {
  enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
  static _Atomic int answer = -1;
  if (answer < 0) answer = syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
  return answer;
}

/* Tiles 0-5 hold sums (R, 16), 6 rows (R, 32), 7 weights (16 pairs, 16). */
static inline void begin_tiles(int R) {
  struct {
    uint8_t palette, start, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
  } __attribute__((packed, aligned(64))) shape;
  memset(&shape, 0, sizeof shape);
  shape.palette = 1;
  for (int tile = 0; tile < 8; tile++) {
    shape.row_bytes[tile] = 64;
    shape.rows[tile] = (uint8_t)(tile == 7 ? 16 : R);
  }
  _tile_loadconfig(&shape);
}

static inline void end_tiles(void) { _tile_release(); }

#define TILES_LOAD(p, low, high)                                    \
  _tile_loadd(low, sums + (p) * sums_panel, sums_stride * 4);       \
  _tile_loadd(high, sums + (p) * sums_panel + 16, sums_stride * 4);
#define TILES_STEP(p, low, high)                                                \
  _tile_loadd(7, panels + (p) * panel_words + k * (PANEL / 2), PANEL * 4);      \
  _tile_dpbf16ps(low, 6, 7);                                                    \
  _tile_loadd(7, panels + (p) * panel_words + k * (PANEL / 2) + 16, PANEL * 4); \
  _tile_dpbf16ps(high, 6, 7);
#define TILES_STORE(p, low, high)                                    \
  _tile_stored(low, sums + (p) * sums_panel, sums_stride * 4);       \
  _tile_stored(high, sums + (p) * sums_panel + 16, sums_stride * 4);
#define TILES_RUN(EACH)                          \
  EACH(TILES_LOAD)                               \
  for (long k = 0; k < K; k += BFLOAT16_BLOCK) { \
    _tile_loadd(6, rows + k, rows_stride * 2);   \
    EACH(TILES_STEP)                             \
  }                                              \
  EACH(TILES_STORE)
#define ONE_PANEL(DO) DO(0, 0, 1)
#define TWO_PANELS(DO) ONE_PANEL(DO) DO(1, 2, 3)
#define THREE_PANELS(DO) TWO_PANELS(DO) DO(2, 4, 5)

/* Up to three panels at once, between begin_tiles(R) and end_tiles(). */
static inline void multiply_tiles(int num_panels, float *sums, long sums_stride, long sums_panel, const uint16_t *rows,
                                  long rows_stride, long K, const uint32_t *panels, long panel_words) {
  if (num_panels == 3) {
    TILES_RUN(THREE_PANELS)
  } else if (num_panels == 2) {
    TILES_RUN(TWO_PANELS)
  } else {
    TILES_RUN(ONE_PANEL)
  }
}

/* Any number of panels. Four are taken by twos: one alone would wait for its own sums. */
static inline void add_products_tiles(long num_panels, float *sums, long sums_stride, long sums_panel,
                                      const uint16_t *rows, long rows_stride, long K, const uint32_t *panels,
                                      long panel_words) {
  for (long p = 0, n; p < num_panels; p += n) {
    n = num_panels - p == 4 ? 2 : min_long(num_panels - p, 3);
    multiply_tiles((int)n, sums + p * sums_panel, sums_stride, sums_panel, rows, rows_stride, K,
                   panels + p * panel_words, panel_words);
  }
}
#endif

INLINE void multiply_pairs_rows(const int R, float *restrict sums, long sums_stride, const uint16_t *restrict rows,
                                long rows_stride, long K, const uint32_t *restrict panel) {
  __m512 sum[MAX_ROWS][PANEL_VECTORS];
  for (int r = 0; r < R; r++)
    for (int v = 0; v < PANEL_VECTORS; v++) sum[r][v] = _mm512_loadu_ps(sums + r * sums_stride + v * LANES);
  for (long k = 0; k < K; k += 2) {
    __m512bh weight[PANEL_VECTORS];
    for (int v = 0; v < PANEL_VECTORS; v++)
      weight[v] = (__m512bh)_mm512_loadu_si512(panel + (k / 2) * PANEL + v * LANES);
    for (int r = 0; r < R; r++) {
      uint32_t pair;
      memcpy(&pair, rows + r * rows_stride + k, sizeof pair);
      __m512bh both = (__m512bh)_mm512_set1_epi32((int)pair);
      for (int v = 0; v < PANEL_VECTORS; v++) sum[r][v] = _mm512_dpbf16_ps(sum[r][v], both, weight[v]);
    }
  }
  for (int r = 0; r < R; r++)
    for (int v = 0; v < PANEL_VECTORS; v++) _mm512_storeu_ps(sums + r * sums_stride + v * LANES, sum[r][v]);
}

/* One panel without tiles, for any number of rows up to 16. */
static inline void multiply_pairs(int num_rows, float *sums, long sums_stride, const uint16_t *rows, long rows_stride,
                                  long K, const uint32_t *panel) {
  if (num_rows > MAX_ROWS) {
    multiply_pairs(8, sums, sums_stride, rows, rows_stride, K, panel);
    multiply_pairs(num_rows - 8, sums + 8 * sums_stride, sums_stride, rows + 8 * rows_stride, rows_stride, K, panel);
    return;
  }
  switch (num_rows) {
#define CASE(R)                                                             \
  case R:                                                                   \
    multiply_pairs_rows(R, sums, sums_stride, rows, rows_stride, K, panel); \
    break;
#define CASES(a, b, c, d, e, f) CASE(a) CASE(b) CASE(c) CASE(d) CASE(e) CASE(f)
    CASES(1, 2, 3, 4, 5, 6)
    CASES(7, 8, 9, 10, 11, 12)
#undef CASES
#undef CASE
  }
}

static inline void add_products_bfloat16(int R, long num_panels, float *sums, long sums_stride, long sums_panel,
                                         const uint16_t *rows, long rows_stride, long K, const uint32_t *panels,
                                         long panel_words) {
  for (long p = 0; p < num_panels; p++)
    multiply_pairs(R, sums + p * sums_panel, sums_stride, rows, rows_stride, K, panels + p * panel_words);
}

/* A row rounded to bfloat16 (to nearest, ties to even; a NaN stays one), then zeros up to K. */
static inline void round_bfloat16(uint16_t *to, const float *from, long length, long K) {
  for (long u = 0; u < K; u += LANES) {
    vec value = u < length ? load_first(from + u, length - u) : splat(0.0f);
    _mm256_storeu_si256((void *)(to + u), (__m256i)_mm512_cvtneps_pbh((__m512)value));
  }
}

/* Pairs of two rows' neighbours: even in the low halves, odd in the high. */
INLINE bits pair_rows(vec even, vec odd) {
  __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)even));
  __m512i high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)odd));
  return (bits)low | (bits)high << 16;
}

/* Swaps rows and columns of 16 x 16 words: first within blocks of 4 x 4, then the blocks. */
INLINE void transpose_words(__m512i row[16]) {
  __m512i pairs[16], fours[16];
  for (int i = 0; i < 16; i += 2) {
    pairs[i] = _mm512_unpacklo_epi32(row[i], row[i + 1]);
    pairs[i + 1] = _mm512_unpackhi_epi32(row[i], row[i + 1]);
  }
  for (int i = 0; i < 16; i += 4)
    for (int j = 0; j < 2; j++) {
      fours[i + 2 * j] = _mm512_unpacklo_epi64(pairs[i + j], pairs[i + j + 2]);
      fours[i + 2 * j + 1] = _mm512_unpackhi_epi64(pairs[i + j], pairs[i + j + 2]);
    }
  for (int j = 0; j < 4; j++) {
    __m512i even_low = _mm512_shuffle_i32x4(fours[j], fours[j + 4], 0x88);
    __m512i even_high = _mm512_shuffle_i32x4(fours[j + 8], fours[j + 12], 0x88);
    __m512i odd_low = _mm512_shuffle_i32x4(fours[j], fours[j + 4], 0xDD);
    __m512i odd_high = _mm512_shuffle_i32x4(fours[j + 8], fours[j + 12], 0xDD);
    row[j] = _mm512_shuffle_i32x4(even_low, even_high, 0x88);
    row[j + 4] = _mm512_shuffle_i32x4(odd_low, odd_high, 0x88);
    row[j + 8] = _mm512_shuffle_i32x4(even_low, even_high, 0xDD);
    row[j + 12] = _mm512_shuffle_i32x4(odd_low, odd_high, 0xDD);
  }
}

/* Panel of the transpose of rows (columns, length): pairs along a row are neighbours in K already. */
static inline void pack_transposed_bfloat16(uint32_t *panel, const float *rows, long rows_stride, long num_columns,
                                            long length, long K) {
  for (long k0 = 0; k0 < K; k0 += 32)
    for (long c0 = 0; c0 < PANEL; c0 += 16) {
      __m512i block[16];
      for (long c = 0; c < 16; c++) {
        uint16_t rounded[32] = {0};
        if (c0 + c < num_columns) round_bfloat16(rounded, rows + (c0 + c) * rows_stride + k0, length - k0, 32);
        block[c] = _mm512_loadu_si512(rounded);
      }
      transpose_words(block);
      for (long i = 0; i < 16; i++) _mm512_storeu_si512(panel + (k0 / 2 + i) * PANEL + c0, block[i]);
    }
}

/* Panel of the rows themselves, (length, columns). */
static inline void pack_bfloat16(uint32_t *panel, const float *rows, long rows_stride, long num_columns, long length,
                                 long K) {
  for (long k = 0; k < K; k += 2)
    for (long c = 0; c < PANEL; c += LANES) {
      vec even = splat(0.0f), odd = splat(0.0f);
      if (k < length && c < num_columns) even = load_first(rows + k * rows_stride + c, num_columns - c);
      if (k + 1 < length && c < num_columns) odd = load_first(rows + (k + 1) * rows_stride + c, num_columns - c);
      bits pairs = pair_rows(even, odd);
      memcpy(panel + (k / 2) * PANEL + c, &pairs, sizeof pairs);
    }
}

/* Columns c < num_columns of rows (length, ...), as 16 rows of K: to[c] = rounded rows[:, c]. */
static inline void round_transposed_bfloat16(uint32_t *to, const float *rows, long rows_stride, long num_columns,
                                             long length, long K) {
  for (long k0 = 0; k0 < K; k0 += 32) {
    __m512i block[16];
    for (long i = 0; i < 16; i++) {
      long k = k0 + 2 * i;
      vec even = k < length ? load_first(rows + k * rows_stride, num_columns) : splat(0.0f);
      vec odd = k + 1 < length ? load_first(rows + (k + 1) * rows_stride, num_columns) : splat(0.0f);
      block[i] = (__m512i)pair_rows(even, odd);
    }
    transpose_words(block);
    for (long c = 0; c < 16; c++) _mm512_storeu_si512(to + c * (K / 2) + k0 / 2, block[c]);
  }
}

#endif
#endif
