/* Vectors of floats as gcc and clang offer them on every processor, and the functions a cell needs on them.
 *
 * One source serves x86-64 (AVX-512, AVX2, SSE2) and arm64 (NEON): only the width and the number of rows that a
 * product keeps in registers differ.
 */
#ifndef CHARRNN_VECTOR_H
#define CHARRNN_VECTOR_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__AVX512F__) || defined(__F16C__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#if defined(__AVX512F__)
#define LANES 16
#define MAX_ROWS 12 /* 12 rows x 2 vectors of sums + 2 of weights: 26 of 32 registers */
#elif defined(__AVX__)
#define LANES 8
#define MAX_ROWS 6 /* 12 sums + 2 weights + 1 broadcast: 15 of 16 registers */
#elif defined(__aarch64__)
#define LANES 4
#define MAX_ROWS 12
#else
#define LANES 4
#define MAX_ROWS 6
#endif

#define PANEL_VECTORS 2
#define PANEL (PANEL_VECTORS * LANES) /* columns of a product that are summed at once */

#define INLINE static inline __attribute__((always_inline))

/* Before a loop of at most 16 rounds whose sums are to stay in registers: gcc leaves larger bodies rolled. */
#if defined(__clang__)
#define UNROLLED
#else
#define UNROLLED _Pragma("GCC unroll 16")
#endif

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef uint32_t bits __attribute__((vector_size(4 * LANES)));
typedef int32_t mask __attribute__((vector_size(4 * LANES)));
typedef float loose_vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

/* Floats at an address that suits vectors; NULL where there is no memory. */
static inline float *new_floats(long count) {
  void *room = NULL;
  if (posix_memalign(&room, 64, (size_t)(count > 0 ? count : 1) * sizeof(float)) != 0) return NULL;
  return room;
}

INLINE vec splat(float value) { return value - (vec){0}; }
INLINE vec load(const float *from) { return *(const loose_vec *)from; }
INLINE void store(float *to, vec value) { *(loose_vec *)to = value; }

/* Whether floats can be kept in half precision, which has 11 bits and ends at 65504. */
#if defined(__AVX512F__) || (defined(__AVX__) && defined(__F16C__)) || defined(__aarch64__)
#define HAVE_HALF 1
#else
#define HAVE_HALF 0
#endif

INLINE vec load_half(const uint16_t *from) {
#if defined(__AVX512F__)
  return (vec)_mm512_cvtph_ps(_mm256_loadu_si256((const void *)from));
#elif HAVE_HALF && LANES == 8
  return (vec)_mm256_cvtph_ps(_mm_loadu_si128((const void *)from));
#elif HAVE_HALF
  return (vec)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(from)));
#else
  (void)from;
  __builtin_unreachable();
#endif
}

/* Rounded to the nearest, of two equally near to the even one. */
INLINE void store_half(uint16_t *to, vec value) {
#if defined(__AVX512F__)
  _mm256_storeu_si256((void *)to, _mm512_cvtps_ph((__m512)value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
#elif HAVE_HALF && LANES == 8
  _mm_storeu_si128((void *)to, _mm256_cvtps_ph((__m256)value, _MM_FROUND_TO_NEAREST_INT));
#elif HAVE_HALF
  vst1_u16(to, vreinterpret_u16_f16(vcvt_f16_f32((float32x4_t)value)));
#else
  (void)to, (void)value;
  __builtin_unreachable();
#endif
}

INLINE vec round_half(vec value) {
  uint16_t half[LANES];
  store_half(half, value);
  return load_half(half);
}

/* A float as two halves `plane` apart: rounded, and 2^11 times what that leaves. Together they have its 24 bits, for
 * values from 2^-14 to 65504. */
INLINE vec load_split(const uint16_t *from, long plane) {
  return load_half(from) + load_half(from + plane) * splat(0x1p-11f);
}

INLINE void store_split(uint16_t *to, long plane, vec value) {
  store_half(to, value);
  store_half(to + plane, (value - round_half(value)) * splat(0x1p11f));
}

/* The first n lanes, 0 in the others: rows need not be whole vectors. */
INLINE vec load_first(const float *from, long n) {
  if (n >= LANES) return load(from);
  vec value = {0};
  memcpy(&value, from, (size_t)n * sizeof(float));
  return value;
}

INLINE void store_first(float *to, vec value, long n) {
  if (n >= LANES)
    store(to, value);
  else
    memcpy(to, &value, (size_t)n * sizeof(float));
}

INLINE vec choose(mask where, vec yes, vec no) { return (vec)(((bits)yes & (bits)where) | ((bits)no & ~(bits)where)); }

/* Both comparisons are false for a NaN, which therefore stays. */
INLINE vec clamp(vec x, float low, float high) {
  x = choose(x < splat(low), splat(low), x);
  return choose(x > splat(high), splat(high), x);
}

/* exp(x) = power * (1 + rest) with power = 2^n and rest = exp(x - n ln 2) - 1, |x - n ln 2| <= ln 2 / 2.
 *
 * n comes from adding 1.5 * 2^23, where a float's unit in the last place is 1. ln 2 is subtracted in two parts, the
 * first exact in few bits. The polynomial (minimax, fitted to the relative error of rest) is good to 1.4e-8.
 */
INLINE void exp_parts(vec x, vec *power, vec *rest) {
  const float magic = 12582912.0f;
  vec shifted = x * splat(1.44269504f) + splat(magic);
  vec n = shifted - splat(magic);
  vec r = x - n * splat(0.693359375f);
  r = r + n * splat(2.12194440e-4f);
  vec p = splat(0x1.6bebf2p-10f);
  p = p * r + splat(0x1.1227f6p-7f);
  p = p * r + splat(0x1.555674p-5f);
  p = p * r + splat(0x1.5554b0p-3f);
  p = p * r + splat(0x1.fffffep-2f);
  *rest = p * (r * r) + r;
  *power = (vec)(((bits)shifted << 23) + 0x3F800000u);
}

/* a / b, for b from 1 to 2^126: where a processor divides slowly, by an approximate inverse and two corrections. */
INLINE vec divide(vec a, vec b) {
#if defined(__AVX512F__)
  vec inverse = (vec)_mm512_rcp14_ps((__m512)b);
  inverse = inverse + inverse * (splat(1.0f) - b * inverse);
  vec quotient = a * inverse;
  return quotient + inverse * (a - b * quotient);
#else
  return a / b;
#endif
}

INLINE vec square_root(vec x) {
#if defined(__AVX512F__)
  return (vec)_mm512_sqrt_ps((__m512)x);
#elif defined(__aarch64__)
  return (vec)vsqrtq_f32((float32x4_t)x);
#else
  for (int lane = 0; lane < LANES; lane++) x[lane] = __builtin_sqrtf(x[lane]);
  return x;
#endif
}

/* exp, for -87 <= x <= 87; beyond that, exp of the nearer end. */
INLINE vec exp_vec(vec x) {
  vec power, rest;
  exp_parts(clamp(x, -87.0f, 87.0f), &power, &rest);
  return power * rest + power;
}

INLINE vec sigmoid_vec(vec x) { return divide(splat(1.0f), splat(1.0f) + exp_vec(-x)); }

/* (exp(2x) - 1) / (exp(2x) + 1); the subtraction is of 2^n - 1, exact, so that small x keep their digits. */
INLINE vec tanh_vec(vec x) {
  vec power, rest;
  exp_parts(clamp(x + x, -20.0f, 20.0f), &power, &rest);
  vec minus_one = power * rest + (power - splat(1.0f));
  return divide(minus_one, minus_one + splat(2.0f));
}

#endif
