/* A network's weights as Python gives them. */
#ifndef CHARRNN_WEIGHTS_H
#define CHARRNN_WEIGHTS_H

#include <stdint.h>

/* Mirrors `_Weights` in network.py. Biases may be NULL. */
typedef struct {
  int64_t cell, L, H, V, E;
  const float *symbols;          /* (V, E) embedding; with E 0 (V, G*H): what each symbol adds to the gates of layer 0.
                                    The caller keeps it while the network lives. */
  const float *const *weight_ih; /* L pointers to (G*H, H); the first to (G*H, E), with E 0 unused */
  const float *const *weight_hh; /* L pointers to (G*H, H) */
  const float *const *bias_ih;   /* L pointers to (G*H,); the first unused with E 0 */
  const float *const *bias_hh;   /* L pointers to (G*H,) */
  const float *weight_out;       /* (V, H) */
  const float *bias_out;         /* (V,) */
} Weights;

#endif
