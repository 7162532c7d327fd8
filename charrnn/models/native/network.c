/* A whole network at work: ids and a state in; logits, scores or drawn symbols and a state out.
 *
 * Legend: T steps, B streams, E embedding size, H units, G gates, V symbols, L layers, S saved blocks.
 *
 * Each thread takes some of the streams through all steps; of one stream alone, some of the units of its large layers
 * through each step. Where the symbols are known beforehand, some steps are taken together layer by layer, so that the
 * products that do not wait for the step before them (the input's share of the upper layers' gates, the logits) read
 * their weights once for many rows.
 *
 * Few streams wait for weights to be read: those that half precision holds without loss are read in it.
 *
 * Memory in floats, H' and V' and (G*H)' rounded up to whole panels: a network holds L*G*H*H' + (L-1)*H*(G*H)' +
 * E*(G*H)' + H*V' and its biases, beside the caller's V*E or V*G*H; where half precision holds the weights, half of the
 * first term and half as much again of the others. A call takes about CHUNK_ROWS * (H + E + (G*H)') + MAX_ROWS * V' per
 * thread.
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

#define CHUNK_ROWS 64 /* rows (steps x streams) taken together */
/* Threads share the units of one stream where its recurrent weights take as many bytes, since a step of fewer takes
 * less time than they need to meet, and where there are as many steps, which is worth waking them. */
#ifndef SHARED_BYTES
#define SHARED_BYTES (1 << 19)
#endif
#define SHARED_STEPS 16
#define MAX_SHARING 8 /* threads: more would do little but meet */

/* Mirrors `_Run` in network.py. */
typedef struct {
  const void *network;
  int64_t T, B, num_threads;
  const int64_t *ids;     /* (T, B) read; to generate, (B,): what is read first */
  const int64_t *targets; /* (T, B) to score */
  float *hidden, *cells;  /* (L, B, H) before; after */
  float *logits;          /* (T, B, V), or NULL */
  double *nats;           /* (T, B) -ln p(target), or NULL */
  float *all_hidden;      /* (T, L, B, H) after each step, or NULL */
  float *all_cells;       /* the same of the cells, where there are some */
  int64_t *drawn;         /* (T, B) to generate, or NULL */
  const double *uniforms; /* (T, B) in [0, 1) */
  Sampling sampling;
  const uint8_t *transitions, *allowed; /* (states, V): automaton of the symbols that may follow, or NULL */
  uint8_t *marks;                       /* (B,) its states */
} Run;

typedef struct {
  Linear input;
  float *packed, *bias; /* as in Job */
  uint16_t *half;       /* the weights in half precision, where they fit it; then `packed` is NULL */
} Layer;

typedef struct {
  long cell_number, L, H, V, E;
  const Cell *cell;
  const float *symbols; /* the caller's */
  Layer *layers;
  Linear output;
} Network;

/* ---- packing ---- */

/* Whether half precision holds every one of `count` floats, whole vectors of them, without loss. */
static int fits_half(const float *values, long count) {
  mask lost = {0};
  for (long i = 0; HAVE_HALF && i < count; i += LANES) lost |= load(values + i) != round_half(load(values + i));
  for (long lane = 0; lane < LANES; lane++)
    if (lost[lane]) return 0;
  return HAVE_HALF;
}

/* Packed weights, whole vectors, once more in half precision where that holds them; 0 where there is no memory. */
static int halve(uint16_t **half, const float *packed, long count) {
  if (!fits_half(packed, count)) return 1;
  *half = (uint16_t *)new_floats(count / 2);
  for (long i = 0; *half && i < count; i += LANES) store_half(*half + i, load(packed + i));
  return *half != NULL;
}

static int linear_new(Linear *linear, const float *weight, const float *bias, long columns, long K, float outside) {
  float *memory = new_floats(linear_floats(columns, K));
  if (!memory) return 0;
  *linear = linear_at(memory, columns, K);
  linear_fill(linear, weight, bias, outside);
  return halve(&linear->half, linear->packed, linear->padded * K);
}

static Window layer_window(const Network *network, long T, long B) {
  return (Window){.cell = network->cell_number, .T = T, .B = B, .H = network->H, .V = network->V, .num_threads = 1};
}

void charrnn_network_free(void *handle) {
  Network *network = handle;
  if (!network) return;
  for (long l = 0; network->layers && l < network->L; l++) {
    free(network->layers[l].input.packed);
    free(network->layers[l].input.half);
    free(network->layers[l].packed);
    free(network->layers[l].half);
    free(network->layers[l].bias);
  }
  free(network->layers);
  free(network->output.packed);
  free(network->output.half);
  free(network);
}

static int network_pack(Network *network, const Weights *w) {
  Window window = layer_window(network, 1, 1);
  Job job = recurrence_job(&window);
  network->cell = job.cell;
  network->layers = calloc((size_t)w->L, sizeof(Layer));
  if (!network->layers) return 0;
  for (long l = 0; l < w->L; l++) {
    Layer *layer = &network->layers[l];
    long width = l > 0 ? w->H : w->E;
    if (width > 0 && !linear_new(&layer->input, w->weight_ih[l], w->bias_ih[l], job.G * w->H, width, 0.0f)) return 0;
    job.packed = layer->packed = new_floats(job.panels * job.G * job.panel_floats);
    job.bias = layer->bias = new_floats(job.G * job.padded);
    if (!layer->packed || !layer->bias) return 0;
    window.weight_hh = w->weight_hh[l];
    window.bias_hh = w->bias_hh[l];
    for (long p = 0; p < job.panels; p++) recurrence_pack(&job, p);
    if (!halve(&layer->half, layer->packed, job.panels * job.G * job.panel_floats)) return 0;
    if (layer->half) {
      free(layer->packed);
      layer->packed = NULL;
    }
  }
  /* What pads the last panel of logits is no symbol: it has probability 0. */
  return linear_new(&network->output, w->weight_out, w->bias_out, w->V, w->H, -INFINITY);
}

/* A network packed for this processor, or NULL where there is no memory. */
void *charrnn_network_new(const Weights *w) {
  Network *network = calloc(1, sizeof(Network));
  if (!network) return NULL;
  *network = (Network){.cell_number = w->cell, .L = w->L, .H = w->H, .V = w->V, .E = w->E, .symbols = w->symbols};
  if (network_pack(network, w)) return network;
  charrnn_network_free(network);
  return NULL;
}

/* ---- one chunk of steps ---- */

/* Streams first..first+n of a run, with the room their thread works in. */
typedef struct {
  const Run *run;
  const Network *network;
  long first, n, most_steps;
  long num_sharing;      /* threads that share the units of these streams */
  Counter *counters;     /* (num_sharing + 1,) by which they meet */
  int64_t *ids;          /* (most_steps, n) */
  float *hidden, *cells; /* (most_steps + 1, n, H) */
  float *embedded;       /* (most_steps, n, E) */
  float *x;              /* (most_steps, n, (G*H)') */
  float *saved;          /* (n, S*H) */
  float *logits;         /* (MAX_ROWS, V') */
  double *weights;       /* (V,) to draw */
  int64_t *ranked;       /* (V,) to draw */
} Part;

static long part_allocate(Part *part) {
  const Network *network = part->network;
  long H = network->H, rows = part->most_steps * part->n;
  part->counters = (Counter *)new_floats((part->num_sharing + 1) * (long)(sizeof(Counter) / sizeof(float)));
  part->ids = malloc((size_t)rows * sizeof(int64_t));
  part->hidden = new_floats((rows + part->n) * H);
  part->cells = new_floats(network->cell->has_cell ? (rows + part->n) * H : 1);
  part->embedded = new_floats(rows * network->E);
  /* All layers have as many rows of gates; without an embedding the first has no product to make. */
  part->x = new_floats(rows * network->layers[network->L - 1].input.padded);
  part->saved = new_floats(part->n * network->cell->num_saved * H);
  part->logits = new_floats(MAX_ROWS * network->output.padded);
  part->weights = malloc((size_t)network->V * sizeof(double));
  part->ranked = malloc((size_t)network->V * sizeof(int64_t));
  return part->counters && part->ids && part->hidden && part->cells && part->embedded && part->x && part->saved &&
         part->logits && part->weights && part->ranked;
}

static void part_free(Part *part) {
  free(part->counters);
  free(part->ids);
  free(part->hidden);
  free(part->cells);
  free(part->embedded);
  free(part->x);
  free(part->saved);
  free(part->logits);
  free(part->weights);
  free(part->ranked);
}

/* The embeddings of part->ids, one row per symbol. */
static const float *embed(Part *part, long rows) {
  const Network *network = part->network;
  long E = network->E;
  for (long r = 0; r < rows; r++)
    memcpy(part->embedded + r * E, network->symbols + part->ids[r] * E, (size_t)E * sizeof(float));
  return part->embedded;
}

/* Keeps the states after each step of layer `l`: rows (steps + 1, n, H), the first of them before the chunk. */
static void keep_states(const Part *part, float *kept, const float *rows, long begin, long steps, long l) {
  const Run *run = part->run;
  long H = part->network->H, nH = part->n * H;
  for (long t = 0; t < steps; t++)
    memcpy(kept + (((begin + t) * part->network->L + l) * run->B + part->first) * H, rows + (t + 1) * nH,
           (size_t)nH * sizeof(float));
}

/* Takes the streams `steps` further from step `begin`, reading part->ids; the top layer's outputs are then in
 * part->hidden[1:]. */
static void advance(Part *part, long begin, long steps) {
  const Run *run = part->run;
  const Network *network = part->network;
  long H = network->H, nH = part->n * H;
  size_t state_bytes = (size_t)nH * sizeof(float);
  for (long l = 0; l < network->L; l++) {
    const Layer *layer = &network->layers[l];
    long at = (l * run->B + part->first) * H;
    Window window = layer_window(network, steps, part->n);
    if (l == 0 && network->E == 0) {
      window.x = network->symbols;
      window.ids = part->ids;
    } else {
      const float *below = part->hidden + nH;
      if (l == 0) below = embed(part, steps * part->n);
      linear_run(&layer->input, 0, layer->input.panels, part->x, below, l == 0 ? network->E : H, steps * part->n);
      window.x = part->x;
    }
    window.hidden = part->hidden;
    window.cells = part->cells;
    memcpy(part->hidden, run->hidden + at, state_bytes);
    if (network->cell->has_cell) memcpy(part->cells, run->cells + at, state_bytes);
    Job job = recurrence_job(&window);
    job.packed = layer->packed;
    job.half = layer->half;
    job.bias = layer->bias;
    job.saved = part->saved;
    job.turn = begin;
    if (window.x == part->x) job.x_stride = layer->input.padded;
    job.unit_parts = job.num_parts = min_long(part->num_sharing, job.panels);
    job.begun = part->counters;
    job.ended = part->counters + job.num_parts;
    for (long i = 0; i <= job.num_parts; i++) atomic_init(&job.begun[i].value, 0);
    team_run(recurrence_forward_part, &job, job.num_parts, job.num_parts);
    memcpy(run->hidden + at, part->hidden + steps * nH, state_bytes);
    if (network->cell->has_cell) memcpy(run->cells + at, part->cells + steps * nH, state_bytes);
    if (run->all_hidden) keep_states(part, run->all_hidden, part->hidden, begin, steps, l);
    if (run->all_cells) keep_states(part, run->all_cells, part->cells, begin, steps, l);
  }
}

/* ---- a run ---- */

/* How many threads share the units of a run's only stream. */
static long num_sharing(const Run *run) {
  const Network *network = run->network;
  long bytes = network->cell->num_gates * network->H * network->H * (long)sizeof(float);
  return run->B == 1 && run->T >= SHARED_STEPS && bytes >= SHARED_BYTES ? min_long(run->num_threads, MAX_SHARING) : 1;
}

typedef struct {
  const Run *run;
  long num_parts;
  atomic_int status;
} Task;

static void read_known(Part *part) {
  const Run *run = part->run;
  const Network *network = part->network;
  long n = part->n, V = network->V, padded = network->output.padded, H = network->H;
  for (long t = 0, steps; t < run->T; t += steps) {
    steps = min_long(part->most_steps, run->T - t);
    for (long i = 0; i < steps; i++)
      memcpy(part->ids + i * n, run->ids + (t + i) * run->B + part->first, (size_t)n * sizeof(int64_t));
    advance(part, t, steps);
    for (long row = 0, rows; row < steps * n; row += rows) {
      rows = min_long(MAX_ROWS, steps * n - row);
      linear_run(&network->output, 0, network->output.panels, part->logits, part->hidden + (n + row) * H, H, rows);
      for (long r = 0; r < rows; r++) {
        long at = (t + (row + r) / n) * run->B + part->first + (row + r) % n;
        const float *logits = part->logits + r * padded;
        if (run->nats) run->nats[at] = nats_of(logits, padded, run->targets[at]);
        if (run->logits) memcpy(run->logits + at * V, logits, (size_t)V * sizeof(float));
      }
    }
  }
}

static int generate(Part *part) {
  const Run *run = part->run;
  const Network *network = part->network;
  long n = part->n, V = network->V, padded = network->output.padded, H = network->H;
  memcpy(part->ids, run->ids + part->first, (size_t)n * sizeof(int64_t));
  for (long t = 0; t < run->T; t++) {
    advance(part, t, 1);
    for (long row = 0, rows; row < n; row += rows) {
      rows = min_long(MAX_ROWS, n - row);
      linear_run(&network->output, 0, network->output.panels, part->logits, part->hidden + (n + row) * H, H, rows);
      for (long r = 0; r < rows; r++) {
        long b = part->first + row + r;
        const uint8_t *allowed = run->marks ? run->allowed + run->marks[b] * V : NULL;
        int64_t id = draw(&run->sampling, part->logits + r * padded, V, allowed, run->uniforms[t * run->B + b],
                          part->weights, part->ranked);
        if (id < 0) return NOT_FINITE;
        if (run->marks) run->marks[b] = run->transitions[run->marks[b] * V + id];
        run->drawn[t * run->B + b] = part->ids[row + r] = id;
      }
    }
  }
  return OK;
}

static void run_part(void *data, long index) {
  Task *task = data;
  const Run *run = task->run;
  long first = index * run->B / task->num_parts, last = (index + 1) * run->B / task->num_parts;
  Part part = {.run = run, .network = run->network, .first = first, .n = last - first};
  part.num_sharing = num_sharing(run);
  part.most_steps = run->drawn ? 1 : min_long(run->T, CHUNK_ROWS / part.n > 1 ? CHUNK_ROWS / part.n : 1);
  int status = NO_MEMORY;
  if (part_allocate(&part)) {
    status = OK;
    if (run->drawn)
      status = generate(&part);
    else
      read_known(&part);
  }
  part_free(&part);
  if (status != OK) atomic_store(&task->status, status);
}

int charrnn_network_run(const Run *run) {
  const Network *network = run->network;
  for (long i = 0; i < (run->drawn ? 1 : run->T) * run->B; i++)
    if (run->ids[i] < 0 || run->ids[i] >= network->V) return BAD_ID;
  for (long i = 0; run->nats && i < run->T * run->B; i++)
    if (run->targets[i] < 0 || run->targets[i] >= network->V) return BAD_ID;
  if (run->T == 0 || run->B == 0) return OK;
  Task task = {.run = run, .num_parts = min_long(run->num_threads, run->B)};
  team_run(run_part, &task, task.num_parts, task.num_parts);
  return atomic_load(&task.status);
}
