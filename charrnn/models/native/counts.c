/* Counts of contexts, mixed: reads symbols, predicts each before it learns from it.
 *
 * The equations, in numpy and in the same order, are in models/counts/reference.py; this file gives the same numbers to
 * the last bit, so every product and sum is written out and none is fused.
 *
 * Legend: V symbols, B streams, T steps, K contexts, M matches, I inputs of a mixer.
 *
 * A symbol is found by decisions: node n divides symbols lo..hi at cuts[n]. Nodes are numbered from the root, left
 * before right: the left part of node n is node n + 1, the right one n + (cuts[n] - lo).
 *
 * What slots hold depends on the text alone, not on the weights that mix them. So symbols go through in blocks, and
 * each block in two stages: `gather` looks at the slots of every decision, and learns in them; `mix` predicts from what
 * was seen, and learns the weights. While one thread mixes a block, another gathers the next.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "team.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#if defined(__clang__)
#pragma clang fp contract(off)
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

enum {
  K = 16, /* contexts */
  M = 2,  /* matches */
  MIXERS = 4,
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
  SURE_SEEN = 4,      /* a slot seen so often, */
  SURE_MARGIN = 4096, /* its odds so near to what came: a longer context has nothing to add */
  BLOCK = 2048,       /* decisions of a block */
  AHEAD = 8,          /* symbols whose lines are on their way from memory */
  LETTER = 1,
  NEWLINE = 3,
};

/* Slots, each with the odds of one decision in one context: as ever, and lately, in 65536ths; how often it was seen;
 * and a check of what it belongs to, 0 where it is free. 128 bytes: two lines of a cache. */
typedef struct {
  uint16_t check[LINE_SLOTS], ever[LINE_SLOTS], lately[LINE_SLOTS];
  uint8_t seen[LINE_SLOTS], hand, unused[LINE_SLOTS - 1]; /* hand: where the next search for a free slot begins */
} Line;

/* What is learned beside the slots. Mirrors `_Weights` in counts.py. */
typedef struct {
  float *ever, *lately;  /* (K, LEVELS, BINS) probability by how often seen and by log odds */
  float *ever_seen;      /* (K, LEVELS, BINS) how often each was learned from */
  float *match;          /* (M, LENGTHS) probability that a match goes on */
  float *match_seen;     /* (M, LENGTHS) */
  float *by_node;        /* (V - 1, I) weights of the mixer chosen by the node */
  float *by_match;       /* (LENGTHS * 3, I) by the first match */
  float *by_order;       /* (NUM_ORDERS * DEPTHS, I) by the longest context seen and the depth */
  float *by_last;        /* (V + 1, I) by the last symbol plus 1; 0: there is none */
  float *final;          /* (V - 1, 4) weights of the four mixers */
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
  const float *stretch;  /* (4097,) ln(p / (1 - p)) */
  const float *squash;   /* (4097,) 1 / (1 + exp(-z)), z from -14 to 14 */
  const float *rates;    /* (256,) of a slot seen n times */
  const float *bins;     /* (4096,) where a probability's log odds lie among the bins */
  const int32_t *levels; /* (256,) */
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
  int64_t T, B, learn, num_threads;
  Reader *readers;        /* (B,) */
  const int64_t *ids;     /* (T, B) read */
  const int64_t *targets; /* (T, B) scored after each, or NULL */
  double *nats;           /* (T, B) -ln p(target) */
  double *logits;         /* (B, V) ln p of what follows the last, or NULL */
} Reading;

/* What a stream says of the symbol that is to come. */
typedef struct {
  uint64_t hashes[K];
  int64_t expected[M]; /* the symbol that follows in the match, or -1 */
  int lengths[M];      /* its class of length; 0: no match */
  uint64_t last, last_two;
} Position;

/* Where the slots of up to GROUP_DEPTH decisions lie. */
typedef struct {
  uint32_t lines[K];
  uint16_t checks[K];
} Group;

/* Of one decision: its node, and what its slots hold. */
typedef struct {
  uint16_t ever[K], lately[K];
  uint8_t seen[K];   /* 0: never */
  uint8_t agrees[M]; /* 0: the match is not in this node; else 1 + the bit it expects */
  uint8_t depth, bit;
  uint16_t from_group; /* node less that of its group */
  int32_t node;
} Decision;

/* One symbol that is predicted, and learned from as `learn` says. */
typedef struct {
  uint64_t last, last_two;
  int lengths[M], learn, first_decision, num_decisions, first_group;
  double *nats; /* where -ln p is asked for, or NULL */
} Symbol;

/* Symbols that go through together. */
typedef struct {
  int num_symbols, num_decisions, num_groups;
  Symbol *symbols;     /* room for as many as decisions, since each symbol but that of V = 1 has some */
  Decision *decisions; /* (size,) */
  Group *groups;       /* (size,) */
} Block;

/* What came of one decision. */
typedef struct {
  int32_t cell[2][K]; /* of (K, LEVELS, BINS): the lower of two between which a value was taken; ever and lately */
  float part[2][K], known[K];
  float *weights[MIXERS], *final, *first, *second;
  _Alignas(64) float inputs[I];
  float z[MIXERS], p[MIXERS], mixed, part_z;
  int bin_z;
} Mixed;

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

static int length_class(int64_t length) {
  if (length < 16) return (int)length;
  if (length < 32) return (int)(16 + (length - 16) / 4);
  if (length < 64) return (int)(20 + (length - 32) / 8);
  if (length < 512) return (int)(24 + (length - 64) / 64);
  return 31;
}

/* ---- reading ---- */

static uint32_t *place(const Counts *counts, const Reader *reader, int m) {
  return counts->places[m] + (scramble(reader->rolling[m]) & (uint64_t)(counts->num_places - 1));
}

/* GOLDEN to the power of the shortest match: what a symbol that leaves it has become in `rolling`. */
static void powers_of(const Counts *counts, uint64_t *powers) {
  for (int m = 0; m < M; m++) {
    powers[m] = 1;
    for (int64_t i = 0; i < counts->min_lengths[m]; i++) powers[m] *= GOLDEN;
  }
}

/* Takes a symbol into what is remembered of the stream, and into the text where it is learned from. */
static void push(Counts *counts, const uint64_t *powers, Reader *reader, int64_t id, int learns) {
  for (int m = 0; m < M; m++) {
    uint64_t leaving = powers[m] * recent(reader, counts->min_lengths[m]);
    reader->rolling[m] = reader->rolling[m] * GOLDEN + (uint64_t)id + 1 - leaving;
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
  position->last = last;
  position->last_two = last * 65537 + before;
}

/* ---- a block: what is known of its symbols' places and what their slots hold ---- */

/* A node on the way to a symbol, which lies in lo..hi - 1. */
typedef struct {
  int64_t node, lo, hi;
  int depth;
} Node;

static Node root_of(const Counts *counts) { return (Node){.lo = 0, .hi = counts->V}; }

static Node part_of(const Counts *counts, Node node, int bit) {
  int64_t cut = counts->cuts[node.node];
  node.node += bit ? cut - node.lo : 1;
  if (bit)
    node.lo = cut;
  else
    node.hi = cut;
  node.depth++;
  return node;
}

static void enter(const Counts *counts, const Position *position, int64_t node, Group *group) {
  for (int k = 0; k < K; k++) {
    uint64_t hash = scramble(position->hashes[k] + (uint64_t)(node + 1) * GOLDEN);
    group->lines[k] = (uint32_t)(hash & (uint64_t)(counts->num_lines - 1));
    group->checks[k] = (uint16_t)(hash >> 48);
  }
}

static void fetch(const Counts *counts, const Group *group) {
  for (int k = 0; k < K; k++)
    for (int half = 0; half < 2; half++) __builtin_prefetch((char *)(counts->lines + group->lines[k]) + 64 * half, 1);
}

static void begin_decision(const Counts *counts, const Position *position, Node node, int64_t group, Decision *d) {
  int64_t cut = counts->cuts[node.node];
  d->node = (int32_t)node.node;
  d->from_group = (uint16_t)(node.node - group);
  d->depth = (uint8_t)node.depth;
  for (int m = 0; m < M; m++) {
    int64_t expected = position->expected[m];
    d->agrees[m] = (uint8_t)(expected >= node.lo && expected < node.hi ? 1 + (expected >= cut) : 0);
  }
}

/* The place in its line of each slot of a decision, -1 where there is none, and what the slots hold. */
static void find(const Counts *counts, const Group *group, Decision *d, int8_t *places, uint16_t *checks) {
  uint16_t own = (uint16_t)((uint32_t)d->from_group * 0x9E37u);
  for (int k = 0; k < K; k++) {
    uint16_t check = (uint16_t)(group->checks[k] ^ own);
    checks[k] = check ? check : 1;
  }
  for (int k = 0; k < K; k++) {
    const Line *line = counts->lines + group->lines[k];
    int at = -1;
#if defined(__SSE2__)
    __m128i own_check = _mm_set1_epi16((short)checks[k]), held[2];
    memcpy(held, line->check, sizeof held);
    __m128i same = _mm_packs_epi16(_mm_cmpeq_epi16(held[0], own_check), _mm_cmpeq_epi16(held[1], own_check));
    int mask = _mm_movemask_epi8(same);
    if (mask) at = __builtin_ctz((unsigned)mask);
#else
    for (int i = LINE_SLOTS - 1; i >= 0; i--) at = line->check[i] == checks[k] ? i : at;
#endif
    places[k] = (int8_t)at;
    int there = at >= 0;
    at &= LINE_SLOTS - 1;
    d->ever[k] = line->ever[at];
    d->lately[k] = line->lately[at];
    d->seen[k] = there ? line->seen[at] : 0;
  }
}

/* Makes sure that there is a slot to learn in: where there is none, the one of its line seen least gives way, and of
 * those seen as little the one that is there longest. */
static int claim(Line *line, int at, uint16_t check) {
  if (at >= 0 && line->check[at] == check) return at;
  int least = line->hand % LINE_SLOTS;
  for (int i = 1; i < LINE_SLOTS; i++) {
    int next = (line->hand + i) % LINE_SLOTS;
    if (line->seen[next] < line->seen[least]) least = next;
  }
  line->hand = (uint8_t)((least + 1) % LINE_SLOTS);
  line->check[least] = check;
  line->ever[least] = line->lately[least] = 32768;
  line->seen[least] = 0;
  return least;
}

/* Whether a longer context than k is worth a slot: k was seen before, and does not yet know what comes. */
static int needs_longer(const Decision *d, int k) {
  int odds_against = d->bit ? 65535 - d->ever[k] : d->ever[k];
  return d->seen[k] && (d->seen[k] < SURE_SEEN || odds_against >= SURE_MARGIN);
}

static void learn_slots(const Counts *counts, const Group *group, const Decision *d, const int8_t *places,
                        const uint16_t *checks) {
  float y = d->bit ? 65535.0f : 0.0f;
  for (int k = 0; k < K; k++) {
    if (places[k] < 0 && k >= LAZY && k < NUM_ORDERS && !needs_longer(d, k - 1)) continue;
    Line *line = counts->lines + group->lines[k];
    int at = claim(line, places[k], checks[k]);
    float rate = counts->rates[line->seen[at]], fast = rate > 0.2f ? rate : 0.2f;
    line->ever[at] = (uint16_t)((float)line->ever[at] + (y - (float)line->ever[at]) * rate);
    line->lately[at] = (uint16_t)((float)line->lately[at] + (y - (float)line->lately[at]) * fast);
    if (line->seen[at] < MAX_SEEN) line->seen[at]++;
  }
}

/* Adds a symbol that is met next, and where its slots lie. */
static void meet(const Counts *counts, const Reader *reader, int64_t id, int learn, double *nats, Block *block) {
  Symbol *symbol = block->symbols + block->num_symbols++;
  Position position;
  look(counts, reader, &position);
  *symbol = (Symbol){.last = position.last,
                     .last_two = position.last_two,
                     .learn = learn,
                     .first_decision = block->num_decisions,
                     .first_group = block->num_groups,
                     .nats = nats};
  memcpy(symbol->lengths, position.lengths, sizeof position.lengths);
  int64_t group = 0;
  for (Node node = root_of(counts); node.hi - node.lo > 1;) {
    if (node.depth % GROUP_DEPTH == 0) {
      group = node.node;
      enter(counts, &position, group, block->groups + block->num_groups++);
    }
    Decision *d = block->decisions + block->num_decisions++;
    begin_decision(counts, &position, node, group, d);
    d->bit = id >= counts->cuts[node.node];
    node = part_of(counts, node, d->bit);
  }
  symbol->num_decisions = block->num_decisions - symbol->first_decision;
}

/* How far the symbols have gone into blocks. */
typedef struct {
  const Reading *reading;
  uint64_t powers[M];
  int64_t t, b;
  int learned; /* whether what comes next was learned from when it was scored */
} Feed;

/* Fills a block with symbols; leaves it empty at the end. */
static void fill(Feed *feed, Block *block) {
  const Reading *reading = feed->reading;
  Counts *counts = reading->counts;
  block->num_symbols = block->num_decisions = block->num_groups = 0;
  for (; feed->b < reading->B; feed->b++, feed->t = 0, feed->learned = 0) {
    Reader *reader = reading->readers + feed->b;
    for (; feed->t < reading->T; feed->t++) {
      if (block->num_decisions + 2 * MAX_DEPTH > BLOCK || block->num_symbols + 2 > BLOCK) return;
      int64_t at = feed->t * reading->B + feed->b, id = reading->ids[at];
      int learn = (int)reading->learn;
      if (learn && !feed->learned && reader->num_read) meet(counts, reader, id, learn, NULL, block);
      push(counts, feed->powers, reader, id, learn & LEARN_COUNTS);
      feed->learned = 0;
      if (!reading->targets) continue;
      int64_t target = reading->targets[at];
      feed->learned = learn && feed->t + 1 < reading->T && reading->ids[at + reading->B] == target;
      meet(counts, reader, target, feed->learned ? learn : 0, reading->nats + at, block);
    }
  }
}

static void fetch_symbol(const Counts *counts, const Block *block, int i) {
  if (i >= block->num_symbols) return;
  int end = i + 1 < block->num_symbols ? block->symbols[i + 1].first_group : block->num_groups;
  for (int g = block->symbols[i].first_group; g < end; g++) fetch(counts, block->groups + g);
}

/* Looks at the slots of each symbol's decisions, then learns in them; the decisions of one symbol see none of that. */
static void gather(const Counts *counts, Block *block) {
  int8_t places[MAX_DEPTH][K];
  uint16_t checks[MAX_DEPTH][K];
  for (int i = 0; i < AHEAD; i++) fetch_symbol(counts, block, i);
  for (int i = 0; i < block->num_symbols; i++) {
    const Symbol *symbol = block->symbols + i;
    const Group *groups = block->groups + symbol->first_group;
    Decision *decisions = block->decisions + symbol->first_decision;
    fetch_symbol(counts, block, i + AHEAD);
    for (int n = 0; n < symbol->num_decisions; n++)
      find(counts, groups + n / GROUP_DEPTH, decisions + n, places[n], checks[n]);
    if (!(symbol->learn & LEARN_COUNTS)) continue;
    for (int n = 0; n < symbol->num_decisions; n++)
      learn_slots(counts, groups + n / GROUP_DEPTH, decisions + n, places[n], checks[n]);
  }
}

/* ---- mixing ---- */

static inline float between(const float *row, int bin, float part) {
  return row[bin] + (row[bin + 1] - row[bin]) * part;
}

static inline float log_odds(const Counts *counts, float p) { return counts->stretch[(int)(p * 4096.0f)]; }

static inline float bounded(float x, float limit) { return x > limit ? limit : x < -limit ? -limit : x; }

static inline float inside(float p, float margin) {
  return p < margin ? margin : p > 1.0f - margin ? 1.0f - margin : p;
}

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

static uint32_t row_of(uint64_t context, int32_t node, int bits) {
  return (uint32_t)(scramble(context * GOLDEN + (uint64_t)node) >> (64 - bits));
}

/* What odds of slots have meant so far, as log odds; 0 where a slot was never seen. */
static void inputs_of(const Counts *counts, const float *map, const int32_t *row, const uint16_t *odds,
                      const float *known, int32_t *restrict cell, float *restrict part, float *restrict x) {
  const float *bins = counts->bins, *stretch = counts->stretch;
  for (int k = 0; k < K; k++) {
    float at = bins[odds[k] >> 4];
    int bin = (int)at;
    part[k] = at - (float)bin;
    cell[k] = row[k] + bin;
    float p = map[cell[k]] + (map[cell[k] + 1] - map[cell[k]]) * part[k];
    x[k] = stretch[(int)(p * 4096.0f)] * known[k];
  }
}

/* p(bit 1), the symbol lying right of the cut. */
static float decide(const Counts *counts, const Symbol *symbol, const Decision *d, Mixed *made) {
  const CountWeights *w = &counts->weights;
  int32_t row[K];
  float ever[K], lately[K];
  int longest = 0;
  for (int k = 0; k < K; k++) {
    row[k] = (k * LEVELS + counts->levels[d->seen[k]]) * BINS;
    made->known[k] = d->seen[k] ? 1.0f : 0.0f;
  }
  for (int k = 0; k < NUM_ORDERS; k++) longest = d->seen[k] ? k : longest;
  inputs_of(counts, w->ever, row, d->ever, made->known, made->cell[0], made->part[0], ever);
  inputs_of(counts, w->lately, row, d->lately, made->known, made->cell[1], made->part[1], lately);
  for (int k = 0; k < K; k++) {
    made->inputs[2 * k] = ever[k];
    made->inputs[2 * k + 1] = lately[k];
  }
  for (int m = 0; m < M; m++) {
    float p = w->match[m * LENGTHS + symbol->lengths[m]];
    float sign = d->agrees[m] == 0 ? 0.0f : d->agrees[m] == 2 ? 1.0f : -1.0f;
    made->inputs[2 * K + 2 * m] = sign * log_odds(counts, p);
    made->inputs[2 * K + 2 * m + 1] = sign * (p - 0.5f) * 4.0f;
  }
  made->inputs[2 * K + 2 * M] = 0.3f;
  for (int i = 2 * K + 2 * M + 1; i < I; i++) made->inputs[i] = 0;
  int depth = d->depth < DEPTHS ? d->depth : DEPTHS - 1;
  made->weights[0] = w->by_node + (int64_t)d->node * I;
  made->weights[1] = w->by_match + ((d->agrees[0] ? symbol->lengths[0] : 0) * 3 + d->agrees[0]) * I;
  made->weights[2] = w->by_order + (longest * DEPTHS + depth) * I;
  made->weights[3] = w->by_last + (int64_t)symbol->last * I;
  made->final = w->final + (int64_t)d->node * MIXERS;
  float z = 0;
  for (int s = 0; s < MIXERS; s++) {
    made->z[s] = bounded(dot(made->weights[s], made->inputs), 13.9f);
    made->p[s] = probability_of(counts, made->z[s]);
    z += made->final[s] * made->z[s];
  }
  z = bounded(z, 11.99f);
  made->mixed = probability_of(counts, z);
  float at = (z + 12.0f) * (4.0f / 3.0f);
  made->bin_z = (int)at;
  made->part_z = at - (float)made->bin_z;
  made->first = w->first + row_of(symbol->last, d->node, FIRST_BITS) * ODDS;
  made->second = w->second + row_of(symbol->last_two, d->node, SECOND_BITS) * ODDS;
  float corrected = between(made->first, made->bin_z, made->part_z) + between(made->second, made->bin_z, made->part_z);
  return 0.5f * made->mixed + 0.25f * corrected;
}

/* Moves the two values between which each input was taken; seen, where there is one, slows it down. */
static void learn_inputs(float *restrict map, float *restrict seen, const int32_t *cell, const float *part,
                         const float *known, float y, float slowest) {
  for (int j = 0; j < 2; j++) {
#pragma GCC ivdep
    for (int k = 0; k < K; k++) { /* no two contexts share a value */
      int32_t at = cell[k] + j;
      float share = (j ? part[k] : 1.0f - part[k]) * known[k], rate = slowest;
      if (seen) {
        float own = 1.0f / (seen[at] + 1.5f);
        rate = own > slowest ? own : slowest;
        seen[at] += share;
      }
      map[at] = inside(map[at] + (y - map[at]) * rate * share, 1e-4f);
    }
  }
}

static void learn_correction(float *row, int bin, float part, float y) {
  row[bin] = inside(row[bin] + (y - row[bin]) * 0.02f * (1.0f - part), 1e-4f);
  row[bin + 1] = inside(row[bin + 1] + (y - row[bin + 1]) * 0.02f * part, 1e-4f);
}

static void learn_weights(const Counts *counts, const Symbol *symbol, const Decision *d, Mixed *made) {
  const CountWeights *w = &counts->weights;
  float y = (float)d->bit, rate = 0.002f + 0.018f / (1.0f + w->decisions[0] * 2e-6f);
  if (symbol->learn & LEARN_SLOWLY) rate = 0.001f;
  if (w->decisions[0] < 16777216.0f) w->decisions[0] += 1.0f;
  for (int s = 0; s < MIXERS; s++) {
    float step = (y - made->p[s]) * rate, *weights = made->weights[s];
    const float *inputs = made->inputs;
#pragma GCC ivdep
    for (int i = 0; i < I; i++) weights[i] += step * inputs[i];
  }
  float step = (y - made->mixed) * 0.002f;
  for (int s = 0; s < MIXERS; s++) made->final[s] += step * made->z[s];
  learn_correction(made->first, made->bin_z, made->part_z, y);
  learn_correction(made->second, made->bin_z, made->part_z, y);
  learn_inputs(w->ever, w->ever_seen, made->cell[0], made->part[0], made->known, y, 0.002f);
  learn_inputs(w->lately, NULL, made->cell[1], made->part[1], made->known, y, 0.004f);
  for (int m = 0; m < M; m++) {
    if (!d->agrees[m]) continue;
    float *p = w->match + m * LENGTHS + symbol->lengths[m], *seen = w->match_seen + m * LENGTHS + symbol->lengths[m];
    float own = 1.0f / (*seen + 1.5f), hit = d->agrees[m] == 1 + d->bit ? 1.0f : 0.0f;
    *p = inside(*p + (hit - *p) * (own > 0.002f ? own : 0.002f), 1e-4f);
    *seen += 1.0f;
  }
}

/* Has the corrections of a symbol's decisions on their way from memory; the table of the others stays in a cache. */
static void fetch_corrections(const Counts *counts, const Block *block, int i) {
  if (i >= block->num_symbols) return;
  const Symbol *symbol = block->symbols + i;
  const Decision *decisions = block->decisions + symbol->first_decision;
  for (int n = 0; n < symbol->num_decisions; n++) {
    const float *row = counts->weights.second + row_of(symbol->last_two, decisions[n].node, SECOND_BITS) * ODDS;
    for (int i = 0; i < ODDS; i += 16) __builtin_prefetch(row + i, 1);
  }
}

/* Predicts each symbol, then learns from it after all its decisions: its probability is that of `spread`. */
static void mix(const Counts *counts, const Block *block) {
  Mixed made[MAX_DEPTH];
  for (int i = 0; i < block->num_symbols; i++) {
    const Symbol *symbol = block->symbols + i;
    const Decision *decisions = block->decisions + symbol->first_decision;
    double nats = 0, product = 1;
    fetch_corrections(counts, block, i + 1);
    for (int n = 0; n < symbol->num_decisions; n++) {
      double p = (double)decide(counts, symbol, decisions + n, made + n);
      product *= decisions[n].bit ? p : 1.0 - p;
      if (product < 1e-200) { /* before it is lost */
        nats -= log(product);
        product = 1;
      }
    }
    if (symbol->nats) *symbol->nats = nats - log(product);
    if (!(symbol->learn & LEARN_WEIGHTS)) continue;
    for (int n = 0; n < symbol->num_decisions; n++) learn_weights(counts, symbol, decisions + n, made + n);
  }
}

/* ---- a reading ---- */

/* The two stages of neighbouring blocks: what each does touches nothing of the other's. */
typedef struct {
  const Counts *counts;
  Feed *feed;
  Block *next, *this;
} Stages;

static void run_stage(void *job, long stage) {
  Stages *stages = job;
  if (stage == 0) {
    fill(stages->feed, stages->next);
    gather(stages->counts, stages->next);
  } else {
    mix(stages->counts, stages->this);
  }
}

/* ln p of every symbol below a node, `logit` being that of the node. */
static void spread(const Counts *counts, const Position *position, const Symbol *symbol, Node node, int64_t group,
                   Group *lines, double logit, double *logits) {
  if (node.hi - node.lo == 1) {
    logits[node.lo] = logit;
    return;
  }
  Decision d;
  Mixed made;
  Group own;
  int8_t places[K];
  uint16_t checks[K];
  if (node.depth % GROUP_DEPTH == 0) {
    group = node.node;
    lines = &own;
    enter(counts, position, group, lines);
    fetch(counts, lines);
  }
  begin_decision(counts, position, node, group, &d);
  find(counts, lines, &d, places, checks);
  double p = (double)decide(counts, symbol, &d, &made);
  for (int bit = 0; bit < 2; bit++)
    spread(counts, position, symbol, part_of(counts, node, bit), group, lines, logit + log(bit ? p : 1.0 - p), logits);
}

/* Reads T symbols of B streams; 0, or 1 where memory is lacking, or 2 where an id is no symbol. With learning there is
 * one stream. */
int charrnn_counts_read(const Reading *reading) {
  Counts *counts = reading->counts;
  int64_t num_ids = reading->T * reading->B;
  for (int64_t i = 0; i < num_ids; i++) {
    if (reading->ids[i] < 0 || reading->ids[i] >= counts->V) return 2;
    if (reading->targets && (reading->targets[i] < 0 || reading->targets[i] >= counts->V)) return 2;
  }
  Feed feed = {.reading = reading};
  powers_of(counts, feed.powers);
  if (!reading->targets && !reading->learn) {
    Block none;
    fill(&feed, &none);
  } else {
    int64_t most = 2 * num_ids * MAX_DEPTH < BLOCK ? 2 * num_ids * MAX_DEPTH : BLOCK;
    Block blocks[2];
    char *room = malloc((size_t)(2 * most + 1) * (sizeof(Decision) + sizeof(Group) + sizeof(Symbol)));
    if (!room) return 1;
    for (int i = 0; i < 2; i++) {
      char *own = room + (size_t)(i * most) * (sizeof(Decision) + sizeof(Group) + sizeof(Symbol));
      blocks[i].symbols = (Symbol *)own;
      blocks[i].decisions = (Decision *)(own + (size_t)most * sizeof(Symbol));
      blocks[i].groups = (Group *)(own + (size_t)most * (sizeof(Symbol) + sizeof(Decision)));
    }
    Stages stages = {.counts = counts, .feed = &feed, .next = blocks, .this = blocks + 1};
    run_stage(&stages, 0);
    while (stages.next->num_symbols) {
      Block *filled = stages.next;
      stages.next = stages.this;
      stages.this = filled;
      team_run(run_stage, &stages, 2, reading->num_threads < 2 ? reading->num_threads : 2);
    }
    free(room);
  }
  for (int64_t b = 0; reading->logits && b < reading->B; b++) {
    Position position;
    look(counts, reading->readers + b, &position);
    Symbol symbol = {.last = position.last, .last_two = position.last_two};
    memcpy(symbol.lengths, position.lengths, sizeof position.lengths);
    spread(counts, &position, &symbol, root_of(counts), 0, NULL, 0, reading->logits + b * counts->V);
  }
  return 0;
}

/* Bytes of a Reader, for the caller to check its own. */
int64_t charrnn_counts_reader_bytes(void) { return (int64_t)sizeof(Reader); }
