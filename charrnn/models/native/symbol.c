#include "symbol.h"

#include <math.h>

#include "vector.h"

/* ---- scoring ---- */

static float greatest_of(const float *logits, long padded) {
  vec greatest = load(logits);
  for (long c = LANES; c < padded; c += LANES) {
    vec z = load(logits + c);
    greatest = choose(z > greatest, z, greatest);
  }
  float most = greatest[0];
  for (int i = 1; i < LANES; i++) most = greatest[i] > most ? greatest[i] : most;
  return most;
}

double nats_of(const float *logits, long padded, int64_t target) {
  float most = greatest_of(logits, padded);
  double sums[LANES] = {0}, sum = 0;
  for (long c = 0; c < padded; c += LANES) {
    vec e = exp_vec(load(logits + c) - splat(most));
    for (int i = 0; i < LANES; i++) sums[i] += (double)e[i];
  }
  for (int i = 0; i < LANES; i++) sum += sums[i];
  return log(sum) + ((double)most - (double)logits[target]);
}

void softmax(float *logits, long padded) {
  float most = greatest_of(logits, padded);
  double sum = 0;
  for (long c = 0; c < padded; c += LANES) store(logits + c, exp_vec(load(logits + c) - splat(most)));
  for (long c = 0; c < padded; c++) sum += (double)logits[c];
  for (long c = 0; c < padded; c++) logits[c] = (float)((double)logits[c] / sum);
}

/* ---- drawing ---- */

/* Whether symbol a comes before b, the most probable first and lower ids first where they tie. */
INLINE int ranks_before(const double *p, int64_t a, int64_t b) { return p[a] > p[b] || (p[a] == p[b] && a < b); }

static void sift_down(int64_t *heap, long size, long at, const double *p) {
  for (long child; (child = 2 * at + 1) < size; at = child) {
    if (child + 1 < size && ranks_before(p, heap[child + 1], heap[child])) child++;
    if (ranks_before(p, heap[at], heap[child])) return;
    int64_t swap = heap[at];
    heap[at] = heap[child];
    heap[child] = swap;
  }
}

static void heap_of_all(int64_t *heap, long V, const double *p) {
  for (long i = 0; i < V; i++) heap[i] = i;
  for (long i = V / 2 - 1; i >= 0; i--) sift_down(heap, V, i, p);
}

static int64_t take_first(int64_t *heap, long *size, const double *p) {
  int64_t first = heap[0];
  heap[0] = heap[--*size];
  sift_down(heap, *size, 0, p);
  return first;
}

/* Same steps as models/sampling.py. */
int64_t draw(const Sampling *sampling, const float *logits, long V, const uint8_t *allowed, double uniform, double *p,
             int64_t *heap) {
  int64_t best = -1;
  for (long v = 0; v < V; v++) {
    if (allowed && !allowed[v]) continue;
    if (isnan(logits[v])) return -1;
    if (best < 0 || logits[v] > logits[best]) best = v;
  }
  if (best < 0 || !isfinite(logits[best])) return -1;
  if (sampling->temperature == 0) return best;
  for (long v = 0; v < V; v++)
    p[v] = allowed && !allowed[v] ? -INFINITY : ((double)logits[v] - (double)logits[best]) / sampling->temperature;
  if (sampling->top_k > 0 && sampling->top_k < V) {
    long size = V;
    double kth = 0;
    heap_of_all(heap, V, p);
    for (long k = 0; k < sampling->top_k; k++) kth = p[take_first(heap, &size, p)];
    for (long v = 0; v < V; v++)
      if (p[v] < kth) p[v] = -INFINITY;
  }
  double total = 0;
  for (long v = 0; v < V; v++) total += p[v] = exp(p[v]);
  if (sampling->top_p < 1) {
    /* The slack lets shares such as 0.5 + 0.3 reach 0.8 although their sum in float64 falls short of it. */
    double wanted = (sampling->top_p - 1e-12) * total, reached = 0;
    long size = V;
    heap_of_all(heap, V, p);
    reached += p[take_first(heap, &size, p)];
    while (size > 0 && reached < wanted) reached += p[take_first(heap, &size, p)];
    for (long i = 0; i < size; i++) p[heap[i]] = 0;
  }
  total = 0;
  double least = sampling->min_p * p[best];
  for (long v = 0; v < V; v++) {
    if (p[v] < least) p[v] = 0;
    total += p[v];
  }
  double point = fmin(uniform * total, nextafter(total, 0)), reached = 0;
  for (long v = 0; v < V; v++) {
    reached += p[v];
    if (reached > point) return v;
  }
  return best;
}
