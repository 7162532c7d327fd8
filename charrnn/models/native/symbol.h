/* The next symbol: how well logits predict it, and which one they draw. See symbol.c. */
#ifndef CHARRNN_SYMBOL_H
#define CHARRNN_SYMBOL_H

#include <stdint.h>

/* How a symbol is drawn: the fields of SamplingSettings in models/settings.py, in its order. */
typedef struct {
  double temperature;
  int64_t top_k;
  double top_p, min_p;
} Sampling;

/* -ln p(target): logits (padded with -inf) are taken from their greatest, the sum of their exps is in float64. */
double nats_of(const float *logits, long padded, int64_t target);

/* Logits, padded with -inf, become probabilities; those of the padding are next to nothing. */
void softmax(float *logits, long padded);

/* The symbol that a uniform draws from logits (V,), or -1 where they are not finite; allowed (V,) or NULL. The last two
 * are room for V values each. */
int64_t draw(const Sampling *sampling, const float *logits, long V, const uint8_t *allowed, double uniform, double *p,
             int64_t *heap);

#endif
