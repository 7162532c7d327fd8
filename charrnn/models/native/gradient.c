#include "gradient.h"

#include <stdlib.h>

#include "product.h"
#include "team.h"

/* ---- the input table and the bias ---- */

INLINE void add_columns(float *to, const float *from, long first, long last) {
  for (long c = first; c < last; c++) to[c] += from[c];
}

/* Each part owns columns, so that the order of a sum is fixed. */
static void sum_columns_part(void *data, long part) {
  const Job *job = data;
  const Window *w = job->w;
  long columns = job->G * w->H, width = ceil_div(ceil_div(columns, LANES), w->num_threads) * LANES;
  long first = min_long(part * width, columns), last = min_long(first + width, columns);
  /* The last gate's bias may have its gradient in grad_new: from column `end` of grad_x on. */
  long end = columns - job->cell->has_grad_new * w->H, middle = first > end ? first : min_long(last, end);
  for (long row = 0; row < w->T * w->B; row++) {
    const float *d = w->grad_x + row * columns;
    if (w->grad_table) add_columns(w->grad_table + w->ids[row] * columns, d, first, last);
    if (w->grad_bias) {
      add_columns(w->grad_bias, d, first, middle);
      if (middle < last) add_columns(w->grad_bias + end, w->grad_new + row * w->H, middle - end, last - end);
    }
  }
}

/* ---- W_hh with rounded products: gates' gradients^T (G*H, T*B) @ their factors (T*B, H) ---- */

enum { STRIP = BLOCK_ROWS }; /* rows of W_hh made at once */

typedef struct {
  const Job *job;
  long N, K;         /* rows T*B, and padded */
  long panel_floats; /* of one packed panel */
  long num_stages;
  float *factors;   /* (num_stages, panels, panel_floats): of each stage of a step */
  uint16_t *strips; /* (num_threads, STRIP, K): rounded gradients of STRIP units */
} Outer;

static void pack_factors_part(void *data, long index) {
  Outer *o = data;
  const Job *job = o->job;
  const Window *w = job->w;
  long block = job->cell->stages[index / job->panels].factors, u = index % job->panels * PANEL;
  const float *rows = block == STATE ? w->hidden : w->saved + block * w->H;
  pack(job->precision, o->factors + index * o->panel_floats, rows + u,
       block == STATE ? w->H : job->cell->num_saved * w->H, w->H - u, o->N);
}

static void outer_part(void *data, long part) {
  Outer *o = data;
  const Job *job = o->job;
  const Window *w = job->w;
  long H = w->H, strips = ceil_div(H, STRIP), total = job->G * strips;
  uint16_t *strip = o->strips + part * STRIP * o->K;
  float sums[3][STRIP][PANEL];
  begin_products(job->precision, STRIP);
  for (long s = part * total / w->num_threads; s < (part + 1) * total / w->num_threads; s++) {
    long g = s / strips, u = (s % strips) * STRIP, n = min_long(STRIP, H - u), stage = 0;
    while (g >= job->cell->stages[stage].last) stage++;
    int in_grad_new = job->cell->has_grad_new && g == job->G - 1;
    const float *rows = in_grad_new ? w->grad_new + u : w->grad_x + g * H + u;
    round_transposed(job->precision, strip, rows, in_grad_new ? H : job->G * H, n, o->N);
    for (long p = 0; p < job->panels; p += 3) {
      long panels = min_long(3, job->panels - p);
      memset(sums, 0, sizeof sums);
      add_products(job->precision, STRIP, panels, sums[0][0], PANEL, STRIP * PANEL, strip, o->K, o->K,
                   o->factors + (stage * job->panels + p) * o->panel_floats, o->panel_floats);
      for (long i = 0; i < panels; i++)
        for (long r = 0; r < n; r++)
          memcpy(w->grad_weight + (g * H + u + r) * H + (p + i) * PANEL, sums[i][r],
                 (size_t)min_long(PANEL, H - (p + i) * PANEL) * sizeof(float));
    }
  }
  end_products(job->precision);
}

static int weight_gradient(const Job *job) {
  const Window *w = job->w;
  Outer o = {.job = job, .N = w->T * w->B, .num_stages = job->cell->num_stages};
  o.K = padded_length(job->precision, o.N);
  o.panel_floats = panel_floats(job->precision, o.N);
  o.factors = new_floats(o.num_stages * job->panels * o.panel_floats);
  o.strips = (uint16_t *)new_floats(w->num_threads * STRIP * (o.K / 2));
  int status = o.factors && o.strips ? OK : NO_MEMORY;
  if (status == OK) {
    team_run(pack_factors_part, &o, o.num_stages * job->panels, w->num_threads);
    team_run(outer_part, &o, w->num_threads, w->num_threads);
  }
  free(o.strips);
  free(o.factors);
  return status;
}

int sum_gradients(Job *job) {
  const Window *w = job->w;
  if (w->grad_table || w->grad_bias) team_run(sum_columns_part, job, w->num_threads, w->num_threads);
  return job->precision == FLOAT32 ? OK : weight_gradient(job);
}
