/* A window of recurrence, forward and backward: T steps of B streams of H units.
 *
 * Legend: T steps, B streams, H units, G gates (rnn 1, lstm 4, gru 3), V rows of an input table, S saved blocks.
 *
 * The equations are those of charrnn/models/cells.py, in its gate order. A call goes through stages, one or two a step.
 * Its parts are some of the streams each, and of large layers some of the units; those that share streams begin a
 * stage when all have ended the one before. Within a stage the product with the packed weights is made for PANEL units
 * of all gates at once, and the cell's functions follow while the sums are in cache.
 *
 * Memory beyond the arguments, in floats, with H' = H rounded up to whole panels; with bfloat16 weights take half:
 *   forward  G*H*H' + G*H' (packed weights and bias) + S*B*H where nothing is saved for a backward pass
 *   backward G*H*H' (packed weights) + 2*B*H' (gradient carried from step to step)
 *   both     with bfloat16, G*B*H' (factors of two stages)
 * The arguments hold (1 + S)*T*B*H for the backward pass (LSTM one more, for its cells), and the gradient of the
 * gates takes G*T*B*H (GRU with reset after: one more, its new gate's hidden share), with S = 4, for rnn 0.
 */
#include "recurrence.h"

#include <stdlib.h>
#include <unistd.h>

#include "product.h"
#include "product_bf16.h"
#include "team.h"

static const long NUM_GATES[] = {1, 4, 3, 3};
static const long NUM_SAVED[] = {0, 4, 4, 4};

float *recurrence_new_floats(long count) {
  void *room = NULL;
  if (posix_memalign(&room, 64, (size_t)(count > 0 ? count : 1) * sizeof(float)) != 0) return NULL;
  return room;
}

#if HAVE_BF16
static int tiles_usable(void) {
#if HAVE_TILES
  static _Atomic int answer = -1;
  if (answer < 0) answer = tiles_permitted();
  return answer;
#else
  return 0;
#endif
}
#endif

/* Whether this library can make products of bfloat16: 0 no, 1 by vectors, 2 by tiles. */
int charrnn_bf16(void) {
#if HAVE_BF16
  return 1 + tiles_usable();
#else
  return 0;
#endif
}

Job recurrence_job(const Window *w) {
  Job job = {.w = w, .G = NUM_GATES[w->cell], .S = NUM_SAVED[w->cell]};
  job.x_stride = job.G * w->H;
  job.panels = ceil_div(w->H, PANEL);
  job.padded = job.panels * PANEL;
  job.bf16 = w->precision == BFLOAT16;
  job.tiles = job.bf16 && charrnn_bf16() == 2;
  job.block_rows = job.tiles ? BLOCK_ROWS : MAX_ROWS;
  job.K = job.bf16 ? ceil_div(w->H, BF16_BLOCK) * BF16_BLOCK : w->H;
  job.gate_words = job.K * PANEL / (job.bf16 ? 2 : 1);
  job.stream_parts = job.unit_parts = job.num_parts = 1;
  return job;
}

INLINE const float *input_row(const Job *job, long t, long b) {
  long row = t * job->w->B + b;
  return job->w->x + (job->w->ids ? job->w->ids[row] : row) * job->x_stride;
}

/* ---- the products of a step ---- */

/* Panels of units first <= p < last: what a part makes of every step. */
typedef struct {
  long first, last;
} Panels;

/* A block of streams' factors: float32 where they lie, or rounded to bfloat16. */
typedef struct {
  const void *rows;
  long stride;
} Factors;

/* Where stage `stage` reads the rounded factors of stream b and gate g: the stage before it wrote them. */
INLINE uint16_t *rounded_at(const Job *job, long stage, long b, long g) {
  return job->rounded + (((stage & 1) * job->w->B + b) * job->G + g) * job->K;
}

/* The factors of stage `stage`: rows (R, ...; stride) as they are, or rounded, of gate `first` and those after it. */
INLINE Factors factors(const Job *job, long stage, long b, const float *rows, long stride, long first) {
  if (job->bf16) return (Factors){rounded_at(job, stage, b, first), job->G * job->K};
  return (Factors){rows, stride};
}

/* Rounds own units of R rows, one gate's factors in the stage after this. */
INLINE void hand_on(const Job *job, long stage, long b, int R, const float *rows, long stride, long gate, Panels own) {
#if HAVE_BF16
  if (job->bf16)
    for (int r = 0; r < R; r++)
      round_row(rounded_at(job, stage + 1, b + r, gate) + own.first * PANEL, rows + r * stride + own.first * PANEL,
                job->w->H - own.first * PANEL, (own.last - own.first) * PANEL);
#endif
  (void)job, (void)stage, (void)b, (void)R, (void)rows, (void)stride, (void)gate, (void)own;
}

/* sums (panels of PANEL columns; strides between rows and panels) += factors (R, num_gates * H) @ packed panels. */
INLINE void add_panels(const Job *job, int R, long num_panels, float *sums, long sums_stride, long sums_panel,
                       Factors f, long num_gates, const float *packed, long panel_words) {
#if HAVE_TILES
  if (job->tiles) {
    for (long p = 0, n; p < num_panels; p += n) {
      n = num_panels - p == 4 ? 2 : min_long(num_panels - p, 3);
      multiply_tiles((int)n, sums + p * sums_panel, sums_stride, sums_panel, f.rows, f.stride, num_gates * job->K,
                     (const uint32_t *)packed + p * panel_words, panel_words);
    }
    return;
  }
#endif
#if HAVE_BF16
  if (job->bf16) {
    for (long p = 0; p < num_panels; p++)
      multiply_pairs(R, sums + p * sums_panel, sums_stride, f.rows, f.stride, num_gates * job->K,
                     (const uint32_t *)packed + p * panel_words);
    return;
  }
#endif
  multiply_panels(R, num_panels, sums, sums_stride, sums_panel, f.rows, f.stride, num_gates * job->K, packed,
                  panel_words);
}

/* ---- forward ---- */

void recurrence_pack(void *data, long panel) {
  Job *job = data;
  long H = job->w->H, u = panel * PANEL;
  for (long g = 0; g < job->G; g++) {
    float *packed = job->packed + (panel * job->G + g) * job->gate_words;
    const float *rows = job->w->weight_hh + (g * H + u) * H;
#if HAVE_BF16
    if (job->bf16)
      pack_pairs_transposed((uint32_t *)packed, rows, H, H - u, H, job->K);
    else
#endif
      pack_transposed(packed, rows, H, H - u, H);
    float *bias = job->bias + g * job->padded + u;
    memset(bias, 0, PANEL * sizeof(float));
    if (job->w->bias_hh) memcpy(bias, job->w->bias_hh + g * H + u, (size_t)min_long(PANEL, H - u) * sizeof(float));
  }
}

/* sums[g - first] = bias + W_hh h for gates first <= g < last of one panel's units. */
static void gate_sums(const Job *job, long panel, long first, long last, int R, Factors h,
                      float sums[4][BLOCK_ROWS][PANEL]) {
  for (long g = first; g < last; g++)
    for (int r = 0; r < R; r++)
      memcpy(sums[g - first][r], job->bias + g * job->padded + panel * PANEL, PANEL * sizeof(float));
  add_panels(job, R, last - first, sums[0][0], PANEL, BLOCK_ROWS * PANEL, h, 1,
             job->packed + (panel * job->G + first) * job->gate_words, job->gate_words);
}

static void rnn_step(const Job *job, long t, long b, int R, Panels own) {
  const Window *w = job->w;
  long H = w->H, BH = w->B * H;
  const float *h = w->hidden + t * BH + b * H;
  float *h_next = w->hidden + (t + 1) * BH + b * H, sums[4][BLOCK_ROWS][PANEL];
  Factors fed_back = factors(job, t, b, h, H, 0);
  for (long panel = own.first; panel < own.last; panel++) {
    gate_sums(job, panel, 0, 1, R, fed_back, sums);
    for (int r = 0; r < R; r++) {
      const float *x = input_row(job, t, b + r);
      for (long i = 0; i < PANEL; i += LANES) {
        long u = panel * PANEL + i, n = H - u;
        if (n <= 0) break;
        store_first(h_next + r * H + u, tanh_vec(load_first(x + u, n) + load(&sums[0][r][i])), n);
      }
    }
  }
  hand_on(job, t, b, R, h_next, H, 0, own);
}

static void lstm_step(const Job *job, long t, long b, int R, Panels own) {
  const Window *w = job->w;
  long H = w->H, BH = w->B * H;
  const float *h = w->hidden + t * BH + b * H, *c = w->cells + t * BH + b * H;
  float *h_next = w->hidden + (t + 1) * BH + b * H, *c_next = w->cells + (t + 1) * BH + b * H;
  float *saved = job->saved + t * job->saved_step + b * 4 * H, sums[4][BLOCK_ROWS][PANEL];
  Factors fed_back = factors(job, t, b, h, H, 0);
  for (long panel = own.first; panel < own.last; panel++) {
    gate_sums(job, panel, 0, 4, R, fed_back, sums);
    for (int r = 0; r < R; r++) {
      const float *x = input_row(job, t, b + r);
      float *s = saved + r * 4 * H;
      for (long k = 0; k < PANEL; k += LANES) {
        long u = panel * PANEL + k, n = H - u;
        if (n <= 0) break;
        vec i = sigmoid_vec(load_first(x + 0 * H + u, n) + load(&sums[0][r][k]));
        vec f = sigmoid_vec(load_first(x + 1 * H + u, n) + load(&sums[1][r][k]));
        vec g = tanh_vec(load_first(x + 2 * H + u, n) + load(&sums[2][r][k]));
        vec o = sigmoid_vec(load_first(x + 3 * H + u, n) + load(&sums[3][r][k]));
        vec c_new = f * load_first(c + r * H + u, n) + i * g;
        store_first(c_next + r * H + u, c_new, n);
        store_first(h_next + r * H + u, o * tanh_vec(c_new), n);
        store_first(s + 0 * H + u, i, n);
        store_first(s + 1 * H + u, f, n);
        store_first(s + 2 * H + u, g, n);
        store_first(s + 3 * H + u, o, n);
      }
    }
  }
  hand_on(job, t, b, R, h_next, H, 0, own);
}

static void gru_step(const Job *job, long t, long b, int R, Panels own) {
  const Window *w = job->w;
  long H = w->H, BH = w->B * H;
  const float *h = w->hidden + t * BH + b * H;
  float *h_next = w->hidden + (t + 1) * BH + b * H;
  float *saved = job->saved + t * job->saved_step + b * 4 * H, sums[4][BLOCK_ROWS][PANEL];
  Factors fed_back = factors(job, t, b, h, H, 0);
  for (long panel = own.first; panel < own.last; panel++) {
    gate_sums(job, panel, 0, 3, R, fed_back, sums);
    for (int row = 0; row < R; row++) {
      const float *x = input_row(job, t, b + row);
      float *s = saved + row * 4 * H;
      for (long k = 0; k < PANEL; k += LANES) {
        long u = panel * PANEL + k, left = H - u;
        if (left <= 0) break;
        vec r = sigmoid_vec(load_first(x + 0 * H + u, left) + load(&sums[0][row][k]));
        vec z = sigmoid_vec(load_first(x + 1 * H + u, left) + load(&sums[1][row][k]));
        vec fed = load(&sums[2][row][k]);
        vec n = tanh_vec(load_first(x + 2 * H + u, left) + r * fed);
        vec h_new = (splat(1.0f) - z) * n + z * load_first(h + row * H + u, left);
        store_first(h_next + row * H + u, h_new, left);
        store_first(s + 0 * H + u, r, left);
        store_first(s + 1 * H + u, z, left);
        store_first(s + 2 * H + u, n, left);
        store_first(s + 3 * H + u, fed, left);
      }
    }
  }
  hand_on(job, t, b, R, h_next, H, 0, own);
}

/* Two stages a step: the gates, then the new state from what they leave of the old. */
static void gru_before_step(const Job *job, long stage, long b, int R, Panels own) {
  const Window *w = job->w;
  long H = w->H, BH = w->B * H, t = stage / 2;
  const float *h = w->hidden + t * BH + b * H;
  float *h_next = w->hidden + (t + 1) * BH + b * H;
  float *saved = job->saved + t * job->saved_step + b * 4 * H, sums[4][BLOCK_ROWS][PANEL];
  if (stage % 2 == 0) {
    Factors fed_back = factors(job, stage, b, h, H, 0);
    for (long panel = own.first; panel < own.last; panel++) {
      gate_sums(job, panel, 0, 2, R, fed_back, sums);
      for (int row = 0; row < R; row++) {
        const float *x = input_row(job, t, b + row);
        float *s = saved + row * 4 * H;
        for (long k = 0; k < PANEL; k += LANES) {
          long u = panel * PANEL + k, left = H - u;
          if (left <= 0) break;
          vec r = sigmoid_vec(load_first(x + 0 * H + u, left) + load(&sums[0][row][k]));
          vec z = sigmoid_vec(load_first(x + 1 * H + u, left) + load(&sums[1][row][k]));
          store_first(s + 0 * H + u, r, left);
          store_first(s + 1 * H + u, z, left);
          store_first(s + 3 * H + u, r * load_first(h + row * H + u, left), left);
        }
      }
    }
    hand_on(job, stage, b, R, saved + 3 * H, 4 * H, 0, own);
    return;
  }
  Factors fed_back = factors(job, stage, b, saved + 3 * H, 4 * H, 0);
  for (long panel = own.first; panel < own.last; panel++) {
    gate_sums(job, panel, 2, 3, R, fed_back, sums);
    for (int row = 0; row < R; row++) {
      const float *x = input_row(job, t, b + row);
      float *s = saved + row * 4 * H;
      for (long k = 0; k < PANEL; k += LANES) {
        long u = panel * PANEL + k, left = H - u;
        if (left <= 0) break;
        vec z = load_first(s + 1 * H + u, left);
        vec n = tanh_vec(load_first(x + 2 * H + u, left) + load(&sums[0][row][k]));
        vec h_new = (splat(1.0f) - z) * n + z * load_first(h + row * H + u, left);
        store_first(h_next + row * H + u, h_new, left);
        store_first(s + 2 * H + u, n, left);
      }
    }
  }
  hand_on(job, stage, b, R, h_next, H, 0, own);
}

/* ---- stages ---- */

/* What a part does at one stage with R streams from b on and its own units. */
typedef void (*stage_function)(const Job *, long stage, long b, int R, Panels own);

/* One part's share of a stage, its streams in blocks of nearly equal size. */
INLINE void run_stage(const Job *job, stage_function run, long stage, long streams, long units) {
  long first = streams * job->w->B / job->stream_parts, last = (streams + 1) * job->w->B / job->stream_parts;
  long blocks = ceil_div(last - first, job->block_rows);
  Panels own = {units * job->panels / job->unit_parts, (units + 1) * job->panels / job->unit_parts};
  for (long i = 0; i < blocks; i++) {
    long b = first + i * (last - first) / blocks, end = first + (i + 1) * (last - first) / blocks;
#if HAVE_TILES
    if (job->tiles) tiles_begin((int)(end - b));
#endif
    run(job, stage, b, (int)(end - b), own);
  }
}

INLINE void end_tiles(const Job *job) {
#if HAVE_TILES
  if (job->tiles) tiles_end();
#endif
  (void)job;
}

/* All stages, in order. Parts that share streams meet after each; one whose thread is late is run by another's. */
static void run_stages(const Job *job, stage_function run, long part, long num_stages) {
  long n = job->unit_parts, streams = part / n;
  for (long stage = 0; stage < num_stages; stage++) {
    if (n == 1) {
      run_stage(job, run, stage, streams, 0);
      continue;
    }
    for (long i = 0; i < n; i++) {
      long units = (part + i) % n;
      if (!counter_raise_from(&job->taken[streams * n + units], stage)) continue;
      run_stage(job, run, stage, streams, units);
      counter_add(&job->done[streams]);
    }
    counter_wait(&job->done[streams], (stage + 1) * n);
  }
  end_tiles(job);
}

INLINE long stages_of(const Job *job) { return job->w->cell == GRU_BEFORE ? 2 : 1; }

void recurrence_forward_part(void *data, long part) {
  static const stage_function STAGES[] = {rnn_step, lstm_step, gru_step, gru_before_step};
  const Job *job = data;
  run_stages(job, STAGES[job->w->cell], part, job->w->T * stages_of(job));
}

/* Bytes of cache that a core has for itself. */
static long cache_bytes(void) {
#ifdef CACHE_BYTES /* for tests: to share out small layers as large ones are */
  return CACHE_BYTES;
#endif
#ifdef _SC_LEVEL2_CACHE_SIZE
  long found = sysconf(_SC_LEVEL2_CACHE_SIZE);
  if (found > 0) return found;
#endif
  return 1 << 20;
}

/* Threads share the streams. Where the packed weights take `room` bytes or more they share the streams in whole
 * blocks and the units of each block: a thread then reads its part of the weights alone, from its own cache, but has
 * to meet the others at every stage and to read what they made. */
static void share_out(Job *job, long room) {
  const Window *w = job->w;
  long num_threads = w->num_threads < 1 ? 1 : w->num_threads;
  long weight_bytes = job->panels * job->G * job->gate_words * (long)sizeof(float);
  /* A part of fewer than 4 streams spends its time reading weights. */
  job->stream_parts = min_long(num_threads, ceil_div(w->B, weight_bytes < room ? 4 : job->block_rows));
  job->unit_parts = weight_bytes < room ? 1 : min_long(num_threads / job->stream_parts, job->panels);
  job->num_parts = job->stream_parts * job->unit_parts;
}

/* What the stages of a call share; 0 where there is no memory. */
static int new_room(Job *job) {
  long num_counters = job->num_parts + job->stream_parts;
  job->rounded = job->bf16 ? (uint16_t *)recurrence_new_floats(job->w->B * job->G * job->K) : NULL;
  job->taken = (Counter *)recurrence_new_floats(num_counters * (long)(sizeof(Counter) / sizeof(float)));
  if (!job->taken || (job->bf16 && !job->rounded)) return 0;
  for (long i = 0; i < num_counters; i++) atomic_init(&job->taken[i].value, 0);
  job->done = job->taken + job->num_parts;
  return 1;
}

static void free_room(Job *job) {
  free(job->taken);
  free(job->rounded);
}

int charrnn_forward(const Window *w) {
  if (w->precision == BFLOAT16 && !charrnn_bf16()) return NO_BF16;
  Job job = recurrence_job(w);
  share_out(&job, cache_bytes() / 2);
  if (w->ids)
    for (long i = 0; i < w->T * w->B; i++)
      if (w->ids[i] < 0 || w->ids[i] >= w->V) return BAD_ID;
  job.saved = w->saved ? w->saved : recurrence_new_floats(w->B * job.S * w->H);
  job.saved_step = w->saved ? w->B * job.S * w->H : 0;
  job.packed = recurrence_new_floats(job.panels * job.G * job.gate_words);
  job.bias = recurrence_new_floats(job.G * job.padded);
  int status = new_room(&job) && job.saved && job.packed && job.bias ? OK : NO_MEMORY;
  if (status == OK) {
    hand_on(&job, -1, 0, (int)w->B, w->hidden, w->H, 0, (Panels){0, job.panels});
    team_run(recurrence_pack, &job, job.panels, w->num_threads);
    team_run(recurrence_forward_part, &job, job.num_parts, job.num_parts);
  }
  free_room(&job);
  free(job.bias);
  free(job.packed);
  if (!w->saved) free(job.saved);
  return status;
}

/* ---- backward ---- */

static void pack_backward_part(void *data, long panel) {
  Job *job = data;
  long H = job->w->H, u = panel * PANEL;
  for (long g = 0; g < job->G; g++) {
    float *packed = job->packed + (panel * job->G + g) * job->gate_words;
    const float *rows = job->w->weight_hh + g * H * H + u;
#if HAVE_BF16
    if (job->bf16)
      pack_pairs_straight((uint32_t *)packed, rows, H, H - u, H, job->K);
    else
#endif
      pack_straight(packed, rows, H, H - u, H);
  }
}

/* Own columns of sums (R, padded) += rows (R, num_gates * H; stride) @ W_hh's rows of gates first, first + 1, ... */
static void add_product(const Job *job, long stage, long b, int R, float *sums, const float *rows, long stride,
                        long first, long num_gates, Panels own) {
  Factors f = factors(job, stage, b, rows, stride, first);
  add_panels(job, R, own.last - own.first, sums + own.first * PANEL, job->padded, PANEL, f, num_gates,
             job->packed + (own.first * job->G + first) * job->gate_words, job->G * job->gate_words);
}

/* A stage adds to the carried gradient what the gates of the step after pass back, then makes its own step's gates;
 * the stage after the first step's has only the former to do. */

static void rnn_backward(const Job *job, long stage, long b, int R, Panels own) {
  const Window *w = job->w;
  long H = w->H, BH = w->B * H, t = w->T - 1 - stage, end = min_long(H, own.last * PANEL);
  float *carried = job->carried + b * job->padded;
  if (stage > 0) add_product(job, stage, b, R, carried, w->grad_x + (t + 1) * BH + b * H, H, 0, 1, own);
  if (t < 0) return;
  float *grad_x = w->grad_x + t * BH + b * H;
  for (int r = 0; r < R; r++) {
    long at = (b + r) * H;
    for (long u = own.first * PANEL; u < end; u += LANES) {
      long n = H - u;
      vec h = load_first(w->hidden + (t + 1) * BH + at + u, n);
      vec dh = load_first(w->grad_outputs + t * BH + at + u, n) + load(carried + r * job->padded + u);
      store_first(grad_x + r * H + u, dh * (splat(1.0f) - h * h), n);
      store(carried + r * job->padded + u, splat(0.0f));
    }
  }
  hand_on(job, stage, b, R, grad_x, H, 0, own);
}

static void lstm_backward(const Job *job, long stage, long b, int R, Panels own) {
  const Window *w = job->w;
  long H = w->H, BH = w->B * H, t = w->T - 1 - stage, end = min_long(H, own.last * PANEL);
  vec one = splat(1.0f);
  float *carried = job->carried + b * job->padded;
  if (stage > 0) add_product(job, stage, b, R, carried, w->grad_x + 4 * ((t + 1) * BH + b * H), 4 * H, 0, 4, own);
  if (t < 0) return;
  float *grad_x = w->grad_x + 4 * (t * BH + b * H);
  for (int r = 0; r < R; r++) {
    long at = (b + r) * H;
    const float *s = job->saved + t * job->saved_step + 4 * at;
    float *d = grad_x + r * 4 * H;
    for (long u = own.first * PANEL; u < end; u += LANES) {
      long n = H - u;
      vec i = load_first(s + 0 * H + u, n), f = load_first(s + 1 * H + u, n);
      vec g = load_first(s + 2 * H + u, n), o = load_first(s + 3 * H + u, n);
      vec c = load_first(w->cells + t * BH + at + u, n);
      vec tanh_c = tanh_vec(load_first(w->cells + (t + 1) * BH + at + u, n));
      vec dh = load_first(w->grad_outputs + t * BH + at + u, n) + load(carried + r * job->padded + u);
      vec dc = load_first(w->grad_cells + at + u, n) + dh * o * (one - tanh_c * tanh_c);
      store_first(d + 0 * H + u, dc * g * i * (one - i), n);
      store_first(d + 1 * H + u, dc * c * f * (one - f), n);
      store_first(d + 2 * H + u, dc * i * (one - g * g), n);
      store_first(d + 3 * H + u, dh * tanh_c * o * (one - o), n);
      store_first(w->grad_cells + at + u, dc * f, n);
      store(carried + r * job->padded + u, splat(0.0f));
    }
  }
  for (long g = 0; g < 4; g++) hand_on(job, stage, b, R, grad_x + g * H, 4 * H, g, own);
}

static void gru_backward(const Job *job, long stage, long b, int R, Panels own) {
  const Window *w = job->w;
  long H = w->H, BH = w->B * H, t = w->T - 1 - stage, end = min_long(H, own.last * PANEL);
  vec one = splat(1.0f);
  float *carried = job->carried + b * job->padded;
  if (stage > 0) {
    long after = (t + 1) * BH + b * H;
    add_product(job, stage, b, R, carried, w->grad_x + 3 * after, 3 * H, 0, 2, own);
    add_product(job, stage, b, R, carried, w->grad_new + after, H, 2, 1, own);
  }
  if (t < 0) return;
  float *grad_x = w->grad_x + 3 * (t * BH + b * H), *grad_new = w->grad_new + t * BH + b * H;
  for (int row = 0; row < R; row++) {
    long at = (b + row) * H;
    const float *s = job->saved + t * job->saved_step + 4 * at;
    float *d = grad_x + row * 3 * H;
    for (long u = own.first * PANEL; u < end; u += LANES) {
      long left = H - u;
      vec r = load_first(s + 0 * H + u, left), z = load_first(s + 1 * H + u, left);
      vec n = load_first(s + 2 * H + u, left), fed = load_first(s + 3 * H + u, left);
      vec h = load_first(w->hidden + t * BH + at + u, left);
      vec dh = load_first(w->grad_outputs + t * BH + at + u, left) + load(carried + row * job->padded + u);
      vec dn = dh * (one - z) * (one - n * n);
      store_first(d + 0 * H + u, dn * fed * r * (one - r), left);
      store_first(d + 1 * H + u, dh * (h - n) * z * (one - z), left);
      store_first(d + 2 * H + u, dn, left);
      store_first(grad_new + row * H + u, dn * r, left);
      store(carried + row * job->padded + u, dh * z);
    }
  }
  for (long g = 0; g < 2; g++) hand_on(job, stage, b, R, grad_x + g * H, 3 * H, g, own);
  hand_on(job, stage, b, R, grad_new, H, 2, own);
}

/* Two stages a step: update and new gate, then the reset gate from the gradient of r*h. */
static void gru_before_backward(const Job *job, long stage, long b, int R, Panels own) {
  const Window *w = job->w;
  long H = w->H, BH = w->B * H, t = w->T - 1 - stage / 2, end = min_long(H, own.last * PANEL);
  vec one = splat(1.0f);
  float *carried = job->carried + b * job->padded, *fed = job->fed + b * job->padded;
  if (stage % 2 == 0) {
    if (stage > 0) add_product(job, stage, b, R, carried, w->grad_x + 3 * ((t + 1) * BH + b * H), 3 * H, 0, 2, own);
    if (t < 0) return;
    float *grad_x = w->grad_x + 3 * (t * BH + b * H);
    for (int row = 0; row < R; row++) {
      long at = (b + row) * H;
      const float *s = job->saved + t * job->saved_step + 4 * at;
      float *d = grad_x + row * 3 * H;
      for (long u = own.first * PANEL; u < end; u += LANES) {
        long left = H - u;
        vec z = load_first(s + 1 * H + u, left), n = load_first(s + 2 * H + u, left);
        vec h = load_first(w->hidden + t * BH + at + u, left);
        vec dh = load_first(w->grad_outputs + t * BH + at + u, left) + load(carried + row * job->padded + u);
        store_first(d + 1 * H + u, dh * (h - n) * z * (one - z), left);
        store_first(d + 2 * H + u, dh * (one - z) * (one - n * n), left);
        store(carried + row * job->padded + u, dh * z);
        store(fed + row * job->padded + u, splat(0.0f));
      }
    }
    hand_on(job, stage, b, R, grad_x + 2 * H, 3 * H, 2, own);
    return;
  }
  float *grad_x = w->grad_x + 3 * (t * BH + b * H);
  add_product(job, stage, b, R, fed, grad_x + 2 * H, 3 * H, 2, 1, own);
  for (int row = 0; row < R; row++) {
    long at = (b + row) * H;
    const float *s = job->saved + t * job->saved_step + 4 * at;
    float *d = grad_x + row * 3 * H;
    for (long u = own.first * PANEL; u < end; u += LANES) {
      long left = H - u;
      vec r = load_first(s + 0 * H + u, left);
      vec h = load_first(w->hidden + t * BH + at + u, left);
      vec dfed = load(fed + row * job->padded + u);
      store_first(d + 0 * H + u, dfed * h * r * (one - r), left);
      store(carried + row * job->padded + u, load(carried + row * job->padded + u) + dfed * r);
    }
  }
  for (long g = 0; g < 2; g++) hand_on(job, stage, b, R, grad_x + g * H, 3 * H, g, own);
}

static void backward_part(void *data, long part) {
  static const stage_function STAGES[] = {rnn_backward, lstm_backward, gru_backward, gru_before_backward};
  const Job *job = data;
  run_stages(job, STAGES[job->w->cell], part, job->w->T * stages_of(job) + 1);
}

INLINE void add_columns(float *to, const float *from, long first, long last) {
  for (long c = first; c < last; c++) to[c] += from[c];
}

/* Gradients that are sums over all rows: each part owns columns, so that the order of a sum is fixed. */
static void sum_columns_part(void *data, long part) {
  const Job *job = data;
  const Window *w = job->w;
  long columns = job->G * w->H, width = ceil_div(ceil_div(columns, LANES), w->num_threads) * LANES;
  long first = min_long(part * width, columns), last = min_long(first + width, columns);
  /* With reset after, the new gate's hidden share has a gradient of its own. */
  long own = w->cell == GRU ? 2 * w->H : columns, middle = first > own ? first : min_long(last, own);
  for (long row = 0; row < w->T * w->B; row++) {
    const float *d = w->grad_x + row * columns;
    if (w->grad_table) add_columns(w->grad_table + w->ids[row] * columns, d, first, last);
    if (w->grad_bias) {
      add_columns(w->grad_bias, d, first, middle);
      if (middle < last) add_columns(w->grad_bias + own, w->grad_new + row * w->H, middle - own, last - own);
    }
  }
}

#if HAVE_BF16
/* ---- the gradient of W_hh with bfloat16 products: gates' gradients^T (G*H, T*B) @ states (T*B, H) ---- */

typedef struct {
  const Job *job;
  long N, K;        /* rows T*B, and padded to whole blocks */
  uint32_t *states; /* (1 or 2, panels, K/2, PANEL): h before each step; r*h, GRU with reset before */
  uint32_t *strips; /* (num_threads, 16, K/2) */
  long num_sources;
} Outer;

static void pack_states_part(void *data, long index) {
  Outer *o = data;
  const Window *w = o->job->w;
  long panel = index % o->job->panels, u = panel * PANEL;
  const float *rows = index < o->job->panels ? w->hidden : w->saved + 3 * w->H;
  pack_pairs_straight(o->states + index * (o->K / 2) * PANEL, rows + u, index < o->job->panels ? w->H : 4 * w->H,
                      w->H - u, o->N, o->K);
}

static void outer_part(void *data, long part) {
  Outer *o = data;
  Job job = *o->job;
  const Window *w = job.w;
  long H = w->H, strips = ceil_div(H, 16), total = job.G * strips, panel_words = o->K / 2 * PANEL;
  uint32_t *strip = o->strips + part * 16 * (o->K / 2);
  float sums[3][BLOCK_ROWS][PANEL];
  job.K = o->K; /* add_panels then runs down the rows of the window */
#if HAVE_TILES
  if (job.tiles) tiles_begin(16);
#endif
  for (long s = part * total / w->num_threads; s < (part + 1) * total / w->num_threads; s++) {
    long g = s / strips, u = (s % strips) * 16, n = min_long(16, H - u);
    int own = w->cell == GRU && g == 2;
    const float *rows = own ? w->grad_new + u : w->grad_x + g * H + u;
    transpose_to_bf16(strip, rows, own ? H : job.G * H, n, o->N, o->K);
    const uint32_t *states = o->states + (w->cell == GRU_BEFORE && g == 2 ? job.panels * panel_words : 0);
    for (long p = 0; p < job.panels; p += 3) {
      long panels = min_long(3, job.panels - p);
      memset(sums, 0, sizeof sums);
      add_panels(&job, 16, panels, sums[0][0], PANEL, BLOCK_ROWS * PANEL, (Factors){strip, o->K}, 1,
                 (const float *)(states + p * panel_words), panel_words);
      for (long i = 0; i < panels; i++)
        for (long r = 0; r < n; r++)
          memcpy(w->grad_weight + (g * H + u + r) * H + (p + i) * PANEL, sums[i][r],
                 (size_t)min_long(PANEL, H - (p + i) * PANEL) * sizeof(float));
    }
  }
  end_tiles(&job);
}

static int weight_gradient(const Job *job) {
  const Window *w = job->w;
  Outer o = {.job = job, .N = w->T * w->B, .num_sources = w->cell == GRU_BEFORE ? 2 : 1};
  o.K = ceil_div(o.N, BF16_BLOCK) * BF16_BLOCK;
  o.states = (uint32_t *)recurrence_new_floats(o.num_sources * job->panels * (o.K / 2) * PANEL);
  o.strips = (uint32_t *)recurrence_new_floats(w->num_threads * 16 * (o.K / 2));
  int status = o.states && o.strips ? OK : NO_MEMORY;
  if (status == OK) {
    team_run(pack_states_part, &o, o.num_sources * job->panels, w->num_threads);
    team_run(outer_part, &o, w->num_threads, w->num_threads);
  }
  free(o.strips);
  free(o.states);
  return status;
}
#endif

int charrnn_backward(const Window *w) {
  if (w->precision == BFLOAT16 && !charrnn_bf16()) return NO_BF16;
  Job job = recurrence_job(w);
  share_out(&job, cache_bytes()); /* more to read from the others than forward: it pays later */
  job.saved = w->saved;
  job.saved_step = w->B * job.S * w->H;
  job.packed = recurrence_new_floats(job.panels * job.G * job.gate_words);
  job.carried = recurrence_new_floats(2 * w->B * job.padded);
  job.fed = job.carried + w->B * job.padded;
  int status = new_room(&job) && job.packed && job.carried ? OK : NO_MEMORY;
  if (status == OK) {
    memset(job.carried, 0, (size_t)(w->B * job.padded) * sizeof(float));
    for (long b = 0; b < w->B; b++)
      memcpy(job.carried + b * job.padded, w->grad_hidden + b * w->H, (size_t)w->H * sizeof(float));
    team_run(pack_backward_part, &job, job.panels, w->num_threads);
    team_run(backward_part, &job, job.num_parts, job.num_parts);
    for (long b = 0; b < w->B; b++)
      memcpy(w->grad_hidden + b * w->H, job.carried + b * job.padded, (size_t)w->H * sizeof(float));
    if (w->grad_table || w->grad_bias) team_run(sum_columns_part, &job, w->num_threads, w->num_threads);
#if HAVE_BF16
    if (job.bf16) status = weight_gradient(&job);
#endif
  }
  free_room(&job);
  free(job.carried);
  free(job.packed);
  return status;
}

/* Raised whenever a structure or function that Python calls changes. */
int charrnn_abi(void) { return 3; }
