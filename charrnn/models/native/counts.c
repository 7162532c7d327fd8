/* Counts of contexts, mixed: reads symbols, predicts each before it learns from it.
 *
 * The equations, in numpy and in the same order, are in models/counts/reference.py; this file gives the same numbers to
 * the last bit, so every product and sum is written out and none is fused.
 *
 * Legend: V symbols, B streams, T steps, K contexts, M matches, I inputs of a mixer.
 *
 * A symbol is found by decisions: node n divides symbols lo..hi at cuts[n]. Nodes are numbered from the root, left
 * before right: the left part of node n is node n + 1, the right one n + (cuts[n] - lo).
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__clang__)
#pragma clang fp contract(off)
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

enum {
  K = 16,           /* contexts */
  M = 2,            /* matches */
  I = 40,           /* inputs: two per context, two per match, one that is constant, one that is 0 */
  LANES = 8,        /* of a sum of inputs */
  LINE_SLOTS = 16,  /* a line is 128 bytes */
  GROUP_DEPTH = 3,  /* decisions whose slots share a line */
  MAX_DEPTH = 128,  /* decisions of a symbol, as tree.py has it */
  RECENT = 1024,    /* symbols of a stream that are kept */
  LEVELS = 16,      /* of how often a slot was seen */
  BINS = 25,        /* of a probability's log odds */
  ODDS = 33,        /* of the odds that are corrected, 0.75 apart */
  LENGTHS = 32,     /* classes of a match's length */
  NUM_ORDERS = 10,  /* contexts 0 to 9 are those of so many symbols as ORDERS says */
  DEPTHS = 16,      /* depths told apart by a mixer */
  MAX_SEEN = 250,   /* a slot's count stops here */
  MAX_LENGTH = 400, /* of a match, when it is found */
  FIRST_BITS = 14,  /* rows of the corrections: 2^n */
  SECOND_BITS = 16,
  LAZY = 5,
  LEARN_COUNTS = 1,
  LEARN_WEIGHTS = 2,
  LEARN_SLOWLY = 4,
  LETTER = 1,
  NEWLINE = 3,
};

/* Slots, each with the odds of one decision in one context: as ever, and lately, in 65536ths; how often it was seen;
 * and a check of what it belongs to, 0 where it is free. 128 bytes: two lines of a cache. */
typedef struct {
  uint16_t check[LINE_SLOTS], ever[LINE_SLOTS], lately[LINE_SLOTS];
  uint8_t seen[LINE_SLOTS], unused[LINE_SLOTS];
} Line;

typedef struct {
  Line *line; /* where it lies, or would */
  int at;     /* -1: there is none */
  uint16_t check;
} Slot;

/* What is learned beside the slots. Mirrors `_Weights` in counts.py. */
typedef struct {
  float *ever, *lately;  /* (K, LEVELS, BINS) probability by how often seen and by log odds */
  float *ever_seen;      /* (K, LEVELS, BINS) how often each was learned from */
  float *match;          /* (M, LENGTHS) probability that a match goes on */
  float *match_seen;     /* (M, LENGTHS) */
  float *by_node;        /* (V - 1, I) weights of the mixer chosen by the node */
  float *by_match;       /* (LENGTHS * 3, I) by the first match */
  float *by_order;       /* (NUM_ORDERS * DEPTHS, I) by the longest context seen and the depth */
  float *final;          /* (V - 1, 4) weights of the three mixers; the fourth is 0 */
  float *first, *second; /* (2^FIRST_BITS, ODDS), (2^SECOND_BITS, ODDS) corrections by the last symbols */
  float *decisions;      /* (1,) decisions learned from, up to 2^24 */
} CountWeights;

/* Mirrors `_Counts` in counts.py. */
typedef struct {
  int64_t V, num_lines, num_places, num_text, text_space, min_lengths[M];
  Line *lines;            /* (num_lines,), a power of two */
  uint16_t *text;         /* (text_space,) what was learned from, num_text of it */
  uint32_t *places[M];    /* (num_places,) where a match may be, a power of two; 0 for nowhere */
  const int64_t *cuts;    /* (V - 1,) */
  const uint8_t *classes; /* (V,) LETTER, NEWLINE or another number */
  CountWeights weights;
  const float *stretch;      /* (4097,) ln(p / (1 - p)) */
  const float *squash;       /* (4097,) 1 / (1 + exp(-z)), z from -14 to 14 */
  const float *rates;        /* (256,) of a slot seen n times */
  const float *bins, *parts; /* (4096,) the bin below a probability's log odds, and how far it lies towards the next */
  const int64_t *levels;     /* (256,) */
} Counts;

/* What is remembered of a stream; all zero at its start. Mirrors `reference.READER`. */
typedef struct {
  uint64_t word, word_before, word_before_that;
  int64_t num_read, line_start, line_before;
  int64_t pointer[M], length[M];
  uint64_t rolling[M];
  uint16_t recent[RECENT];
} Reader;

/* Mirrors `_Reading` in counts.py. */
typedef struct {
  Counts *counts;
  int64_t T, B, learn;
  Reader *readers;        /* (B,) */
  const int64_t *ids;     /* (T, B) read */
  const int64_t *targets; /* (T, B) scored after each, or NULL */
  double *nats;           /* (T, B) -ln p(target) */
  double *logits;         /* (B, V) ln p of what follows the last, or NULL */
} Reading;

/* Of one symbol that is to come. */
typedef struct {
  uint64_t hashes[K];
  int64_t expected[M]; /* the symbol that follows in the match, or -1 */
  int64_t lengths[M];  /* its class of length; 0: no match */
  int64_t last, last_two;
} Position;

/* Of one decision. */
typedef struct {
  Slot slots[K];
  int level[K], bin[K], bin_lately[K];
  float part[K], part_lately[K];
  int agrees[M]; /* 0: the match is not in this node; else 1 + the bit it expects */
  float *weights[3], *final, *first, *second;
  _Alignas(64) float inputs[I];
  float z[4], p[3], mixed, part_z, probability;
  int bin_z;
} Decision;

typedef struct {
  int64_t node, lo, hi, group;
  int depth;
  Line *lines[K];
  uint16_t checks[K];
} Node;

static const int ORDERS[NUM_ORDERS] = {0, 1, 2, 3, 4, 5, 6, 8, 12, 18};

static uint64_t scramble(uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccdull;
  x ^= x >> 33;
  x *= 0xc4ceb9fe1a85ec53ull;
  return x ^ (x >> 33);
}

#define GOLDEN 0x9E3779B97F4A7C15ull

static inline uint64_t recent(const Reader *reader, int64_t back) {
  return reader->num_read >= back ? (uint64_t)reader->recent[(reader->num_read - back) % RECENT] + 1 : 0;
}

static int64_t length_class(int64_t length) {
  if (length < 16) return length;
  if (length < 32) return 16 + (length - 16) / 4;
  if (length < 64) return 20 + (length - 32) / 8;
  if (length < 512) return 24 + (length - 64) / 64;
  return 31;
}

/* ---- reading ---- */

static uint32_t *place(const Counts *counts, const Reader *reader, int m) {
  return counts->places[m] + (scramble(reader->rolling[m]) & (uint64_t)(counts->num_places - 1));
}

/* Takes a symbol into what is remembered of the stream, and into the text where it is learned from. */
static void push(Counts *counts, Reader *reader, int64_t id, int learns) {
  for (int m = 0; m < M; m++) {
    int64_t min_length = counts->min_lengths[m];
    uint64_t power = 1;
    for (int64_t i = 0; i < min_length; i++) power *= GOLDEN;
    reader->rolling[m] = reader->rolling[m] * GOLDEN + (uint64_t)id + 1 - power * recent(reader, min_length);
    if (reader->length[m] && reader->pointer[m] < counts->num_text && counts->text[reader->pointer[m]] == id) {
      reader->length[m]++;
      reader->pointer[m]++;
    } else {
      reader->length[m] = 0;
    }
  }
  reader->recent[reader->num_read % RECENT] = (uint16_t)id;
  reader->num_read++;
  int class = counts->classes[id];
  if (class == LETTER) {
    reader->word = scramble(reader->word + (uint64_t)id + 1);
  } else if (reader->word) {
    reader->word_before_that = reader->word_before;
    reader->word_before = reader->word;
    reader->word = 0;
  }
  if (class == NEWLINE) {
    reader->line_before = reader->line_start;
    reader->line_start = reader->num_read;
  }
  if (learns && counts->num_text < counts->text_space) counts->text[counts->num_text++] = (uint16_t)id;
  for (int m = 0; m < M; m++) {
    if (reader->num_read < counts->min_lengths[m]) continue;
    uint32_t *at = place(counts, reader, m);
    if (!reader->length[m] && *at) {
      int64_t pointer = *at, length = 0;
      while (length < MAX_LENGTH && length < pointer &&
             recent(reader, length + 1) == (uint64_t)counts->text[pointer - 1 - length] + 1)
        length++;
      if (length >= counts->min_lengths[m]) {
        reader->length[m] = length;
        reader->pointer[m] = pointer;
      }
    }
    if (learns) *at = (uint32_t)counts->num_text;
  }
}

static void look(const Counts *counts, const Reader *reader, Position *position) {
  uint64_t hash = 0;
  for (int k = 0, order = 0; k < NUM_ORDERS; k++) {
    while (order < ORDERS[k]) hash = scramble(hash + recent(reader, ++order) * GOLDEN);
    position->hashes[k] = scramble(hash + (uint64_t)k);
  }
  uint64_t last = recent(reader, 1), before = recent(reader, 2);
  uint64_t word = reader->word, one = reader->word_before, two = reader->word_before_that;
  int64_t column = reader->num_read - reader->line_start, above_at = reader->line_before + column;
  int has_above = above_at < reader->line_start && reader->num_read - above_at <= RECENT;
  uint64_t above = has_above ? (uint64_t)reader->recent[above_at % RECENT] + 1 : 0;
  if (column > RECENT) column = RECENT;
  const uint64_t others[K - NUM_ORDERS] = {
      word,
      word * 31 + one * 17 + last,
      word * 13 + one * 7 + two * 3,
      one * 5 + two * 9 + last * 1001 + (word ? 0 : 1),
      (uint64_t)column * GOLDEN + above,
      (above * GOLDEN + last) * GOLDEN + before,
  };
  for (int k = NUM_ORDERS; k < K; k++)
    position->hashes[k] = scramble(others[k - NUM_ORDERS] + (uint64_t)k * 0x2545F4914F6CDD1Dull);
  for (int m = 0; m < M; m++) {
    int goes_on = reader->length[m] && reader->pointer[m] < counts->num_text;
    position->expected[m] = goes_on ? counts->text[reader->pointer[m]] : -1;
    position->lengths[m] = goes_on ? length_class(reader->length[m]) : 0;
  }
  position->last = (int64_t)last;
  position->last_two = (int64_t)(last * 65537 + before);
}

/* ---- one decision ---- */

static void enter(const Counts *counts, const Position *position, Node *node) {
  node->group = node->node;
  for (int k = 0; k < K; k++) {
    uint64_t hash = scramble(position->hashes[k] + (uint64_t)(node->group + 1) * GOLDEN);
    node->lines[k] = counts->lines + (hash & (uint64_t)(counts->num_lines - 1));
    node->checks[k] = (uint16_t)(hash >> 48);
    __builtin_prefetch(node->lines[k], 1);
    __builtin_prefetch((char *)node->lines[k] + 64, 1);
  }
}

static inline uint16_t check_of(const Node *node, int k) {
  uint16_t check = (uint16_t)(node->checks[k] ^ (uint16_t)((uint64_t)(node->node - node->group) * 0x9E37u));
  return check ? check : 1;
}

typedef uint16_t Checks __attribute__((vector_size(2 * LINE_SLOTS)));

/* The slot of a decision in context k, if there is one. */
static Slot find(const Node *node, int k) {
  Slot slot = {node->lines[k], -1, check_of(node, k)};
  Checks held;
  uint64_t same[LINE_SLOTS / 4];
  memcpy(&held, slot.line->check, sizeof held);
  held = (Checks)(held == slot.check);
  memcpy(same, &held, sizeof same);
  for (int i = 0; i < LINE_SLOTS / 4 && slot.at < 0; i++)
    if (same[i]) slot.at = 4 * i + (__builtin_ctzll(same[i]) >> 4);
  return slot;
}

/* Makes sure that there is a slot to learn with: where there is none, the one of its line seen least gives way. */
static void claim(Slot *slot) {
  Line *line = slot->line;
  if (slot->at >= 0 && line->check[slot->at] == slot->check) return;
  int least = 0;
  for (int i = 1; i < LINE_SLOTS; i++)
    if (line->seen[i] < line->seen[least]) least = i;
  line->check[least] = slot->check;
  line->ever[least] = line->lately[least] = 32768;
  line->seen[least] = 0;
  slot->at = least;
}

static void learn_slot(const Counts *counts, Slot slot, int bit) {
  Line *line = slot.line;
  int at = slot.at;
  float y = bit ? 65535.0f : 0.0f, rate = counts->rates[line->seen[at]], fast = rate > 0.2f ? rate : 0.2f;
  line->ever[at] = (uint16_t)((float)line->ever[at] + (y - (float)line->ever[at]) * rate);
  line->lately[at] = (uint16_t)((float)line->lately[at] + (y - (float)line->lately[at]) * fast);
  if (line->seen[at] < MAX_SEEN) line->seen[at]++;
}

static inline float between(const float *row, int bin, float part) {
  return row[bin] + (row[bin + 1] - row[bin]) * part;
}

static inline float log_odds(const Counts *counts, float p) { return counts->stretch[(int)(p * 4096.0f)]; }

static inline float bounded(float x, float limit) { return x > limit ? limit : x < -limit ? -limit : x; }

static float probability_of(const Counts *counts, float z) {
  float q = (bounded(z, 13.9f) + 14.0f) * (4096.0f / 28.0f);
  int i = (int)q;
  return counts->squash[i] + (counts->squash[i + 1] - counts->squash[i]) * (q - (float)i);
}

static float dot(const float *w, const float *x) {
  float sums[LANES] = {0};
  for (int i = 0; i < I; i += LANES)
    for (int j = 0; j < LANES; j++) sums[j] += w[i + j] * x[i + j];
  return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
}

static uint32_t row_of(int64_t context, int64_t node, int bits) {
  return (uint32_t)(scramble((uint64_t)context * GOLDEN + (uint64_t)node) >> (64 - bits));
}

/* p(bit 1), the symbol lying right of the cut. */
static float decide(const Counts *counts, const Position *position, const Node *node, Decision *d) {
  const CountWeights *w = &counts->weights;
  int longest = 0;
  for (int k = 0; k < K; k++) {
    Slot slot = find(node, k);
    int seen = slot.at < 0 ? 0 : slot.line->seen[slot.at];
    d->slots[k] = slot;
    d->level[k] = -1;
    d->inputs[2 * k] = d->inputs[2 * k + 1] = 0;
    if (!seen) continue;
    if (k < NUM_ORDERS) longest = k;
    int level = (int)counts->levels[seen];
    int ever = slot.line->ever[slot.at] >> 4, lately = slot.line->lately[slot.at] >> 4;
    const float *row = w->ever + (k * LEVELS + level) * BINS, *other = w->lately + (k * LEVELS + level) * BINS;
    d->level[k] = level;
    d->bin[k] = (int)counts->bins[ever];
    d->part[k] = counts->parts[ever];
    d->bin_lately[k] = (int)counts->bins[lately];
    d->part_lately[k] = counts->parts[lately];
    d->inputs[2 * k] = log_odds(counts, between(row, d->bin[k], d->part[k]));
    d->inputs[2 * k + 1] = log_odds(counts, between(other, d->bin_lately[k], d->part_lately[k]));
  }
  for (int m = 0; m < M; m++) {
    int64_t expected = position->expected[m];
    int within = expected >= node->lo && expected < node->hi, bit = expected >= counts->cuts[node->node];
    float p = w->match[m * LENGTHS + position->lengths[m]], sign = bit ? 1.0f : -1.0f;
    d->agrees[m] = within ? 1 + bit : 0;
    d->inputs[2 * K + 2 * m] = within ? sign * log_odds(counts, p) : 0;
    d->inputs[2 * K + 2 * m + 1] = within ? sign * (p - 0.5f) * 4.0f : 0;
  }
  d->inputs[2 * K + 2 * M] = 0.3f;
  for (int i = 2 * K + 2 * M + 1; i < I; i++) d->inputs[i] = 0;
  int depth = node->depth < DEPTHS ? node->depth : DEPTHS - 1;
  d->weights[0] = w->by_node + node->node * I;
  d->weights[1] = w->by_match + ((d->agrees[0] ? position->lengths[0] : 0) * 3 + d->agrees[0]) * I;
  d->weights[2] = w->by_order + (longest * DEPTHS + depth) * I;
  d->final = w->final + node->node * 4;
  float z = 0;
  for (int s = 0; s < 3; s++) {
    d->z[s] = bounded(dot(d->weights[s], d->inputs), 13.9f);
    d->p[s] = probability_of(counts, d->z[s]);
    z += d->final[s] * d->z[s];
  }
  z = bounded(z, 11.99f);
  d->mixed = probability_of(counts, z);
  float at = (z + 12.0f) * (4.0f / 3.0f);
  d->bin_z = (int)at;
  d->part_z = at - (float)d->bin_z;
  d->first = w->first + row_of(position->last, node->node, FIRST_BITS) * ODDS;
  d->second = w->second + row_of(position->last_two, node->node, SECOND_BITS) * ODDS;
  float corrected = between(d->first, d->bin_z, d->part_z) + between(d->second, d->bin_z, d->part_z);
  d->probability = 0.5f * d->mixed + 0.25f * corrected;
  return d->probability;
}

static inline float inside(float p, float margin) {
  return p < margin ? margin : p > 1.0f - margin ? 1.0f - margin : p;
}

/* Moves the two values between which one was taken; seen, where there is one, slows it down. */
static void learn_between(float *row, float *seen, int bin, float part, float y, float slowest) {
  for (int j = 0; j < 2; j++) {
    float share = j ? part : 1.0f - part, rate = slowest;
    if (seen) {
      if (seen[bin + j] < 1000.0f) {
        float own = 1.0f / (seen[bin + j] + 1.5f);
        rate = own > slowest ? own : slowest;
      }
      seen[bin + j] += share;
    }
    row[bin + j] = inside(row[bin + j] + (y - row[bin + j]) * rate * share, 1e-4f);
  }
}

static void learn_weights(const Counts *counts, const Position *position, Decision *d, int bit, int learn) {
  const CountWeights *w = &counts->weights;
  float y = (float)bit, rate = 0.002f + 0.018f / (1.0f + w->decisions[0] * 2e-6f);
  if (learn & LEARN_SLOWLY) rate = 0.0005f;
  if (w->decisions[0] < 16777216.0f) w->decisions[0] += 1.0f;
  for (int s = 0; s < 3; s++) {
    float step = (y - d->p[s]) * rate;
    for (int i = 0; i < I; i++) d->weights[s][i] += step * d->inputs[i];
  }
  float step = (y - d->mixed) * 0.002f;
  for (int s = 0; s < 3; s++) d->final[s] += step * d->z[s];
  learn_between(d->first, NULL, d->bin_z, d->part_z, y, 0.02f);
  learn_between(d->second, NULL, d->bin_z, d->part_z, y, 0.02f);
  for (int k = 0; k < K; k++) {
    if (d->level[k] < 0) continue;
    int64_t row = (k * LEVELS + d->level[k]) * BINS;
    learn_between(w->ever + row, w->ever_seen + row, d->bin[k], d->part[k], y, 0.002f);
    learn_between(w->lately + row, NULL, d->bin_lately[k], d->part_lately[k], y, 0.004f);
  }
  for (int m = 0; m < M; m++) {
    if (!d->agrees[m]) continue;
    float *p = w->match + m * LENGTHS + position->lengths[m],
          *seen = w->match_seen + m * LENGTHS + position->lengths[m];
    float own = 1.0f / (*seen + 1.5f), hit = d->agrees[m] == 1 + bit ? 1.0f : 0.0f;
    *p = inside(*p + (hit - *p) * (own > 0.002f ? own : 0.002f), 1e-4f);
    *seen += 1.0f;
  }
}

static void learn_slots(const Counts *counts, Decision *d, int bit) {
  for (int k = 0; k < K; k++) {
    int follows = k >= LAZY && k < NUM_ORDERS; /* a long context is counted where the shorter one was seen */
    if (d->slots[k].at < 0 && follows && d->level[k - 1] < 0) continue;
    claim(&d->slots[k]);
    learn_slot(counts, d->slots[k], bit);
  }
}

/* ---- a symbol ---- */

static Node root_of(const Counts *counts) { return (Node){.lo = 0, .hi = counts->V}; }

static void descend(const Counts *counts, Node *node, int bit) {
  int64_t cut = counts->cuts[node->node];
  node->node += bit ? cut - node->lo : 1;
  if (bit)
    node->lo = cut;
  else
    node->hi = cut;
  node->depth++;
}

/* -ln p(id) of the next symbol; learns from it as asked, after all its decisions: its probability is that of spread. */
static double meet(Counts *counts, const Reader *reader, int64_t id, int learn) {
  Position position;
  Decision decisions[MAX_DEPTH];
  int bits[MAX_DEPTH], num_decisions = 0;
  look(counts, reader, &position);
  double nats = 0;
  Node node = root_of(counts);
  while (node.hi - node.lo > 1) {
    if (node.depth % GROUP_DEPTH == 0) enter(counts, &position, &node);
    int bit = id >= counts->cuts[node.node];
    float p = decide(counts, &position, &node, &decisions[num_decisions]);
    nats -= log(bit ? (double)p : 1.0 - (double)p);
    bits[num_decisions++] = bit;
    descend(counts, &node, bit);
  }
  for (int i = 0; i < num_decisions; i++) {
    if (learn & LEARN_WEIGHTS) learn_weights(counts, &position, &decisions[i], bits[i], learn);
    if (learn & LEARN_COUNTS) learn_slots(counts, &decisions[i], bits[i]);
  }
  return nats;
}

static void spread(const Counts *counts, const Position *position, Node node, double logit, double *logits) {
  if (node.hi - node.lo == 1) {
    logits[node.lo] = logit;
    return;
  }
  Decision decision;
  if (node.depth % GROUP_DEPTH == 0) enter(counts, position, &node);
  double p = (double)decide(counts, position, &node, &decision);
  for (int bit = 0; bit < 2; bit++) {
    Node part = node;
    descend(counts, &part, bit);
    spread(counts, position, part, logit + log(bit ? p : 1.0 - p), logits);
  }
}

/* Reads T symbols of B streams; 0, or 2 where an id is no symbol. With learning there is one stream. */
int charrnn_counts_read(const Reading *reading) {
  Counts *counts = reading->counts;
  int64_t T = reading->T, B = reading->B;
  for (int64_t i = 0; i < T * B; i++) {
    if (reading->ids[i] < 0 || reading->ids[i] >= counts->V) return 2;
    if (reading->targets && (reading->targets[i] < 0 || reading->targets[i] >= counts->V)) return 2;
  }
  for (int64_t b = 0; b < B; b++) {
    Reader *reader = reading->readers + b;
    int learned = 0; /* whether what comes next was learned from when it was scored */
    for (int64_t t = 0; t < T; t++) {
      int64_t id = reading->ids[t * B + b];
      if (reading->learn && !learned && reader->num_read) meet(counts, reader, id, (int)reading->learn);
      push(counts, reader, id, reading->learn & LEARN_COUNTS);
      learned = 0;
      if (!reading->targets) continue;
      int64_t target = reading->targets[t * B + b];
      learned = reading->learn && t + 1 < T && reading->ids[(t + 1) * B + b] == target;
      reading->nats[t * B + b] = meet(counts, reader, target, learned ? (int)reading->learn : 0);
    }
    if (!reading->logits) continue;
    Position position;
    look(counts, reader, &position);
    spread(counts, &position, root_of(counts), 0, reading->logits + b * counts->V);
  }
  return 0;
}

/* Bytes of a Reader, for the caller to check its own. */
int64_t charrnn_counts_reader_bytes(void) { return (int64_t)sizeof(Reader); }
