/* A window of recurrence, forward and backward: T steps of B streams of H units.
 *
 * Legend: T steps, B streams, H units, G gates, V rows of an input table, S saved blocks.
 *
 * A cell's equations and numbers are in its own header, cell_*.h. A call goes through stages, one or two per step.
 * Its parts are some of the streams each, and in large layers some of the units; those that share streams begin a
 * stage when all have ended the one before. Within a stage the product with the packed weights is made for PANEL units
 * of all gates at once, and the cell's equations follow while the sums are in cache.
 *
 * Memory beyond the arguments, in floats, with H' = H rounded up to whole panels; with bfloat16 weights take half:
 *   forward  G*H*H' + G*H' (packed weights and bias) + S*B*H where nothing is saved for a backward pass
 *   backward G*H*H' (packed weights) + 2*B*H' (gradient carried from step to step)
 *   both     with bfloat16, G*B*H' (factors of two stages)
 * The arguments hold (1 + S)*T*B*H for the backward pass (one T*B*H more for a cell state), and the gradient of the
 * gates takes G*T*B*H (one T*B*H more for grad_new).
 */
#include "recurrence.h"

#include <stdlib.h>
#include <unistd.h>

#include "cells.h"
#include "gradient.h"
#include "product.h"
#include "team.h"

/* Panels of units first <= p < last: what a part makes in every step. */
typedef struct {
  long first, last;
} PanelRange;

/* What a part does at one stage, with R streams from b on and its own units. */
typedef void (*stage_function)(const Job *, long stage, long b, int R, PanelRange range);

/* ---- factors of products ---- */

/* A block of streams' factors: float where they lie, or rounded. */
typedef struct {
  const void *rows;
  long stride;
} Factors;

/* Where stage `stage` reads the rounded factors of stream b and gate g: the stage before it wrote them. */
INLINE uint16_t *rounded_at(const Job *job, long stage, long b, long g) {
  return job->rounded + (((stage & 1) * job->w->B + b) * job->G + g) * job->K;
}

/* The factors of stage `stage`: rows (R, ...; stride) as they are, or rounded, of gate `first` and those after it. */
INLINE Factors stage_factors(const Job *job, long stage, long b, const float *rows, long stride, long first) {
  if (job->precision == FLOAT32) return (Factors){rows, stride};
  return (Factors){rounded_at(job, stage, b, first), job->G * job->K};
}

/* Rounds a part's own units of R rows: the factors of one gate in the stage after this. */
INLINE void round_for_next_stage(const Job *job, long stage, long b, int R, const float *rows, long stride, long gate,
                                 PanelRange range) {
  if (job->precision == FLOAT32) return;
  long u = range.first * PANEL;
  for (int r = 0; r < R; r++)
    round_factors(job->precision, rounded_at(job, stage + 1, b + r, gate) + u, rows + r * stride + u, job->w->H - u,
                  (range.last - range.first) * PANEL);
}

/* ---- a stage forward ---- */

INLINE const float *input_row(const Job *job, long t, long b) {
  long row = t * job->w->B + b;
  return job->w->x + (job->w->ids ? job->w->ids[row] : row) * job->x_stride;
}

/* sums[g - first] = W_hh @ factors + bias, for gates first <= g < last of one panel's units. */
static void gate_sums(const Job *job, long panel, long first, long last, int R, Factors factors,
                      float sums[MAX_GATES][BLOCK_ROWS][PANEL]) {
  for (long g = first; g < last; g++)
    for (int r = 0; r < R; r++)
      memcpy(sums[g - first][r], job->bias + g * job->padded + panel * PANEL, PANEL * sizeof(float));
  long at = (panel * job->G + first) * job->panel_floats;
  if (job->half)
    add_products_half(R, last - first, sums[0][0], PANEL, BLOCK_ROWS * PANEL, factors.rows, factors.stride, job->K,
                      job->half + at, job->panel_floats);
  else
    add_products(job->precision, R, last - first, sums[0][0], PANEL, BLOCK_ROWS * PANEL, factors.rows, factors.stride,
                 job->K, job->packed + at, job->panel_floats);
}

INLINE void forward_stage(const Cell *cell, long s, const Job *job, long stage, long b, int R, PanelRange range) {
  const Window *w = job->w;
  const Stage *this = &cell->stages[s];
  long H = w->H, BH = w->B * H, t = stage / cell->num_stages, saved_stride = cell->num_saved * H;
  long before = t * BH + b * H, after = before + BH;
  float *h = w->hidden + before, *next_h = w->hidden + after;
  float *c = cell->has_cell ? w->cells + before : NULL, *next_c = cell->has_cell ? w->cells + after : NULL;
  float *saved = job->saved + t * job->saved_step + b * saved_stride, sums[MAX_GATES][BLOCK_ROWS][PANEL];
  Factors factors = this->factors == STATE ? stage_factors(job, stage, b, h, H, 0)
                                           : stage_factors(job, stage, b, saved + this->factors * H, saved_stride, 0);
  for (long i = range.first; i < range.last; i++) {
    /* There and back: of weights that exceed a cache, each step then finds in it what the step before read last. */
    long panel = (t + job->turn) & 1 ? range.first + range.last - 1 - i : i;
    gate_sums(job, panel, this->first, this->last, R, factors, sums);
    for (int r = 0; r < R; r++) {
      const float *x = input_row(job, t, b + r);
      for (long v = 0; v < PANEL; v += LANES) {
        long u = panel * PANEL + v;
        if (u >= H) break;
        Lanes at = {.H = H, .n = H - u, .x = x + u, .first_gate = this->first, .sums = &sums[0][r][v]};
        at.saved = saved + r * saved_stride + u;
        at.state = h + r * H + u;
        at.next_state = next_h + r * H + u;
        if (cell->has_cell) {
          at.cell = c + r * H + u;
          at.next_cell = next_c + r * H + u;
        }
        this->step(&at);
      }
    }
  }
  const Stage *next = &cell->stages[(s + 1) % cell->num_stages];
  if (next->factors == STATE)
    round_for_next_stage(job, stage, b, R, next_h, H, 0, range);
  else
    round_for_next_stage(job, stage, b, R, saved + next->factors * H, saved_stride, 0, range);
}

/* ---- a stage backward ---- */

/* Whether the gradient of a gate's W_hh h + b_hh is in grad_new rather than in grad_x. */
INLINE int uses_grad_new(const Cell *cell, long gate) { return cell->has_grad_new && gate == cell->num_gates - 1; }

/* Own columns of sums (R, padded) += rows (R, num_gates * H; stride) @ W_hh's rows of gates first, first + 1, ... */
static void add_gates(const Job *job, long stage, long b, int R, float *sums, const float *rows, long stride,
                      long first, long num_gates, PanelRange range) {
  if (job->reads_forward_weights) {
    long t = stage / job->cell->num_stages, k = range.first * PANEL, last = min_long(job->w->H, range.last * PANEL);
    long at = first * job->panel_floats, panel_words = job->G * job->panel_floats;
    for (int r = 0; r < R; r++)
      if (job->half)
        add_transposed_half(sums + r * job->padded, k, last, t & 1, rows + r * stride, num_gates, job->w->H,
                            job->half + at, job->panel_floats, panel_words);
      else
        add_transposed_float32(sums + r * job->padded, k, last, t & 1, rows + r * stride, num_gates, job->w->H,
                               job->packed + at, job->panel_floats, panel_words);
    return;
  }
  Factors factors = stage_factors(job, stage, b, rows, stride, first);
  add_products(job->precision, R, range.last - range.first, sums + range.first * PANEL, job->padded, PANEL,
               factors.rows, factors.stride, num_gates * job->K,
               job->packed + (range.first * job->G + first) * job->panel_floats, job->G * job->panel_floats);
}

/* The stages of a step in reverse order. Each first adds to the gradient of the next stage's factors what that stage's
 * gates pass back through W_hh; then it makes the gradients of its own gates. One stage more, after that of the first
 * step, has only the former to do. */
INLINE void backward_stage(const Cell *cell, long s, const Job *job, long stage, long b, int R, PanelRange range) {
  const Window *w = job->w;
  const Stage *this = &cell->stages[s], *next = &cell->stages[(s + 1) % cell->num_stages];
  long H = w->H, BH = w->B * H, t = w->T - 1 - stage / cell->num_stages, saved_stride = cell->num_saved * H;
  long x_stride = cell->num_gates * H, end = min_long(H, range.last * PANEL);
  float *grad_state = job->grad_state + b * job->padded, *grad_factors = job->grad_factors + b * job->padded;
  if (stage > 0) {
    long row = (next->factors == STATE ? t + 1 : t) * BH + b * H; /* STATE: the first stage, of the step after */
    float *sums = next->factors == STATE ? grad_state : grad_factors;
    long num_gates = next->last - next->first - uses_grad_new(cell, next->last - 1);
    add_gates(job, stage, b, R, sums, w->grad_x + cell->num_gates * row + next->first * H, x_stride, next->first,
              num_gates, range);
    if (uses_grad_new(cell, next->last - 1))
      add_gates(job, stage, b, R, sums, w->grad_new + row, H, next->last - 1, 1, range);
  }
  if (t < 0) return;
  long before = t * BH + b * H, after = before + BH;
  float *h = w->hidden + before, *next_h = w->hidden + after;
  float *c = cell->has_cell ? w->cells + before : NULL, *next_c = cell->has_cell ? w->cells + after : NULL;
  float *saved = job->saved + t * job->saved_step + b * saved_stride;
  const float *grad_outputs = w->grad_outputs + before;
  float *grad_x = w->grad_x + cell->num_gates * before;
  float *grad_new = cell->has_grad_new ? w->grad_new + before : NULL;
  float *grad_c = cell->has_cell ? w->grad_cells + b * H : NULL;
  for (int r = 0; r < R; r++) {
    for (long u = range.first * PANEL; u < end; u += LANES) {
      Lanes at = {.H = H, .n = H - u};
      at.saved = saved + r * saved_stride + u;
      at.state = h + r * H + u;
      at.next_state = next_h + r * H + u;
      at.grad_output = grad_outputs + r * H + u;
      at.grad_x = grad_x + r * x_stride + u;
      at.grad_state = grad_state + r * job->padded + u;
      at.grad_factors = grad_factors + r * job->padded + u;
      if (cell->has_cell) {
        at.cell = c + r * H + u;
        at.next_cell = next_c + r * H + u;
        at.grad_cell = grad_c + r * H + u;
      }
      if (cell->has_grad_new) at.grad_new = grad_new + r * H + u;
      this->gradient(&at);
      if (this->factors != STATE) store(at.grad_factors, splat(0.0f));
    }
  }
  for (long g = this->first; g < this->last; g++)
    if (uses_grad_new(cell, g))
      round_for_next_stage(job, stage, b, R, grad_new, H, g, range);
    else
      round_for_next_stage(job, stage, b, R, grad_x + g * H, x_stride, g, range);
}

/* ---- a function of its own for each cell, direction and stage of a step ---- */

#define DEFINE_STAGES(name)                                                                  \
  static void name##_forward(const Job *job, long stage, long b, int R, PanelRange range) {  \
    if (stage % name##_cell.num_stages == 0)                                                 \
      forward_stage(&name##_cell, 0, job, stage, b, R, range);                               \
    else                                                                                     \
      forward_stage(&name##_cell, 1, job, stage, b, R, range);                               \
  }                                                                                          \
  static void name##_backward(const Job *job, long stage, long b, int R, PanelRange range) { \
    if (stage % name##_cell.num_stages == name##_cell.num_stages - 1)                        \
      backward_stage(&name##_cell, 0, job, stage, b, R, range);                              \
    else                                                                                     \
      backward_stage(&name##_cell, 1, job, stage, b, R, range);                              \
  }
EACH_CELL(DEFINE_STAGES)

/* A cell's number is its place here. */
static const struct {
  const Cell *cell;
  stage_function forward, backward;
} CELLS[] = {
#define ENTRY(name) {&name##_cell, name##_forward, name##_backward},
    EACH_CELL(ENTRY)};

enum { NUM_CELLS = sizeof CELLS / sizeof *CELLS };

/* The number of the cell of this name; -1 where there is none. */
int charrnn_cell(const char *name) {
  for (int i = 0; i < NUM_CELLS; i++)
    if (strcmp(CELLS[i].cell->name, name) == 0) return i;
  return -1;
}

void charrnn_cell_facts(int number, CellFacts *facts) {
  const Cell *cell = CELLS[number].cell;
  *facts = (CellFacts){.num_gates = cell->num_gates, .num_saved = cell->num_saved, .has_cell = cell->has_cell};
  facts->has_grad_new = cell->has_grad_new;
  facts->new_factors = cell->stages[cell->num_stages - 1].factors;
}

/* ---- all stages ---- */

/* One part's share of a stage, its streams in blocks of nearly equal size. */
INLINE void run_stage(const Job *job, stage_function run, long stage, long streams, long units) {
  long first = streams * job->w->B / job->stream_parts, last = (streams + 1) * job->w->B / job->stream_parts;
  long blocks = ceil_div(last - first, block_rows(job->precision));
  PanelRange range = {units * job->panels / job->unit_parts, (units + 1) * job->panels / job->unit_parts};
  for (long i = 0; i < blocks; i++) {
    long b = first + i * (last - first) / blocks, end = first + (i + 1) * (last - first) / blocks;
    begin_products(job->precision, (int)(end - b));
    run(job, stage, b, (int)(end - b), range);
  }
}

/* A stage of some streams. */
typedef struct {
  const Job *job;
  stage_function run;
  long stage, streams;
} StageOfStreams;

static void run_units(void *data, long units) {
  const StageOfStreams *s = data;
  run_stage(s->job, s->run, s->stage, s->streams, units);
}

/* All stages, in order. Parts that share streams meet after each. */
static void run_stages(const Job *job, stage_function run, long part, long num_stages) {
  long n = job->unit_parts, streams = part / n;
  Meeting meeting = {.begun = &job->begun[streams * n], .ended = &job->ended[streams], .num_parts = n};
  for (long stage = 0; stage < num_stages; stage++) {
    StageOfStreams s = {job, run, stage, streams};
    team_stage(&meeting, part % n, stage, run_units, &s);
  }
  end_products(job->precision);
}

void recurrence_forward_part(void *data, long part) {
  const Job *job = data;
  run_stages(job, CELLS[job->w->cell].forward, part, job->w->T * job->cell->num_stages);
}

static void backward_part(void *data, long part) {
  const Job *job = data;
  run_stages(job, CELLS[job->w->cell].backward, part, job->w->T * job->cell->num_stages + 1);
}

void recurrence_forward_stage(const Job *job, long stage, long part) {
  run_stage(job, CELLS[job->w->cell].forward, stage, 0, part);
}

void recurrence_backward_stage(const Job *job, long stage, long part) {
  run_stage(job, CELLS[job->w->cell].backward, stage, 0, part);
}

/* ---- a call ---- */

/* Whether this library can make products of bfloat16: 0 no, 1 by vectors, 2 by tiles. */
int charrnn_bf16(void) { return bfloat16_support(); }

Job recurrence_job(const Window *w) {
  Job job = {.w = w, .cell = CELLS[w->cell].cell, .precision = fastest((Precision)w->precision)};
  job.G = job.cell->num_gates;
  job.x_stride = job.G * w->H;
  job.panels = ceil_div(w->H, PANEL);
  job.padded = job.panels * PANEL;
  job.K = padded_length(job.precision, w->H);
  job.panel_floats = panel_floats(job.precision, w->H);
  job.stream_parts = job.unit_parts = job.num_parts = 1;
  return job;
}

/* Bytes of cache that a core has for itself. */
static long cache_bytes(void) {
#ifdef CACHE_BYTES /* for tests: to divide small layers as large ones are */
  return CACHE_BYTES;
#endif
#ifdef _SC_LEVEL2_CACHE_SIZE
  long bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
  if (bytes > 0) return bytes;
#endif
  return 1 << 20;
}

/* Divides the work: threads share the streams. Where the packed weights take cache_room bytes or more they share the
 * streams in whole blocks and the units of each block: a thread then reads its part of the weights alone, from its own
 * cache, but has to meet the others at every stage and to read what they made. */
static void divide_work(Job *job, long cache_room) {
  const Window *w = job->w;
  long num_threads = w->num_threads < 1 ? 1 : w->num_threads;
  long weight_bytes = job->panels * job->G * job->panel_floats * (long)sizeof(float);
  int fits = weight_bytes < cache_room;
  /* A part of fewer than 4 streams spends its time reading weights. */
  job->stream_parts = min_long(num_threads, ceil_div(w->B, fits ? 4 : block_rows(job->precision)));
  job->unit_parts = fits ? 1 : min_long(num_threads / job->stream_parts, job->panels);
  job->num_parts = job->stream_parts * job->unit_parts;
}

/* Memory that the stages of a call share; 0 where there is none. */
static int allocate_shared(Job *job) {
  int rounds = job->precision != FLOAT32;
  long num_counters = job->num_parts + job->stream_parts;
  job->rounded = rounds ? (uint16_t *)new_floats(job->w->B * job->G * job->K) : NULL;
  job->begun = (Counter *)new_floats(num_counters * (long)(sizeof(Counter) / sizeof(float)));
  if (!job->begun || (rounds && !job->rounded)) return 0;
  for (long i = 0; i < num_counters; i++) atomic_init(&job->begun[i].value, 0);
  job->ended = job->begun + job->num_parts;
  return 1;
}

static void free_shared(Job *job) {
  free(job->begun);
  free(job->rounded);
}

void recurrence_pack(void *data, long panel) {
  Job *job = data;
  long H = job->w->H, u = panel * PANEL;
  for (long g = 0; g < job->G; g++) {
    pack_transposed(job->precision, job->packed + (panel * job->G + g) * job->panel_floats,
                    job->w->weight_hh + (g * H + u) * H, H, H - u, H);
    float *bias = job->bias + g * job->padded + u;
    memset(bias, 0, PANEL * sizeof(float));
    if (job->w->bias_hh) memcpy(bias, job->w->bias_hh + g * H + u, (size_t)min_long(PANEL, H - u) * sizeof(float));
  }
}

static void pack_backward_part(void *data, long panel) {
  Job *job = data;
  long H = job->w->H, u = panel * PANEL;
  for (long g = 0; g < job->G; g++)
    pack(job->precision, job->packed + (panel * job->G + g) * job->panel_floats, job->w->weight_hh + g * H * H + u, H,
         H - u, H);
}

int charrnn_forward(const Window *w) {
  if (w->precision == BFLOAT16 && !charrnn_bf16()) return NO_BF16;
  if (w->ids)
    for (long i = 0; i < w->T * w->B; i++)
      if (w->ids[i] < 0 || w->ids[i] >= w->V) return BAD_ID;
  Job job = recurrence_job(w);
  long saved_floats = w->B * job.cell->num_saved * w->H;
  divide_work(&job, cache_bytes() / 2);
  job.saved = w->saved ? w->saved : new_floats(saved_floats);
  job.saved_step = w->saved ? saved_floats : 0;
  job.packed = new_floats(job.panels * job.G * job.panel_floats);
  job.bias = new_floats(job.G * job.padded);
  int status = allocate_shared(&job) && job.saved && job.packed && job.bias ? OK : NO_MEMORY;
  if (status == OK) {
    round_for_next_stage(&job, -1, 0, (int)w->B, w->hidden, w->H, 0, (PanelRange){0, job.panels});
    team_run(recurrence_pack, &job, job.panels, w->num_threads);
    team_run(recurrence_forward_part, &job, job.num_parts, job.num_parts);
  }
  free_shared(&job);
  free(job.bias);
  free(job.packed);
  if (!w->saved) free(job.saved);
  return status;
}

int charrnn_backward(const Window *w) {
  if (w->precision == BFLOAT16 && !charrnn_bf16()) return NO_BF16;
  Job job = recurrence_job(w);
  divide_work(&job, cache_bytes()); /* more to read from the others than forward: it pays later */
  job.saved = w->saved;
  job.saved_step = w->B * job.cell->num_saved * w->H;
  job.packed = new_floats(job.panels * job.G * job.panel_floats);
  job.grad_state = new_floats(2 * w->B * job.padded);
  job.grad_factors = job.grad_state + w->B * job.padded;
  int status = allocate_shared(&job) && job.packed && job.grad_state ? OK : NO_MEMORY;
  if (status == OK) {
    memset(job.grad_state, 0, (size_t)(w->B * job.padded) * sizeof(float));
    for (long b = 0; b < w->B; b++)
      memcpy(job.grad_state + b * job.padded, w->grad_hidden + b * w->H, (size_t)w->H * sizeof(float));
    team_run(pack_backward_part, &job, job.panels, w->num_threads);
    team_run(backward_part, &job, job.num_parts, job.num_parts);
    for (long b = 0; b < w->B; b++)
      memcpy(w->grad_hidden + b * w->H, job.grad_state + b * job.padded, (size_t)w->H * sizeof(float));
    status = sum_gradients(&job);
  }
  free_shared(&job);
  free(job.grad_state);
  free(job.packed);
  return status;
}

/* Raised whenever a structure or function that Python calls changes. */
int charrnn_abi(void) { return 8; }
