/* Dropout whose mask is a function of a seed and an element's place, so that nothing has to be kept of it.
 *
 * A BLOCK of 64 elements has 16 numbers of 32 bits: element 16 * k + i of it is decided by byte k of number i.
 * models/dropout.py has the same in torch.
 */
#include <stdint.h>

#include "team.h"
#include "vector.h"

#define BLOCK 64
#define CHUNK (1 << 14) /* elements that a part works on, whole blocks */

/* Mirrors `_Dropout` in tensors.py. */
typedef struct {
  int64_t count, num_threads, seed, num_dropped; /* of 256 */
  const float *given;
  float *to;
  double scale;
} Dropout;

/* Source: the finalizer of MurmurHash3, Appleby 2008. */
INLINE bits mixed(bits x) {
  x ^= x >> 16;
  x *= 0x85ebca6bu;
  x ^= x >> 13;
  x *= 0xc2b2ae35u;
  return x ^ x >> 16;
}

static void dropout_part(void *data, long part) {
  const Dropout *d = data;
  bits low = (bits){0} + (uint32_t)d->seed, high = (bits){0} + (uint32_t)((uint64_t)d->seed >> 32), lane;
  for (long i = 0; i < LANES; i++) lane[i] = (uint32_t)i;
  bits least = (bits){0} + (uint32_t)d->num_dropped;
  vec scale = splat((float)d->scale);
  long last = (part + 1) * CHUNK < d->count ? (part + 1) * CHUNK : d->count;
  for (long begin = part * CHUNK; begin < last; begin += BLOCK)
    for (long first = 0; first < BLOCK / 4; first += LANES) {
      bits word = mixed(mixed((lane + (uint32_t)(begin / 4 + first)) ^ low) ^ high);
      for (long k = 0; k < 4; k++) {
        long i = begin + k * (BLOCK / 4) + first;
        if (i >= last) break;
        vec kept = (vec)((bits)((word >> (8 * (uint32_t)k) & 255u) >= least) & (bits)scale);
        store_first(d->to + i, load_first(d->given + i, last - i) * kept, last - i);
      }
    }
}

int charrnn_dropout(const Dropout *dropout) {
  team_run(dropout_part, (void *)dropout, (dropout->count + CHUNK - 1) / CHUNK, dropout->num_threads);
  return 0;
}
