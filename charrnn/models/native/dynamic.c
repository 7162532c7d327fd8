/* Dynamic evaluation: a network that goes on learning from the one stream it reads.
 *
 * Legend: T symbols of a call, N symbols of a segment, E embedding size, H units, G gates, V symbols, L layers, S saved
 * blocks.
 *
 * A segment is read layer by layer, as network.c does. Then come its backward pass, the norm of its gradient and one
 * update: w <- w - rate g + decay (w_trained - w). Of a matrix that multiplies h_t and whose products have the
 * gradients dz_t, the gradient is the sum of dz_t h_t^T over the N steps. It is never stored:
 *   - its squared norm is the sum of (dz_t . dz_s)(h_t . h_s) over all t and s;
 *   - it is added to a few rows of weights at a time, right after these have been moved towards the trained ones.
 * So the update reads and writes the weights once. Forward and backward pass and update all work on one packed copy.
 *
 * Each step reads all recurrent weights once and does little else with them, so that where they exceed a core's own
 * cache, their bytes decide its time. Large layers keep each of these weights as two halves (see vector.h). Updates
 * have both; the steps, and the way back to the trained weights, read the first alone: the weight rounded to 11 bits.
 *
 * All threads go through the same stages in the same order and meet after each (team_stage). Whatever a stage computes
 * depends on its number alone, and no result depends on the number of parts.
 *
 * Memory in floats, with H' and V' rounded up to whole panels: a block of weights (the trained ones, those before and
 * those after) holds V*(E or G*H) + L*G*H*H' + (L-1)*H*(G*H)' + E*(G*H)' + H*V' and biases; a call that learns takes
 * about N * (L*(G + 2)*H + (G*H)' + V') + N'*max(G*H, V) besides.
 */
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "linear.h"
#include "product.h"
#include "recurrence.h"
#include "symbol.h"
#include "team.h"
#include "weights.h"

/* Mirrors `_Run` in dynamic.py. */
typedef struct {
  int64_t cell, L, H, V, E; /* E: 0 for one-hot input */
  int64_t has_bias;
  int64_t segment; /* N */
  double learning_rate, decay;
  int64_t num_threads;
  const float *trained; /* blocks of weights, as charrnn_dynamic_pack makes them */
  const float *before;
  float *after;         /* written where a segment is learned from, else NULL */
  int64_t room;         /* symbols for which the arrays of the segment have room; N where one is learned from */
  int64_t num_read;     /* symbols of the segment that have been read: before; after */
  int64_t *segment_ids; /* (room,) */
  float *hidden;        /* (L, room+1, H): before the segment and after each of its symbols */
  float *cells;         /* (L, room+1, H): likewise, for a cell that has a cell state */
  float *saved;         /* (L, room, S*H) */
  int64_t T;
  const int64_t *ids;     /* (T,) read; to generate, (1,): what is read first */
  const int64_t *targets; /* (T,) to score */
  float *logits;          /* (T, V), or NULL */
  double *nats;           /* (T,) -ln p(target), or NULL */
  int64_t *drawn;         /* (T,) to generate, or NULL */
  const double *uniforms; /* (T,) in [0, 1) */
  Sampling sampling;
  const uint8_t *transitions, *allowed; /* (states, V): automaton of the symbols that may follow, or NULL */
  uint8_t *marks;                       /* (1,) its state */
} DynamicRun;

/* ---- a block of weights ---- */

typedef struct {
  Linear input;    /* of layer 0 with one-hot input, the bias alone: a symbol's row of weights is added to it */
  void *recurrent; /* (panels, G, panel_floats), as in Job; or as halves, (2, panels, G, panel_floats) */
  float *bias;     /* (G, padded), as in Job */
} DynamicLayer;

typedef struct {
  Job job; /* numbers of a layer */
  long L, H, V, E, columns;
  long symbol_floats; /* of a row of `symbols` */
  int is_split;       /* whether recurrent weights are kept as halves */
} DynamicShape;

/* From how many recurrent weights of a layer on they are kept as halves: 1 MiB of floats fits a core's own cache. */
#ifndef SPLIT_FROM /* tests choose another */
#define SPLIT_FROM ((1 << 18) + 1)
#endif

/* Least recurrent weights of a part: fewer are read in less time than threads take to meet. */
#ifndef PART_WEIGHTS /* likewise */
#define PART_WEIGHTS (1 << 16)
#endif

static DynamicShape dynamic_shape(long cell, long L, long H, long V, long E) {
  Window window = {.cell = cell, .T = 1, .B = 1, .H = H, .V = V, .num_threads = 1};
  DynamicShape shape = {.job = recurrence_job(&window), .L = L, .H = H, .V = V, .E = E};
  shape.job.w = NULL;
  shape.columns = shape.job.G * H;
  shape.symbol_floats = E > 0 ? E : shape.columns;
  shape.is_split = HAVE_HALF && shape.columns * H >= SPLIT_FROM;
  return shape;
}

/* What a symbol is to layer 0, first in the block: (V, E) its embedding, or (V, G*H) its column of input weights. */
static long symbols_floats(const DynamicShape *s) { return ceil_div(s->V * s->symbol_floats, PANEL) * PANEL; }

static long recurrent_floats(const DynamicShape *s) { return s->job.panels * s->job.G * s->job.panel_floats; }

static long layer_floats(const DynamicShape *s, long input_size) {
  return linear_floats(s->columns, input_size) + recurrent_floats(s) + s->job.G * s->job.padded;
}

static DynamicLayer layer_at(const DynamicShape *s, float *block, long l) {
  float *memory = block + symbols_floats(s);
  if (l > 0) memory += layer_floats(s, s->E) + (l - 1) * layer_floats(s, s->H);
  DynamicLayer layer = {.input = linear_at(memory, s->columns, l > 0 ? s->H : s->E)};
  float *recurrent = layer.input.bias + layer.input.padded;
  layer.recurrent = recurrent;
  layer.bias = recurrent + recurrent_floats(s);
  return layer;
}

static Linear output_at(const DynamicShape *s, float *block) {
  DynamicLayer top = layer_at(s, block, s->L - 1);
  return linear_at(top.input.packed + layer_floats(s, top.input.K), s->V, s->H);
}

/* The size of a block. */
int64_t charrnn_dynamic_floats(const Weights *w) {
  DynamicShape s = dynamic_shape(w->cell, w->L, w->H, w->V, w->E);
  return symbols_floats(&s) + layer_floats(&s, s.E) + (s.L - 1) * layer_floats(&s, s.H) + linear_floats(s.V, s.H);
}

/* Fills a block; OK or NO_MEMORY. Of `Weights`, `symbols` is (V, E), or with E 0 the transpose (V, G*H) of the first
 * weight_ih. */
int charrnn_dynamic_pack(const Weights *w, float *block) {
  DynamicShape s = dynamic_shape(w->cell, w->L, w->H, w->V, w->E);
  long num_recurrent = recurrent_floats(&s);
  float *packed = new_floats(num_recurrent);
  if (!packed) return NO_MEMORY;
  memset(block, 0, (size_t)symbols_floats(&s) * sizeof(float));
  memcpy(block, w->symbols, (size_t)(s.V * s.symbol_floats) * sizeof(float));
  for (long l = 0; l < s.L; l++) {
    DynamicLayer layer = layer_at(&s, block, l);
    linear_fill(&layer.input, w->weight_ih[l], w->bias_ih[l], 0.0f);
    Window window = {.H = s.H, .weight_hh = w->weight_hh[l], .bias_hh = w->bias_hh[l]};
    Job job = s.job;
    job.w = &window;
    job.packed = packed;
    job.bias = layer.bias;
    for (long p = 0; p < job.panels; p++) recurrence_pack(&job, p);
    if (s.is_split)
      for (long i = 0; i < num_recurrent; i += LANES)
        store_split((uint16_t *)layer.recurrent + i, num_recurrent, load(packed + i));
    else
      memcpy(layer.recurrent, packed, (size_t)num_recurrent * sizeof(float));
  }
  free(packed);
  Linear output = output_at(&s, block);
  linear_fill(&output, w->weight_out, w->bias_out, 0.0f);
  return OK;
}

/* ---- a call ---- */

/* What all threads share. */
typedef struct {
  const DynamicRun *run;
  DynamicShape shape;
  Meeting meeting;
  atomic_int status;
  float *embedded; /* (room, E) of the symbols being read */
  float *x;        /* (room, (G*H)') their share of the gates */
  float *logits;   /* (room, V'); to learn, their gradients */
  double *weights; /* (V,) to draw */
  int64_t *ranked; /* (V,) to draw */
  /* To learn; N' is N rounded up to whole panels. */
  long padded_steps;    /* N' */
  float *factors;       /* (N' / PANEL, most columns, PANEL): gradients of a linear layer's sums, transposed */
  float *sums;          /* (H or E, N'): gradients of its inputs, transposed */
  float *grad_outputs;  /* (N, H) of a layer */
  float *grad_embedded; /* (N, E) */
  float *grad_x;        /* (L, N, G*H) */
  float *grad_new;      /* (L, N, H), for a cell whose last gate has it */
  float *grad_cells;    /* (H,) */
  float *grad_state;    /* (2, padded): and that of a second stage's factors */
  float *hidden;        /* (L, H, N+1): DynamicRun.hidden, each layer transposed */
  float *new_factors;   /* (L, H, N): the saved block that the last gate's weights multiply, transposed */
  float *inputs;        /* (E, N): embedded, transposed */
  float *rows;          /* (num_parts, N, PANEL): gradients of one panel's sums */
  double *squares;      /* (N,) summands of the gradient's squared norm */
} Reading;

/* How far a thread has come. All threads have the same at the same stage, but for `part`. */
typedef struct {
  Reading *r;
  long part, stage;
  float *weights;  /* the block in use */
  long at;         /* symbols of the call read before this stage */
  long first, n;   /* rows of the segment being read */
  long layer, t;   /* a stage of the recurrence */
  long num_before; /* rows of it that an earlier call has read: this one lacks their embeddings and logits */
} Walk;

static void meet(Walk *walk, part_function function) {
  team_stage(&walk->r->meeting, walk->part, walk->stage++, function, walk);
}

/* One part's share of `count` things. */
typedef struct {
  long first, last;
} Share;

INLINE Share share_of(const Reading *r, long part, long count) {
  long n = r->meeting.num_parts;
  return (Share){part * count / n, (part + 1) * count / n};
}

static int64_t id_at(const DynamicRun *run, long at) {
  return run->drawn && at > 0 ? run->drawn[at - 1] : run->ids[at];
}

static float *hidden_row(const DynamicRun *run, long l, long row) {
  return run->hidden + (l * (run->room + 1) + row) * run->H;
}

static float *cells_row(const DynamicRun *run, long l, long row) {
  return run->cells ? run->cells + (l * (run->room + 1) + row) * run->H : NULL;
}

/* ---- reading ---- */

static void take_part(void *data, long part) {
  const Walk *walk = data;
  const DynamicRun *run = walk->r->run;
  for (long i = 0; i < walk->n && part == 0; i++) run->segment_ids[walk->first + i] = id_at(run, walk->at + i);
}

static void embed_part(void *data, long part) {
  const Walk *walk = data;
  const Reading *r = walk->r;
  long E = r->shape.E;
  Share rows = share_of(r, part, walk->n);
  for (long i = walk->first + rows.first; i < walk->first + rows.last; i++)
    memcpy(r->embedded + i * E, walk->weights + r->run->segment_ids[i] * E, (size_t)E * sizeof(float));
}

/* The input's share of the gates, for the part's columns of them. */
static void input_part(void *data, long part) {
  const Walk *walk = data;
  const Reading *r = walk->r;
  const DynamicShape *s = &r->shape;
  Linear input = layer_at(s, walk->weights, walk->layer).input;
  Share panels = share_of(r, part, input.panels);
  int is_first = walk->layer == 0;
  const float *below =
      is_first ? r->embedded + walk->first * s->E : hidden_row(r->run, walk->layer - 1, walk->first + 1);
  linear_run(&input, panels.first, panels.last, r->x, below, is_first ? s->E : s->H, walk->n);
  if (!is_first || s->E > 0) return;
  for (long i = 0; i < walk->n; i++) {
    const float *row = walk->weights + r->run->segment_ids[walk->first + i] * s->columns;
    float *x = r->x + i * input.padded;
    for (long c = panels.first * PANEL; c < min_long(panels.last * PANEL, s->columns); c++) x[c] += row[c];
  }
}

static void read_recurrent(Job *job, const DynamicShape *s, const DynamicLayer *layer) {
  if (s->is_split)
    job->half = layer->recurrent;
  else
    job->packed = layer->recurrent;
}

static void forward_stage_part(void *data, long part) {
  const Walk *walk = data;
  const Reading *r = walk->r;
  const DynamicRun *run = r->run;
  DynamicLayer layer = layer_at(&r->shape, walk->weights, walk->layer);
  Window window = {.cell = run->cell, .T = walk->n, .B = 1, .H = run->H, .V = run->V, .num_threads = 1, .x = r->x};
  window.hidden = hidden_row(run, walk->layer, walk->first);
  window.cells = cells_row(run, walk->layer, walk->first);
  Job job = r->shape.job;
  job.w = &window;
  read_recurrent(&job, &r->shape, &layer);
  job.bias = layer.bias;
  job.x_stride = layer.input.padded;
  job.saved_step = job.cell->num_saved * run->H;
  job.saved = run->saved + (walk->layer * run->room + walk->first) * job.saved_step;
  job.unit_parts = r->meeting.num_parts;
  recurrence_forward_stage(&job, walk->t, part);
}

/* Logits of rows first to first + n of the segment. */
static void logits_part(void *data, long part) {
  const Walk *walk = data;
  const Reading *r = walk->r;
  Linear output = output_at(&r->shape, walk->weights);
  Share panels = share_of(r, part, output.panels);
  linear_run(&output, panels.first, panels.last, r->logits + walk->first * output.padded,
             hidden_row(r->run, r->shape.L - 1, walk->first + 1), r->shape.H, walk->n);
  if (panels.last == output.panels)
    for (long i = walk->first; i < walk->first + walk->n; i++)
      for (long v = output.columns; v < output.padded; v++) r->logits[i * output.padded + v] = -INFINITY;
}

/* What is asked of the logits just made. */
static void tell_part(void *data, long part) {
  const Walk *walk = data;
  Reading *r = walk->r;
  const DynamicRun *run = r->run;
  long V = run->V, padded = ceil_div(V, PANEL) * PANEL;
  const float *logits = r->logits + walk->first * padded;
  Share rows = share_of(r, part, walk->n);
  for (long i = rows.first; i < rows.last; i++) {
    long at = walk->at + i;
    if (run->nats) run->nats[at] = nats_of(logits + i * padded, padded, run->targets[at]);
    if (run->logits) memcpy(run->logits + at * V, logits + i * padded, (size_t)V * sizeof(float));
  }
  if (!run->drawn || part > 0) return;
  const uint8_t *allowed = run->marks ? run->allowed + *run->marks * V : NULL;
  int64_t id = draw(&run->sampling, logits, V, allowed, run->uniforms[walk->at], r->weights, r->ranked);
  if (id < 0) {
    atomic_store(&r->status, NOT_FINITE);
    return;
  }
  if (run->marks) *run->marks = run->transitions[*run->marks * V + id];
  run->drawn[walk->at] = id;
}

/* Reads the next n symbols of the call as rows first to first + n of the segment. */
static void read_symbols(Walk *walk) {
  const DynamicShape *s = &walk->r->shape;
  meet(walk, take_part);
  if (s->E > 0) meet(walk, embed_part);
  for (walk->layer = 0; walk->layer < s->L; walk->layer++) {
    meet(walk, input_part);
    for (walk->t = 0; walk->t < walk->n * s->job.cell->num_stages; walk->t++) meet(walk, forward_stage_part);
  }
  meet(walk, logits_part);
  meet(walk, tell_part);
}

/* ---- the backward pass ---- */

/* Where the gradient of step t and column c goes among the transposed factors. */
INLINE float *factor_at(const Reading *r, long t, long c) {
  long most = ceil_div(r->shape.V > r->shape.columns ? r->shape.V : r->shape.columns, PANEL) * PANEL;
  return r->factors + (t / PANEL * most + c) * PANEL + t % PANEL;
}

/* Gradients of the logits of mean nats: (p - 1 where the symbol came) / N. */
static void grad_logits_part(void *data, long part) {
  const Walk *walk = data;
  const Reading *r = walk->r;
  const DynamicRun *run = r->run;
  long V = run->V, padded = ceil_div(V, PANEL) * PANEL, N = run->segment;
  Share steps = share_of(r, part, N);
  for (long t = steps.first; t < steps.last; t++) {
    float *row = r->logits + t * padded;
    int64_t target = t + 1 < N ? run->segment_ids[t + 1] : id_at(run, walk->at);
    softmax(row, padded);
    row[target] -= 1.0f;
    for (long v = 0; v < padded; v++) {
      row[v] = v < V ? row[v] / (float)N : 0.0f;
      *factor_at(r, t, v) = row[v];
    }
  }
}

static void transpose_grad_x_part(void *data, long part) {
  const Walk *walk = data;
  const Reading *r = walk->r;
  long columns = r->shape.columns, N = r->run->segment;
  Share mine = share_of(r, part, columns);
  for (long t = 0; t < N; t++) {
    const float *row = r->grad_x + (walk->layer * N + t) * columns;
    for (long c = mine.first; c < mine.last; c++) *factor_at(r, t, c) = row[c];
  }
}

/* to (N, K) = factors^T @ W: the part's columns. */
static void grad_inputs(const Reading *r, const Linear *linear, float *to, long part) {
  long K = linear->K, N = r->run->segment, stride = r->padded_steps;
  Share mine = share_of(r, part, K);
  for (long k = mine.first, n; k < mine.last; k += n) {
    n = min_long(MAX_ROWS, mine.last - k);
    memset(r->sums + k * stride, 0, (size_t)(n * stride) * sizeof(float));
    for (long p = 0; p < linear->panels; p++)
      add_products(FLOAT32, (int)n, stride / PANEL, r->sums + k * stride, stride, PANEL,
                   linear->packed + (p * K + k) * PANEL, PANEL, PANEL, factor_at(r, 0, p * PANEL),
                   factor_at(r, PANEL, 0) - factor_at(r, 0, 0));
    for (long i = k; i < k + n; i++)
      for (long t = 0; t < N; t++) to[t * K + i] = r->sums[i * stride + t];
  }
}

/* Nothing flows back into a segment from what follows it. */
static void begin_backward(const Reading *r) {
  memset(r->grad_state, 0, (size_t)(2 * r->shape.job.padded) * sizeof(float));
  memset(r->grad_cells, 0, (size_t)r->shape.H * sizeof(float));
}

static void grad_top_part(void *data, long part) {
  const Walk *walk = data;
  Linear output = output_at(&walk->r->shape, walk->weights);
  grad_inputs(walk->r, &output, walk->r->grad_outputs, part);
  if (part == 0) begin_backward(walk->r);
}

static void grad_below_part(void *data, long part) {
  const Walk *walk = data;
  const Reading *r = walk->r;
  Linear input = layer_at(&r->shape, walk->weights, walk->layer).input;
  grad_inputs(r, &input, walk->layer > 0 ? r->grad_outputs : r->grad_embedded, part);
  if (part == 0) begin_backward(r);
}

static void backward_stage_part(void *data, long part) {
  const Walk *walk = data;
  const Reading *r = walk->r;
  const DynamicRun *run = r->run;
  long N = run->segment, H = run->H;
  DynamicLayer layer = layer_at(&r->shape, walk->weights, walk->layer);
  Window window = {.cell = run->cell, .T = N, .B = 1, .H = H, .V = run->V, .num_threads = 1};
  window.hidden = hidden_row(run, walk->layer, 0);
  window.cells = cells_row(run, walk->layer, 0);
  window.grad_outputs = r->grad_outputs;
  window.grad_cells = r->grad_cells;
  window.grad_x = r->grad_x + walk->layer * N * r->shape.columns;
  if (r->grad_new) window.grad_new = r->grad_new + walk->layer * N * H;
  Job job = r->shape.job;
  job.w = &window;
  read_recurrent(&job, &r->shape, &layer);
  job.reads_forward_weights = 1;
  job.saved_step = job.cell->num_saved * H;
  job.saved = run->saved + walk->layer * run->room * job.saved_step;
  job.grad_state = r->grad_state;
  job.grad_factors = r->grad_state + job.padded;
  job.unit_parts = r->meeting.num_parts;
  recurrence_backward_stage(&job, walk->t, part);
}

/* ---- the update ---- */

/* The saved block that the last gate's weights multiply; STATE where it is the state, as for all others. */
static long last_factors(const Cell *cell) { return cell->stages[cell->num_stages - 1].factors; }

static double dot(const float *a, const float *b, long n) {
  vec sums[4] = {{0}};
  long i = 0;
  for (; i + 4 * LANES <= n; i += 4 * LANES)
    for (int v = 0; v < 4; v++) sums[v] += load(a + i + v * LANES) * load(b + i + v * LANES);
  for (; i < n; i += LANES) sums[0] += load_first(a + i, n - i) * load_first(b + i, n - i);
  vec both = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  double sum = 0;
  for (int lane = 0; lane < LANES; lane++) sum += (double)both[lane];
  return sum;
}

/* The share of steps t and s in the squared norm of the gradient. With biases a step's factors have a 1 more. */
static double square_of(const Reading *r, long t, long s) {
  const DynamicRun *run = r->run;
  const DynamicShape *shape = &r->shape;
  const Cell *cell = shape->job.cell;
  long H = run->H, N = run->segment, columns = shape->columns, padded = ceil_div(run->V, PANEL) * PANEL;
  long saved_step = cell->num_saved * H, block = last_factors(cell);
  double one = run->has_bias ? 1 : 0, sum = 0, inputs;
  int is_same = run->segment_ids[t] == run->segment_ids[s];
  if (shape->E == 0)
    inputs = is_same;
  else
    inputs = dot(r->embedded + t * shape->E, r->embedded + s * shape->E, shape->E);
  for (long l = 0; l < shape->L; l++) {
    const float *x_t = r->grad_x + (l * N + t) * columns, *x_s = r->grad_x + (l * N + s) * columns;
    double gates = dot(x_t, x_s, columns - H), last = dot(x_t + columns - H, x_s + columns - H, H), last_new = last;
    if (cell->has_grad_new) last_new = dot(r->grad_new + (l * N + t) * H, r->grad_new + (l * N + s) * H, H);
    double states = dot(hidden_row(run, l, t), hidden_row(run, l, s), H), factors = states;
    if (block != STATE) {
      const float *saved = run->saved + l * run->room * saved_step + block * H;
      factors = dot(saved + t * saved_step, saved + s * saved_step, H);
    }
    sum += (gates + last) * (inputs + one) + gates * (states + one) + last_new * (factors + one);
    inputs = dot(hidden_row(run, l, t + 1), hidden_row(run, l, s + 1), H); /* of the layer above */
  }
  if (is_same && shape->E > 0) sum += dot(r->grad_embedded + t * shape->E, r->grad_embedded + s * shape->E, shape->E);
  return sum + dot(r->logits + t * padded, r->logits + s * padded, padded) * (inputs + one);
}

/* to (num_columns, num_rows; stride) = rows (num_rows, num_columns; row_stride) transposed, for some columns. */
static void transpose(float *to, long stride, const float *rows, long row_stride, long num_rows, Share columns) {
  for (long c = columns.first; c < columns.last; c++)
    for (long t = 0; t < num_rows; t++) to[c * stride + t] = rows[t * row_stride + c];
}

/* The norm's summands of the part's steps, and its share of the factors transposed for the update. */
static void prepare_update_part(void *data, long part) {
  const Walk *walk = data;
  const Reading *r = walk->r;
  const DynamicRun *run = r->run;
  const Cell *cell = r->shape.job.cell;
  long N = run->segment, H = run->H, E = r->shape.E, saved_step = cell->num_saved * H, block = last_factors(cell);
  for (long t = part; t < N; t += r->meeting.num_parts) {
    double sum = 0;
    for (long s = 0; s < t; s++) sum += square_of(r, t, s);
    r->squares[t] = 2 * sum + square_of(r, t, t);
  }
  Share units = share_of(r, part, H);
  for (long l = 0; l < r->shape.L; l++) {
    transpose(r->hidden + l * H * (N + 1), N + 1, hidden_row(run, l, 0), H, N + 1, units);
    if (block != STATE)
      transpose(r->new_factors + l * H * N, N, run->saved + l * run->room * saved_step + block * H, saved_step, N,
                units);
  }
  transpose(r->inputs, N, r->embedded, E, N, share_of(r, part, E));
}

/* An update by one part. */
typedef struct {
  const Reading *r;
  const float *from; /* the block before; the block after may be the same */
  float rate;        /* minus the share of the gradient that is added */
  float decay;
  float *rows; /* (N, PANEL) */
} Update;

/* Moves weights towards the trained ones, on their way into the block after. */
INLINE void decay_weights(const Update *u, float *to, long count) {
  const float *from = u->from + (to - u->r->run->after), *trained = u->r->run->trained + (to - u->r->run->after);
  for (long i = 0; i < count; i += LANES) {
    vec w = load_first(from + i, count - i);
    store_first(to + i, w + splat(u->decay) * (load_first(trained + i, count - i) - w), count - i);
  }
}

/* Where what goes to a place in the block after comes from: the block before, or the trained one. */
INLINE const void *place_in(const float *block, const Update *u, const void *to) {
  return (const char *)block + ((const char *)to - (const char *)u->r->run->after);
}

/* Rows from `at` on of a panel: to (R, PANEL) = from decayed + factors (R, N; stride) @ the update's rows (N, PANEL).
 * The rows that follow are asked for meanwhile: the products leave the memory time. */
INLINE void update_rows(const int R, const int is_split, const Update *u, void *to, long at, const float *factors,
                        long stride) {
  const void *from = place_in(u->from, u, to), *trained = place_in(u->r->run->trained, u, to);
  const float *rows = u->rows;
  long N = u->r->run->segment, plane = recurrent_floats(&u->r->shape);
  vec sum[MAX_ROWS][PANEL_VECTORS];
  for (int r = 0; r < R; r++)
    for (int v = 0; v < PANEL_VECTORS; v++) {
      long i = at + r * PANEL + v * LANES, next = i + R * PANEL;
      vec w, origin;
      if (is_split) {
        const uint16_t *high = (const uint16_t *)from, *goal = (const uint16_t *)trained;
        w = load_split(high + i, plane);
        origin = load_half(goal + i);
        __builtin_prefetch(high + next);
        __builtin_prefetch(high + plane + next);
        __builtin_prefetch(goal + next);
      } else {
        w = load((const float *)from + i);
        origin = load((const float *)trained + i);
        __builtin_prefetch((const float *)from + next);
        __builtin_prefetch((const float *)trained + next);
      }
      sum[r][v] = w + splat(u->decay) * (origin - w);
    }
  for (long t = 0; t < N; t++) {
    vec row[PANEL_VECTORS];
    for (int v = 0; v < PANEL_VECTORS; v++) row[v] = load(rows + t * PANEL + v * LANES);
    for (int r = 0; r < R; r++)
      for (int v = 0; v < PANEL_VECTORS; v++) sum[r][v] += factors[r * stride + t] * row[v];
  }
  for (int r = 0; r < R; r++)
    for (int v = 0; v < PANEL_VECTORS; v++) {
      long i = at + r * PANEL + v * LANES;
      if (is_split)
        store_split((uint16_t *)to + i, plane, sum[r][v]);
      else
        store((float *)to + i, sum[r][v]);
    }
}

/* One panel of weights (K, PANEL) and of biases, moved against the gradient.
 *
 * gradient (N, num_columns; stride) is that of the panel's sums, factors (K, N; stride) what the weights multiply.
 */
static void update_panel(const Update *u, int is_split, void *panel, float *bias, long K, const float *gradient,
                         long gradient_stride, long num_columns, const float *factors, long factors_stride) {
  long N = u->r->run->segment, n = min_long(num_columns, PANEL);
  memset(u->rows, 0, (size_t)(N * PANEL) * sizeof(float));
  for (long t = 0; t < N; t++)
    for (long c = 0; c < n; c++) u->rows[t * PANEL + c] = u->rate * gradient[t * gradient_stride + c];
  long k = 0;
#define ROWS(R, IS_SPLIT) \
  for (; k + R <= K; k += R) update_rows(R, IS_SPLIT, u, panel, k *PANEL, factors + k * factors_stride, factors_stride);
  if (is_split) {
    ROWS(MAX_ROWS, 1)
    ROWS(4, 1)
    ROWS(1, 1)
  } else {
    ROWS(MAX_ROWS, 0)
    ROWS(4, 0)
    ROWS(1, 0)
  }
#undef ROWS
  decay_weights(u, bias, PANEL);
  if (u->r->run->has_bias)
    for (long t = 0; t < N; t++)
      for (long c = 0; c < n; c++) bias[c] += u->rows[t * PANEL + c];
}

static void update_linear(const Update *u, const Linear *linear, const float *gradient, long stride,
                          const float *factors, long factors_stride, long part) {
  Share panels = share_of(u->r, part, linear->panels);
  for (long p = panels.first; p < panels.last; p++)
    update_panel(u, 0, linear->packed + p * linear->K * PANEL, linear->bias + p * PANEL, linear->K,
                 gradient + p * PANEL, stride, linear->columns - p * PANEL, factors, factors_stride);
}

static void update_recurrent(const Update *u, const DynamicLayer *layer, long l, long part) {
  const Reading *r = u->r;
  const Job *job = &r->shape.job;
  long N = r->run->segment, H = r->run->H;
  Share panels = share_of(r, part, job->panels);
  for (long p = panels.first; p < panels.last; p++)
    for (long g = 0; g < job->G; g++) {
      int is_last = g == job->G - 1, has_own_factors = is_last && last_factors(job->cell) != STATE;
      const float *gradient = r->grad_x + l * N * r->shape.columns + g * H, *factors = r->hidden + l * H * (N + 1);
      long stride = r->shape.columns;
      if (is_last && job->cell->has_grad_new) {
        gradient = r->grad_new + l * N * H;
        stride = H;
      }
      if (has_own_factors) factors = r->new_factors + l * H * N;
      long at = (p * job->G + g) * job->panel_floats;
      void *panel = r->shape.is_split ? (void *)((uint16_t *)layer->recurrent + at) : (float *)layer->recurrent + at;
      update_panel(u, r->shape.is_split, panel, layer->bias + g * job->padded + p * PANEL, H, gradient + p * PANEL,
                   stride, H - p * PANEL, factors, has_own_factors ? N : N + 1);
    }
}

/* The rows of symbols: all decay; those that were read are moved. */
static void update_symbols(const Update *u, long part) {
  const Reading *r = u->r;
  const DynamicRun *run = r->run;
  long width = r->shape.symbol_floats;
  const float *gradient = r->shape.E > 0 ? r->grad_embedded : r->grad_x;
  Share symbols = share_of(r, part, run->V);
  long first = symbols.first * width, last = symbols.last == run->V ? symbols_floats(&r->shape) : symbols.last * width;
  decay_weights(u, run->after + first, last - first);
  for (long t = 0; t < run->segment; t++) {
    int64_t id = run->segment_ids[t];
    if (id < symbols.first || id >= symbols.last) continue;
    for (long c = 0; c < width; c++) run->after[id * width + c] += u->rate * gradient[t * width + c];
  }
}

static void update_part(void *data, long part) {
  const Walk *walk = data;
  Reading *r = walk->r;
  const DynamicRun *run = r->run;
  const DynamicShape *s = &r->shape;
  long N = run->segment, H = run->H, padded = ceil_div(run->V, PANEL) * PANEL;
  double square = 0;
  for (long t = 0; t < N; t++) square += r->squares[t];
  if (!isfinite(square)) {
    atomic_store(&r->status, NOT_FINITE);
    return;
  }
  /* Rounding may leave the square of a gradient of zeros below zero. */
  double norm = square > 0 ? sqrt(square) : 0;
  double rate = run->learning_rate / (norm > 1 ? norm : 1) * (1 - run->decay);
  Update u = {.r = r, .from = walk->weights, .rate = (float)-rate, .decay = (float)run->decay};
  u.rows = r->rows + part * N * PANEL;
  update_symbols(&u, part);
  for (long l = 0; l < s->L; l++) {
    DynamicLayer layer = layer_at(s, run->after, l);
    const float *factors = l > 0 ? r->hidden + (l - 1) * H * (N + 1) + 1 : r->inputs;
    update_linear(&u, &layer.input, r->grad_x + l * N * s->columns, s->columns, factors, l > 0 ? N + 1 : N, part);
    update_recurrent(&u, &layer, l, part);
  }
  Linear output = output_at(s, run->after);
  update_linear(&u, &output, r->logits, padded, r->hidden + (s->L - 1) * H * (N + 1) + 1, N + 1, part);
  /* The next segment begins where this one ended. */
  Share layers = share_of(r, part, s->L);
  for (long l = layers.first; l < layers.last; l++) {
    memcpy(hidden_row(run, l, 0), hidden_row(run, l, N), (size_t)H * sizeof(float));
    if (run->cells) memcpy(cells_row(run, l, 0), cells_row(run, l, N), (size_t)H * sizeof(float));
  }
}

/* Learns from the whole segment that has been read; the next symbol of the call is the last one's target. */
static void learn(Walk *walk) {
  Reading *r = walk->r;
  const DynamicShape *s = &r->shape;
  walk->first = 0;
  walk->n = walk->num_before;
  if (walk->n > 0) {
    if (s->E > 0) meet(walk, embed_part);
    meet(walk, logits_part);
  }
  walk->num_before = 0;
  meet(walk, grad_logits_part);
  meet(walk, grad_top_part);
  for (walk->layer = s->L - 1; walk->layer >= 0; walk->layer--) {
    for (walk->t = 0; walk->t < r->run->segment * s->job.cell->num_stages; walk->t++) meet(walk, backward_stage_part);
    if (walk->layer == 0 && s->E == 0) break;
    meet(walk, transpose_grad_x_part);
    meet(walk, grad_below_part);
  }
  meet(walk, prepare_update_part);
  meet(walk, update_part);
  walk->weights = r->run->after;
}

/* ---- a run ---- */

static void run_dynamic_part(void *data, long part) {
  Reading *r = data;
  const DynamicRun *run = r->run;
  Walk walk = {.r = r, .part = part, .weights = (float *)run->before, .num_before = run->num_read};
  for (long read = run->num_read; walk.at < run->T; walk.at += walk.n) {
    if (read == run->segment) {
      learn(&walk);
      read = 0;
    }
    if (atomic_load(&r->status) != OK) return;
    walk.first = read;
    walk.n = run->drawn ? 1 : min_long(run->segment - read, run->T - walk.at);
    read_symbols(&walk);
    read += walk.n;
  }
}

static int allocate_reading(Reading *r, int learns) {
  const DynamicRun *run = r->run;
  const DynamicShape *s = &r->shape;
  long room = run->room, N = learns ? run->segment : 0, num_parts = r->meeting.num_parts;
  long padded_columns = ceil_div(s->columns, PANEL) * PANEL, padded_symbols = ceil_div(s->V, PANEL) * PANEL;
  r->padded_steps = ceil_div(N, PANEL) * PANEL;
  r->meeting.begun = (Counter *)new_floats((num_parts + 1) * (long)(sizeof(Counter) / sizeof(float)));
  r->embedded = new_floats(room * s->E);
  r->x = new_floats(room * padded_columns);
  r->logits = new_floats(room * padded_symbols);
  r->weights = run->drawn ? malloc((size_t)s->V * sizeof(double)) : NULL;
  r->ranked = run->drawn ? malloc((size_t)s->V * sizeof(int64_t)) : NULL;
  if (!r->meeting.begun || !r->embedded || !r->x || !r->logits || (run->drawn && (!r->weights || !r->ranked))) return 0;
  r->meeting.ended = r->meeting.begun + num_parts;
  for (long i = 0; i <= num_parts; i++) atomic_init(&r->meeting.begun[i].value, 0);
  if (!learns) return 1;
  long num_factors = r->padded_steps * (padded_columns > padded_symbols ? padded_columns : padded_symbols);
  r->factors = new_floats(num_factors);
  r->sums = new_floats((s->H > s->E ? s->H : s->E) * r->padded_steps);
  r->grad_outputs = new_floats(N * s->H);
  r->grad_embedded = new_floats(N * s->E);
  r->grad_x = new_floats(s->L * N * s->columns);
  r->grad_new = s->job.cell->has_grad_new ? new_floats(s->L * N * s->H) : NULL;
  r->grad_cells = new_floats(s->H);
  r->grad_state = new_floats(2 * s->job.padded);
  r->hidden = new_floats(s->L * s->H * (N + 1));
  r->new_factors = new_floats(last_factors(s->job.cell) == STATE ? 0 : s->L * s->H * N);
  r->inputs = new_floats(s->E * N);
  r->rows = new_floats(num_parts * N * PANEL);
  r->squares = malloc((size_t)N * sizeof(double));
  if (!r->factors || !r->sums || !r->grad_outputs || !r->grad_embedded || !r->grad_x || !r->grad_cells ||
      !r->grad_state || !r->hidden || !r->new_factors || !r->inputs || !r->rows || !r->squares ||
      (s->job.cell->has_grad_new && !r->grad_new))
    return 0;
  /* The lanes that pad the steps are products like the others, and are not used. */
  memset(r->factors, 0, (size_t)num_factors * sizeof(float));
  return 1;
}

static void free_reading(Reading *r) {
  void *all[] = {r->meeting.begun, r->embedded, r->x,          r->logits,       r->weights,
                 r->ranked,        r->factors,  r->sums,       r->grad_outputs, r->grad_embedded,
                 r->grad_x,        r->grad_new, r->grad_cells, r->grad_state,   r->hidden,
                 r->new_factors,   r->inputs,   r->rows,       r->squares};
  for (unsigned i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

int charrnn_dynamic_run(DynamicRun *run) {
  int learns = run->num_read + run->T > run->segment;
  for (long i = 0; i < (run->drawn ? 1 : run->T); i++)
    if (run->ids[i] < 0 || run->ids[i] >= run->V) return BAD_ID;
  for (long i = 0; run->nats && i < run->T; i++)
    if (run->targets[i] < 0 || run->targets[i] >= run->V) return BAD_ID;
  if (run->T == 0) return OK;
  Reading r = {.run = run, .shape = dynamic_shape(run->cell, run->L, run->H, run->V, run->E)};
  long num_parts = min_long(run->num_threads, min_long(r.shape.job.panels, r.shape.columns * run->H / PART_WEIGHTS));
  /* A few steps alone end before a second thread is awake. */
  r.meeting.num_parts = num_parts < 1 || (!learns && run->T < 4) ? 1 : num_parts;
  if (allocate_reading(&r, learns))
    team_run(run_dynamic_part, &r, r.meeting.num_parts, r.meeting.num_parts);
  else
    atomic_store(&r.status, NO_MEMORY);
  free_reading(&r);
  run->num_read = (run->num_read + run->T - 1) % run->segment + 1;
  return atomic_load(&r.status);
}
