#include "gradient.h"

#include <stdlib.h>

#include "outer.h"
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
    if (w->grad_table)
      add_columns(w->grad_table + w->ids[row] * columns, d, first, last);
    else
      add_columns(w->grad_bias, d, first, middle);
    if (w->grad_bias && middle < last)
      add_columns(w->grad_bias + end, w->grad_new + row * w->H, middle - end, last - end);
  }
  if (w->grad_table && w->grad_bias) /* a bias is added to what every symbol adds: its gradient is the sum of theirs */
    for (long v = 0; v < w->V; v++) add_columns(w->grad_bias, w->grad_table + v * columns, first, middle);
}

/* ---- W_hh: gates' gradients^T (G*H, T*B) @ their factors (T*B, H) ---- */

typedef struct {
  const Job *job;
  Outer *factors; /* of each stage of a step */
  long num_parts;
  float *strips; /* (num_parts, strip_floats) */
} WeightGradient;

static void pack_factors_part(void *data, long index) {
  WeightGradient *g = data;
  const Job *job = g->job;
  const Window *w = job->w;
  long block = job->cell->stages[index / job->panels].factors, panel = index % job->panels;
  const float *rows = block == STATE ? w->hidden : w->saved + block * w->H;
  outer_pack(&g->factors[index / job->panels], panel, rows, block == STATE ? w->H : job->cell->num_saved * w->H);
}

static void strips_part(void *data, long part) {
  WeightGradient *o = data;
  const Job *job = o->job;
  const Window *w = job->w;
  long H = w->H, strips = ceil_div(H, STRIP), total = job->G * strips;
  begin_products(job->precision, STRIP);
  for (long s = part * total / o->num_parts; s < (part + 1) * total / o->num_parts; s++) {
    long g = s / strips, u = (s % strips) * STRIP, stage = 0;
    while (g >= job->cell->stages[stage].last) stage++;
    int in_grad_new = job->cell->has_grad_new && g == job->G - 1;
    outer_strip(&o->factors[stage], o->strips + part * o->factors->strip_floats,
                in_grad_new ? w->grad_new + u : w->grad_x + g * H + u, in_grad_new ? H : job->G * H,
                min_long(STRIP, H - u), w->grad_weight + (g * H + u) * H, 0, job->panels);
  }
  end_products(job->precision);
}

static int weight_gradient(const Job *job) {
  const Window *w = job->w;
  Outer factors[MAX_STAGES];
  long num_stages = job->cell->num_stages;
  WeightGradient g = {.job = job, .factors = factors};
  factors[0] = outer_of(job->precision, w->T * w->B, w->H);
  long packed_floats = factors->panels * factors->panel_floats;
  float *packed = new_floats(num_stages * packed_floats);
  g.num_parts = min_long(job->G * ceil_div(w->H, STRIP), PARTS_PER_THREAD * w->num_threads);
  g.strips = new_floats(g.num_parts * factors->strip_floats);
  int status = packed && g.strips ? OK : NO_MEMORY;
  for (long s = 0; s < num_stages; s++) {
    factors[s] = factors[0];
    factors[s].right = packed + s * packed_floats;
  }
  if (status == OK) {
    team_run(pack_factors_part, &g, num_stages * job->panels, w->num_threads);
    team_run(strips_part, &g, g.num_parts, w->num_threads);
  }
  free(g.strips);
  free(packed);
  return status;
}

int sum_gradients(Job *job) {
  const Window *w = job->w;
  if (w->grad_table || w->grad_bias) team_run(sum_columns_part, job, w->num_threads, w->num_threads);
  return weight_gradient(job);
}
