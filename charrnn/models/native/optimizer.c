/* One update of all weights: the gradient's norm, then AdamW with clipping and the averages, in one pass over memory.
 *
 * Source: AdamW, Loshchilov & Hutter 2019; clipping by norm, Pascanu et al. 2013; averaging, Polyak & Juditsky 1992.
 */
#include <math.h>
#include <stdint.h>

#include "team.h"
#include "vector.h"

#define CHUNK (1 << 14) /* elements that a part works on */

/* Mirrors `_Parameter` in optimizer.py. */
typedef struct {
  int64_t count;
  float *weight;
  const float *gradient;
  float *mean, *square, *average; /* as many as weights */
  double decay;                   /* share of the weight that an update takes away, times the rate */
} Parameter;

/* Mirrors `_WeightsUpdate` in optimizer.py. */
typedef struct {
  int64_t num_parameters, num_threads;
  const Parameter *parameters;
  double *squares; /* (parts,) room for sums of squares, one per CHUNK of each parameter */
  double rate, beta1, beta2, epsilon, clip;
  double correction1, correction2; /* 1 - beta^updates */
  double toward;                   /* share by which averages move to the weights */
  double norm;                     /* out: of the whole gradient, before clipping */
} WeightsUpdate;

/* Where part `part` is: its parameter, and elements first <= i < last. */
typedef struct {
  const Parameter *of;
  long first, last;
} Chunk;

static Chunk chunk_at(const WeightsUpdate *update, long part) {
  const Parameter *of = update->parameters;
  for (long parts; part >= (parts = (of->count + CHUNK - 1) / CHUNK); of++) part -= parts;
  long last = (part + 1) * CHUNK;
  return (Chunk){of, part * CHUNK, last < of->count ? last : of->count};
}

static void square_part(void *data, long part) {
  WeightsUpdate *update = data;
  Chunk chunk = chunk_at(update, part);
  double sum = 0.0;
  for (long begin = chunk.first; begin < chunk.last; begin += 1024) { /* floats add up to a few digits less */
    vec total = splat(0.0f);
    float lanes[LANES];
    long end = begin + 1024 < chunk.last ? begin + 1024 : chunk.last;
    for (long i = begin; i < end; i += LANES) {
      vec g = load_first(chunk.of->gradient + i, end - i);
      total += g * g;
    }
    store(lanes, total);
    for (long i = 0; i < LANES; i++) sum += lanes[i];
  }
  update->squares[part] = sum;
}

static void adamw_part(void *data, long part) {
  const WeightsUpdate *update = data;
  Chunk chunk = chunk_at(update, part);
  const Parameter *of = chunk.of;
  double norm = update->norm;
  int is_applied = isfinite(norm);
  vec scale = splat((float)(norm > update->clip ? update->clip / norm : 1.0));
  vec kept = splat((float)(1.0 - update->rate * of->decay)), step = splat((float)(update->rate / update->correction1));
  vec beta1 = splat((float)update->beta1), new1 = splat((float)(1.0 - update->beta1));
  vec beta2 = splat((float)update->beta2), new2 = splat((float)(1.0 - update->beta2));
  vec root = splat((float)(1.0 / sqrt(update->correction2))), epsilon = splat((float)update->epsilon);
  vec toward = splat((float)update->toward);
  for (long i = chunk.first; i < chunk.last; i += LANES) {
    long n = chunk.last - i;
    vec w = load_first(of->weight + i, n), average = load_first(of->average + i, n);
    if (is_applied) {
      vec g = load_first(of->gradient + i, n) * scale;
      vec mean = beta1 * load_first(of->mean + i, n) + new1 * g;
      vec square = beta2 * load_first(of->square + i, n) + new2 * g * g;
      w = w * kept - step * mean / (square_root(square) * root + epsilon);
      store_first(of->mean + i, mean, n);
      store_first(of->square + i, square, n);
      store_first(of->weight + i, w, n);
    }
    /* From the nearer end, so that nothing is left of the average where the weights take its place. */
    vec difference = w - average;
    average = update->toward < 0.5 ? average + toward * difference : w - (splat(1.0f) - toward) * difference;
    store_first(of->average + i, average, n);
  }
}

/* Leaves weights and moments as they are where the norm is not finite. */
int charrnn_update(WeightsUpdate *update) {
  long parts = 0;
  for (long p = 0; p < update->num_parameters; p++) parts += (update->parameters[p].count + CHUNK - 1) / CHUNK;
  team_run(square_part, update, parts, update->num_threads);
  double sum = 0.0;
  for (long part = 0; part < parts; part++) sum += update->squares[part];
  update->norm = sqrt(sum);
  team_run(adamw_part, update, parts, update->num_threads);
  return 0;
}
