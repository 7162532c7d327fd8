/* The output layer and its loss: what each symbol cost, and all gradients of the mean cost, in one call.
 *
 * Legend: N rows (steps x streams), H units, V symbols; V' and H' are rounded up to whole panels.
 *
 *   logits = hidden W^T + b        nats = -ln softmax(logits)[target]        loss = mean of nats
 *   d = (softmax(logits) - onehot(target)) / N        grad_hidden = d W, grad_weight = d^T hidden, grad_bias = sum of d
 *
 * A block of rows goes through the first lines while it is in cache. Memory beyond the arguments, in floats: N*V' of d,
 * 2*V'*H' of packed weights and N*H' of packed rows (with bfloat16 the last two half, and N*(H' + V')/2 of factors).
 */
#include <math.h>

#include "outer.h"
#include "team.h"
#include "window.h"

#define COLUMN_PANELS 6 /* panels of columns of grad_weight that a part makes */

/* Mirrors `Output` in output.py. Arrays are float32 but for targets and nats, and contiguous. */
typedef struct {
  int64_t N, H, V, num_threads, precision;
  const float *hidden, *weight;                 /* (N, H), (V, H) */
  const float *bias;                            /* (V,) or NULL */
  const int64_t *targets;                       /* (N,) */
  double *nats;                                 /* (N,) */
  float *grad_hidden, *grad_weight, *grad_bias; /* as hidden, weight and bias */
} Output;

typedef struct {
  const Output *o;
  Precision precision;
  long symbol_panels, unit_panels, padded; /* of V, of H; V' */
  long hidden_K, symbol_K;                 /* H and V as factors are padded */
  float *to_symbols, *to_units, *bias;     /* packed weights of logits and of grad_hidden; (V',) */
  uint16_t *rounded_hidden, *rounded_d;    /* (N, hidden_K), (N, symbol_K), where factors are rounded */
  float *d;                                /* (N, V') logits, then their gradient */
  Outer outer;                             /* of grad_weight */
  long strip_parts;                        /* parts of grad_weight */
  float *strips;                           /* (strip_parts, strip_floats) */
} OutputJob;

static void pack_output_part(void *data, long index) {
  OutputJob *job = data;
  const Output *o = job->o;
  if (index < job->symbol_panels) {
    long v = index * PANEL, n = min_long(PANEL, o->V - v);
    pack_transposed(job->precision, job->to_symbols + index * panel_floats(job->precision, o->H), o->weight + v * o->H,
                    o->H, o->V - v, o->H);
    /* What pads the last panel is no symbol: it has probability 0. */
    for (long c = 0; c < PANEL; c++) job->bias[v + c] = c >= n ? -INFINITY : o->bias ? o->bias[v + c] : 0.0f;
    return;
  }
  index -= job->symbol_panels;
  if (index < job->unit_panels)
    pack(job->precision, job->to_units + index * panel_floats(job->precision, o->V), o->weight + index * PANEL, o->H,
         o->H - index * PANEL, o->V);
  else
    outer_pack(&job->outer, index - job->unit_panels, o->hidden, o->H);
}

/* A row of logits becomes the gradient of `share` times its nats, which are returned. */
static double row_gradient(float *row, long padded, long target, float share) {
  vec most = splat(-INFINITY), total = splat(0.0f);
  float lanes[LANES], largest = -INFINITY;
  double sum = 0.0;
  for (long v = 0; v < padded; v += LANES) most = choose(load(row + v) > most, load(row + v), most);
  store(lanes, most);
  for (long i = 0; i < LANES; i++) largest = lanes[i] > largest ? lanes[i] : largest;
  double nats = largest - row[target];
  for (long v = 0; v < padded; v += LANES) {
    vec e = exp_vec(load(row + v) - splat(largest));
    store(row + v, e);
    total += e;
  }
  store(lanes, total);
  for (long i = 0; i < LANES; i++) sum += lanes[i];
  float scale = (float)(share / sum);
  for (long v = 0; v < padded; v += LANES) store(row + v, load(row + v) * splat(scale));
  row[target] -= share;
  return nats + log(sum);
}

static void output_rows_part(void *data, long part) {
  OutputJob *job = data;
  const Output *o = job->o;
  Precision precision = job->precision;
  long most = block_rows(precision), b = part * most, R = min_long(most, o->N - b), H = o->H, padded = job->padded;
  int rounds = precision != FLOAT32;
  float *d = job->d + b * padded, sums[3][BLOCK_ROWS][PANEL];
  const void *factors = o->hidden + b * H;
  if (rounds) {
    uint16_t *rows = job->rounded_hidden + b * job->hidden_K;
    for (long r = 0; r < R; r++)
      round_factors(precision, rows + r * job->hidden_K, o->hidden + (b + r) * H, H, job->hidden_K);
    factors = rows;
  }
  for (long r = 0; r < R; r++) memcpy(d + r * padded, job->bias, (size_t)padded * sizeof(float));
  begin_products(precision, (int)R);
  add_products(precision, (int)R, job->symbol_panels, d, padded, PANEL, factors, rounds ? job->hidden_K : H,
               job->hidden_K, job->to_symbols, panel_floats(precision, H));
  for (long r = 0; r < R; r++)
    o->nats[b + r] = row_gradient(d + r * padded, padded, o->targets[b + r], 1.0f / (float)o->N);
  factors = d;
  if (rounds) {
    uint16_t *rows = job->rounded_d + b * job->symbol_K;
    for (long r = 0; r < R; r++)
      round_factors(precision, rows + r * job->symbol_K, d + r * padded, o->V, job->symbol_K);
    factors = rows;
  }
  for (long p = 0, panels; p < job->unit_panels; p += panels) {
    panels = min_long(3, job->unit_panels - p);
    memset(sums, 0, sizeof sums);
    add_products(precision, (int)R, panels, sums[0][0], PANEL, BLOCK_ROWS * PANEL, factors,
                 rounds ? job->symbol_K : padded, job->symbol_K, job->to_units + p * panel_floats(precision, o->V),
                 panel_floats(precision, o->V));
    for (long i = 0; i < panels; i++)
      for (long r = 0; r < R; r++)
        memcpy(o->grad_hidden + (b + r) * H + (p + i) * PANEL, sums[i][r],
               (size_t)min_long(PANEL, H - (p + i) * PANEL) * sizeof(float));
  }
  end_products(precision);
}

/* STRIP symbols, and some of the columns. */
static void output_weight_part(void *data, long part) {
  OutputJob *job = data;
  const Output *o = job->o;
  long groups = ceil_div(job->unit_panels, COLUMN_PANELS), v = part / groups * STRIP, group = part % groups;
  long n = min_long(STRIP, o->V - v);
  begin_products(job->precision, STRIP);
  outer_strip(&job->outer, job->strips + part * job->outer.strip_floats, job->d + v, job->padded, n,
              o->grad_weight + v * o->H, group * COLUMN_PANELS,
              min_long((group + 1) * COLUMN_PANELS, job->unit_panels));
  end_products(job->precision);
  if (group > 0 || !o->grad_bias) return;
  for (long i = 0; i < n; i++) o->grad_bias[v + i] = 0.0f;
  for (long row = 0; row < o->N; row++)
    for (long i = 0; i < n; i++) o->grad_bias[v + i] += job->d[row * job->padded + v + i];
}

int charrnn_output(const Output *o) {
  if (o->precision == BFLOAT16 && !bfloat16_support()) return NO_BF16;
  for (long i = 0; i < o->N; i++)
    if (o->targets[i] < 0 || o->targets[i] >= o->V) return BAD_ID;
  OutputJob job = {.o = o, .precision = fastest((Precision)o->precision)};
  int rounds = job.precision != FLOAT32;
  job.symbol_panels = ceil_div(o->V, PANEL);
  job.unit_panels = ceil_div(o->H, PANEL);
  job.padded = job.symbol_panels * PANEL;
  job.hidden_K = padded_length(job.precision, o->H);
  job.symbol_K = padded_length(job.precision, o->V);
  job.outer = outer_of(job.precision, o->N, o->H);
  job.strip_parts = ceil_div(o->V, STRIP) * ceil_div(job.unit_panels, COLUMN_PANELS);
  job.to_symbols = new_floats(job.symbol_panels * panel_floats(job.precision, o->H));
  job.to_units = new_floats(job.unit_panels * panel_floats(job.precision, o->V));
  job.bias = new_floats(job.padded);
  job.d = new_floats(o->N * job.padded);
  job.outer.right = new_floats(job.unit_panels * job.outer.panel_floats);
  job.strips = new_floats(job.strip_parts * job.outer.strip_floats);
  job.rounded_hidden = rounds ? (uint16_t *)new_floats(o->N * job.hidden_K / 2) : NULL;
  job.rounded_d = rounds ? (uint16_t *)new_floats(o->N * job.symbol_K / 2) : NULL;
  int status = NO_MEMORY;
  if (job.to_symbols && job.to_units && job.bias && job.d && job.outer.right && job.strips &&
      (!rounds || (job.rounded_hidden && job.rounded_d))) {
    status = OK;
    team_run(pack_output_part, &job, job.symbol_panels + 2 * job.unit_panels, o->num_threads);
    team_run(output_rows_part, &job, ceil_div(o->N, block_rows(job.precision)), o->num_threads);
    team_run(output_weight_part, &job, job.strip_parts, o->num_threads);
  }
  free(job.rounded_d);
  free(job.rounded_hidden);
  free(job.strips);
  free(job.outer.right);
  free(job.d);
  free(job.bias);
  free(job.to_units);
  free(job.to_symbols);
  return status;
}
