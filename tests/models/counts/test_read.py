"""The counts in C against their equations in numpy, to the last bit; and what the kernel does with any bytes at all."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from small_counts import classes_for, empty_tables, ids_for

from charrnn.errors import InputError
from charrnn.models.counts import reference
from charrnn.models.counts.tables import LINE, READER, Learn
from charrnn.models.native import build

pytestmark = pytest.mark.skipif(build.library() is None, reason=f"no native kernels here: {build.unavailable_reason()}")

native = pytest.importorskip("charrnn.models.native.counts")

ALL = Learn.COUNTS | Learn.WEIGHTS


def same(one, other):
    """Makes sure that two models of counts are equal in every byte."""
    assert one.num_text == other.num_text
    for part in ("lines", "text", "places"):
        np.testing.assert_array_equal(getattr(one, part).view(np.uint8), getattr(other, part).view(np.uint8))
    for name, weight in one.weights.items():
        np.testing.assert_array_equal(weight, other.weights[name], err_msg=name)


class Both:
    """The kernel and the equations, side by side on tables of their own."""

    def __init__(self, ids, classes, *, num_streams=1, **size):
        self.tables = [empty_tables(ids, classes, **size) for _ in range(2)]
        self.readers = [np.zeros(num_streams, READER) for _ in range(2)]

    def read(self, ids, **how):
        """What both give; makes sure that it is the same, and so is what they have learned."""
        found = [
            read(tables, readers, ids, **how)
            for read, tables, readers in zip((native.read, reference.read), self.tables, self.readers, strict=True)
        ]
        for kernel, equations in zip(*found, strict=True):
            np.testing.assert_array_equal(kernel, equations)
        np.testing.assert_array_equal(*(readers.view(np.uint8) for readers in self.readers))
        same(*self.tables)
        return found[0]


@pytest.mark.parametrize(
    ("num_symbols", "length", "num_lines", "newline"),
    [(1, 40, 4, True), (2, 700, 256, False), (3, 300, 2, True), (65, 250, 1024, True), (65, 150, 2, False)],
)
def test_the_kernel_gives_the_numbers_of_the_equations(num_symbols, length, num_lines, newline):
    """While everything is learned, some of it, or nothing, scored or not; a table of two lines is soon full."""
    ids = ids_for(num_symbols, length)
    both = Both(ids, classes_for(num_symbols, newline=newline), num_lines=num_lines, text_space=length // 2)
    parts = np.array_split(ids, 5)
    for part, learn in zip(parts, (ALL, Learn.COUNTS, Learn.WEIGHTS, Learn.WEIGHTS | Learn.SLOWLY, ALL), strict=True):
        both.read(part[:-1, None], targets=part[1:, None], learn=learn)
        both.read(part[-1:, None], learn=learn)
    nats, logits = both.read(parts[0][:, None], targets=np.roll(parts[0], 1)[:, None], logits=True)
    assert np.isfinite(nats).all()
    np.testing.assert_allclose(np.exp(logits).sum(), 1, rtol=1e-12)  # float64 sums
    assert both.tables[0].num_text == length // 2  # the text is full
    if num_symbols > 1:
        assert (both.tables[0].lines["seen"] > 0).any()
        assert (both.readers[0]["lengths"] > 0).any() or num_lines == 2


def test_the_kernel_gives_the_numbers_of_the_equations_for_many_symbols():
    ids = ids_for(300, 150)
    both = Both(ids, classes_for(300), num_lines=64)
    both.read(ids[:-1, None], targets=ids[1:, None], learn=ALL)
    both.read(ids[:2, None], logits=True)


def test_streams_side_by_side_have_the_numbers_of_the_equations():
    ids = ids_for(7, 240)
    both = Both(ids, classes_for(7), num_lines=256, num_streams=3)
    alone = [readers[:1] for readers in both.readers]
    for tables, readers, read in zip(both.tables, alone, (native.read, reference.read), strict=True):
        read(tables, readers, ids[:, None], learn=ALL)
    together = ids.reshape(3, 80).T
    both.read(together[:-1], targets=together[1:], logits=True)


def test_a_line_longer_than_what_is_kept_equals_the_equations():
    ids = np.ones(1200, np.int64)
    ids[[3, 1150]] = 0
    both = Both(ids, classes_for(2), num_lines=256)
    both.read(ids[:, None])
    both.read(ids[:9, None], targets=ids[1:10, None], learn=ALL, logits=True)


def test_counts_that_have_reached_their_most_have_the_numbers_of_the_equations():
    ids = np.tile([0, 1, 1], 110)
    both = Both(ids, classes_for(2), num_lines=256)
    both.tables[0].lines["seen"] = both.tables[1].lines["seen"] = 255
    for tables in both.tables:
        tables.lines["check"] = np.arange(len(tables.lines))[:, None]
    both.read(ids[:, None], learn=ALL, logits=True)
    assert both.tables[0].lines["seen"].max() == 255


@pytest.mark.parametrize("num_symbols", [2, 65, 300])
def test_lines_of_any_bytes_give_probabilities(num_symbols):
    """What a file says of slots is not checked, since nothing they can hold does harm."""
    ids = ids_for(num_symbols, 60)
    both = Both(ids, classes_for(num_symbols), num_lines=32)
    noise = np.random.default_rng(1).integers(0, 256, both.tables[0].lines.nbytes, np.uint8).view(LINE)
    for tables in both.tables:
        tables.lines[:] = noise
        tables.lines["check"][:, :4] = np.random.default_rng(2).integers(0, 9, (32, 4))
    nats, logits = both.read(ids[:-1, None], targets=ids[1:, None], logits=True, learn=ALL)
    assert (nats > 0).all()
    np.testing.assert_allclose(np.exp(logits).sum(), 1, rtol=1e-12)


@pytest.mark.parametrize("bad", [-1, 5, 1 << 40])
def test_an_id_that_is_no_symbol_is_refused_before_anything_is_learned(bad):
    ids = ids_for(5, 40)[:, None]
    tables, readers = empty_tables(ids[:, 0], classes_for(5)), np.zeros(1, READER)
    wrong = ids.copy()
    wrong[-1] = bad
    for given in ({"ids": wrong}, {"ids": ids, "targets": wrong}):
        with pytest.raises(InputError, match="5 symbols"):
            native.read(tables, readers, learn=ALL, **given)
    assert not tables.lines.view(np.uint8).any()
    assert not readers.view(np.uint8).any()


def test_what_is_remembered_of_streams_must_have_the_form_of_the_kernel():
    with pytest.raises(TypeError, match="READER"):
        native.read(empty_tables(np.zeros(3, np.int64), classes_for(2)), np.zeros(1, LINE), np.zeros((1, 1), np.int64))


SANITIZED = r"""
static float *filled(long n, float value) {
  float *x = malloc((size_t)n * sizeof(float));
  for (long i = 0; i < n; i++) x[i] = value;
  return x;
}

static uint32_t noise(void) {
  static uint32_t x = 1;
  x = x * 1664525u + 1013904223u;
  return x >> 8;
}

/* A model whose lines hold any bytes at all, and whose weights stand at the borders of what a file may hold. */
static int reads(int64_t V, int64_t num_lines, float weight, float p) {
  int64_t nodes = V > 1 ? V - 1 : 1, N = 300, num_places = 16;
  Line *lines = malloc((size_t)num_lines * sizeof(Line));
  for (size_t i = 0; i < (size_t)num_lines * sizeof(Line); i++) ((uint8_t *)lines)[i] = (uint8_t)noise();
  int64_t *cuts = malloc((size_t)(V > 1 ? V - 1 : 1) * sizeof(int64_t));
  int32_t *levels = malloc(256 * sizeof(int32_t));
  for (int64_t i = 0; i < V - 1; i++) cuts[i] = i + 1;
  for (int i = 0; i < 256; i++) levels[i] = i < LEVELS ? i : LEVELS - 1;
  uint8_t *classes = malloc((size_t)V);
  for (int64_t i = 0; i < V; i++) classes[i] = (uint8_t)noise();
  classes[0] = NEWLINE;
  uint16_t *text = malloc((size_t)N * 2);
  for (int64_t i = 0; i < N; i++) text[i] = (uint16_t)(noise() % (uint32_t)V);
  uint32_t *places[M];
  for (int m = 0; m < M; m++) {
    places[m] = malloc((size_t)num_places * 4);
    for (int64_t i = 0; i < num_places; i++) places[m][i] = noise() % 100;
  }
  float *stretch = malloc(4097 * sizeof(float)), *squash = malloc(4097 * sizeof(float));
  for (int i = 0; i < 4097; i++) {
    double q = (i + 0.5) / 4097;
    stretch[i] = (float)log(q / (1 - q));
    squash[i] = (float)(1 / (1 + exp(14 - i * 28.0 / 4096)));
  }
  CountWeights w = {
      filled(K * LEVELS * BINS, p), filled(K * LEVELS * BINS, p), filled(K * LEVELS * BINS, 3e38f),
      filled(M * LENGTHS, p), filled(M * LENGTHS, 3e38f), filled(nodes * I, weight), filled(LENGTHS * 3 * I, weight),
      filled(NUM_ORDERS * DEPTHS * I, weight),
      filled((V + 1) * I, weight), filled(nodes * MIXERS, weight), filled((1L << FIRST_BITS) * ODDS, p),
      filled((1L << SECOND_BITS) * ODDS, p), filled(1, 3e38f),
  };
  float *rates = filled(256, 0.5f), *bins = filled(4096, BINS - 1.001f);
  Counts counts = {.V = V, .num_lines = num_lines, .num_places = num_places, .num_text = 99, .text_space = N,
                   .min_lengths = {6, 16}, .lines = lines, .text = text, .places = {places[0], places[1]},
                   .cuts = cuts, .classes = classes, .weights = w, .stretch = stretch, .squash = squash,
                   .rates = rates, .bins = bins, .levels = levels};
  enum { B = 2, T = 60 };
  int64_t ids[T * B];
  double nats[T * B], *logits = malloc((size_t)(B * V) * sizeof(double));
  Reader *readers = calloc(B, sizeof(Reader));
  int bad = 0;
  for (int learn = 0; learn < 8; learn++) {
    for (int i = 0; i < T * B; i++) ids[i] = i % 40 < 20 ? i % 20 % V : noise() % (uint32_t)V;
    int streams = learn ? 1 : B;
    Reading reading = {&counts, T / 2, streams, learn, 1 + learn % 2, readers, ids, ids + streams, nats, logits};
    bad = bad || charrnn_counts_read(&reading);
    for (int i = 0; i < T / 2 * streams; i++) bad = bad || !(nats[i] >= 0);
    double total = 0;
    for (int64_t i = 0; i < V; i++) total += exp(logits[i]);
    bad = bad || !(total > 0.999 && total < 1.001);
  }
  ids[3] = V;
  Reading wrong = {&counts, T, 1, 0, 1, readers, ids, NULL, nats, NULL};
  bad = bad || charrnn_counts_read(&wrong) != 2 || charrnn_counts_reader_bytes() != (int64_t)sizeof(Reader);
  void *all[] = {lines, cuts, levels, classes, text, places[0], places[1], stretch, squash, rates, bins, logits,
                 readers, w.ever, w.lately, w.ever_seen, w.match, w.match_seen, w.by_node, w.by_match, w.by_order,
                 w.by_last, w.final, w.first, w.second, w.decisions};
  for (unsigned i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
  return bad;
}

int main(void) {
  for (int large = 0; large < 3; large++)
    for (int at_border = 0; at_border < 2; at_border++) {
      float weight = large == 0 ? 0 : large == 1 ? 1e4f : -1e4f, p = at_border ? 0.99999994f : 0;
      if (reads(1, 1, weight, p) || reads(2, 2, weight, p) || reads(70, 64, weight, p)) return 1;
    }
  puts("clean");
  return 0;
}
"""


@pytest.mark.long
@pytest.mark.parametrize("target", [(), ("-march=native",)], ids=["baseline", "native"])
def test_the_kernel_is_clean_under_sanitizers_whatever_a_file_holds(tmp_path, target):
    source, program = tmp_path / "driver.c", tmp_path / "driver"
    command = [*build.compiler_command(), "-O1", "-g", "-std=gnu11", "-fsanitize=address,undefined"]
    command += ["-fsanitize=float-cast-overflow", "-fno-sanitize-recover=all", *target]
    source.write_text("int main(void) { return 0; }")
    for step in ([*command, str(source), "-o", str(program)], [str(program)]):
        if subprocess.run(step, capture_output=True, timeout=120).returncode != 0:
            pytest.skip("no working -fsanitize=address,undefined here")
    folder = Path(build.__file__).parent
    source.write_text(f'#include <stdio.h>\n#include "{folder / "counts.c"}"\n' + SANITIZED)
    made_of = [str(source), str(folder / "team.c"), "-pthread", "-lm"]
    subprocess.run([*command, *made_of, "-o", str(program)], check=True, capture_output=True, timeout=120)
    done = subprocess.run([str(program)], capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    assert done.stdout == "clean\n"
