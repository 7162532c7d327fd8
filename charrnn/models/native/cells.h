/* The cells that have kernels. A new one is its header, included here, and its name in the table. */
#ifndef CHARRNN_CELLS_H
#define CHARRNN_CELLS_H

#include "cell_gru.h"
#include "cell_gru_before.h"
#include "cell_lstm.h"
#include "cell_rnn.h"

#define EACH_CELL(DO) \
  DO(rnn)             \
  DO(lstm)            \
  DO(gru)             \
  DO(gru_before)

#endif
