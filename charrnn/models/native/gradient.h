/* Gradients of a layer that are sums over all steps and streams of a window. See gradient.c. */
#ifndef CHARRNN_GRADIENT_H
#define CHARRNN_GRADIENT_H

#include "window.h"

/* From grad_x and grad_new: table, bias and W_hh. OK or NO_MEMORY. */
int sum_gradients(Job *job);

#endif
