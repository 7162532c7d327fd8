"""The C recurrence against the equations in float64 and against torch.nn, and under sanitizers."""

import ctypes
import itertools
import platform
import subprocess
from pathlib import Path

import pytest
import torch
from cells import OF_TORCH, WITH_KERNEL, torch_layer
from torch import Tensor

from charrnn.models.cells import CELLS as TABLE
from charrnn.models.native import build

pytestmark = pytest.mark.skipif(build.library() is None, reason=f"no native kernels here: {build.unavailable_reason()}")

recurrence = pytest.importorskip("charrnn.models.native.recurrence")
tensors = pytest.importorskip("charrnn.models.native.tensors")
has_bfloat16 = tensors.has_bfloat16

SIZES = [  # T, B, H, V: ones; less than a vector; more than a panel; more rows than a block holds
    (3, 2, 4, 7),
    (1, 1, 1, 1),
    (2, 13, 33, 5),
    (3, 18, 40, 9),
    (4, 5, 64, 2),
    (2, 3, 100, 6),
]
NAMES = ("h", "c")  # of the states

# Sums of up to T * B * G * H float32 products of values around 1, each rounded to 6e-8, by the largest entry.
TOLERANCE = 1e-5
# bfloat16 keeps 8 bits: each factor is off by up to 2^-9, and the state carries it through T steps.
BF16_TOLERANCE = 4e-2

Tensors = dict[str, Tensor | None]


def leaves(cell: str, sizes: tuple[int, int, int, int], *, by_id: bool, bias: bool) -> tuple[Tensors, Tensor | None]:
    """Random inputs, state and weights of a layer in float32, and ids where they are asked for."""
    steps, batch, size, vocab = sizes
    torch.manual_seed(steps * 1000 + batch * 100 + size)
    rows = TABLE[cell].num_gates * size
    shapes = {"x": (vocab, rows) if by_id else (steps, batch, rows)}
    shapes |= {name: (batch, size) for name, _ in zip(NAMES, TABLE[cell].states, strict=False)}
    shapes["weight_hh"] = (rows, size)
    if bias:
        shapes["bias_hh"] = (rows,)
    tensors: Tensors = {name: torch.randn(shape) * 0.7 for name, shape in shapes.items()}
    tensors["weight_hh"] /= size**0.5
    ids = torch.randint(vocab, (steps, batch)) if by_id else None
    return {name: tensor.requires_grad_() for name, tensor in tensors.items()}, ids


def state_of(given: Tensors) -> tuple[Tensor, ...]:
    return tuple(given[name] for name in NAMES if name in given)


def unroll(cell: str, given: Tensors, ids: Tensor | None) -> tuple[Tensor, tuple[Tensor, ...]]:
    x, state, bias = given["x"], state_of(given), given.get("bias_hh", 0)
    outputs = []
    for row in x if ids is None else x[ids]:
        state = TABLE[cell].step(row, state, given["weight_hh"], bias, torch.tanh)
        outputs.append(state[0])
    return torch.stack(outputs), state


def native(cell: str, given: Tensors, ids: Tensor | None, **options: object) -> tuple[Tensor, tuple[Tensor, ...]]:
    options = {"num_threads": 2} | options
    weights = given["weight_hh"], given.get("bias_hh")
    return recurrence.recur(TABLE[cell].kernel, given["x"], ids, state_of(given), *weights, **options)


def results(found: tuple[Tensor, tuple[Tensor, ...]], given: Tensors) -> dict[str, Tensor]:
    """Outputs, last state and the gradients of a fixed weighted sum of all of them."""
    outputs, after = found
    named = {"outputs": outputs} | {f"{name}_T": part for name, part in zip(NAMES, after, strict=False)}
    torch.manual_seed(1)
    weighted = sum((value * torch.randn(value.shape).to(value.dtype)).sum() for value in named.values())
    gradients = torch.autograd.grad(weighted, list(given.values()))
    return named | {f"grad {name}": gradient for name, gradient in zip(given, gradients, strict=True)}


def check(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].shape == value.shape
        scale = max(1.0, value.abs().max().item())
        assert (found[name] - value).abs().max().item() <= tolerance * scale, name


def in_float64(given: Tensors) -> Tensors:
    return {name: tensor.detach().double().requires_grad_() for name, tensor in given.items()}


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("cell", WITH_KERNEL)
def test_outputs_state_and_gradients_equal_the_equations(cell: str, sizes: tuple[int, ...]) -> None:
    for by_id, bias, num_threads in itertools.product((False, True), (False, True), (1, 2, 5)):
        given, ids = leaves(cell, sizes, by_id=by_id, bias=bias)
        double = in_float64(given)
        expected = results(unroll(cell, double, ids), double)
        check(results(native(cell, given, ids, num_threads=num_threads), given), expected, TOLERANCE)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("cell", WITH_KERNEL)
def test_bfloat16_products_stay_near_the_equations(cell: str, sizes: tuple[int, ...]) -> None:
    if not has_bfloat16():
        pytest.skip("this processor has no bfloat16 products")
    for by_id, num_threads in itertools.product((False, True), (1, 2)):
        given, ids = leaves(cell, sizes, by_id=by_id, bias=True)
        double = in_float64(given)
        expected = results(unroll(cell, double, ids), double)
        found = results(native(cell, given, ids, num_threads=num_threads, precision="bfloat16"), given)
        check(found, expected, BF16_TOLERANCE)


@pytest.mark.parametrize("cell", [cell for cell in OF_TORCH if cell in WITH_KERNEL])
def test_the_kernel_equals_torch_nn(cell: str) -> None:
    steps, batch, size, vocab = 5, 3, 21, 7
    layer = torch_layer(cell, vocab, size)
    ids = torch.randint(vocab, (steps, batch))
    state = tuple(torch.randn(batch, size) * 0.5 for _ in TABLE[cell].states)
    start = tuple(part[None] for part in state)
    one_hot = torch.nn.functional.one_hot(ids, vocab).float()
    expected, _ = layer(one_hot, start if len(start) > 1 else start[0])
    table = layer.weight_ih_l0.T + layer.bias_ih_l0
    kernel = TABLE[cell].kernel
    outputs, _ = recurrence.recur(kernel, table, ids, state, layer.weight_hh_l0, layer.bias_hh_l0, num_threads=2)
    parameters = list(layer.parameters())
    weights = torch.randn_like(expected)
    found = torch.autograd.grad((outputs * weights).sum(), parameters)
    wanted = torch.autograd.grad((expected * weights).sum(), parameters)
    assert torch.allclose(outputs, expected, atol=1e-6)  # both round in float32, values below 1
    for mine, theirs in zip(found, wanted, strict=True):
        assert (mine - theirs).abs().max() <= TOLERANCE * max(1.0, theirs.abs().max().item())


@pytest.fixture(scope="module")
def no_cache(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The kernels built for cores without a cache: threads share the units of every layer, not of large ones alone."""
    path = tmp_path_factory.mktemp("no_cache") / "kernels.so"
    flags = (*build.FLAGS, *build.NATIVE_FLAGS, "-DCACHE_BYTES=0")
    build.compile_library(path, flags=flags, command=build.compiler_command())
    return ctypes.CDLL(str(path))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("cell", WITH_KERNEL)
@pytest.mark.parametrize("shared", ["streams", "units"])
def test_the_number_of_threads_changes_no_bit(
    cell: str, precision: str, shared: str, no_cache: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch
) -> None:
    if precision == "bfloat16" and not has_bfloat16():
        pytest.skip("this processor has no bfloat16 products")
    given, ids = leaves(cell, (4, 19, 101, 5), by_id=True, bias=True)
    one = results(native(cell, given, ids, num_threads=1, precision=precision), given)
    if shared == "units":
        monkeypatch.setattr(tensors, "library_functions", lambda: no_cache)
    for num_threads in (2, 3, 7, 64):
        many = results(native(cell, given, ids, num_threads=num_threads, precision=precision), given)
        assert all(torch.equal(many[name], one[name]) for name in one)


def test_without_gradients_the_outputs_are_the_same() -> None:
    for cell in WITH_KERNEL:
        given, ids = leaves(cell, (3, 2, 5, 7), by_id=True, bias=True)
        expected, _ = native(cell, given, ids)
        with torch.no_grad():
            outputs, _ = native(cell, given, ids)
        assert torch.equal(outputs, expected)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("cell", WITH_KERNEL)
def test_what_is_not_finite_shows_where_it_would_in_torch(cell: str, value: float) -> None:
    given, ids = leaves(cell, (3, 4, 9, 5), by_id=False, bias=True)
    with torch.no_grad():
        given["x"][1, 2, 3] = value
        expected, _ = unroll(cell, given, ids)
        found, _ = native(cell, given, ids)
    assert torch.equal(found.isnan(), expected.isnan())
    assert torch.allclose(found, expected, atol=1e-5, equal_nan=True)  # float32 on both sides


def test_large_inputs_saturate_as_the_equations_do() -> None:
    given, ids = leaves("lstm", (2, 3, 4, 7), by_id=False, bias=True)
    with torch.no_grad():
        given["x"] *= 1000
        expected, _ = unroll("lstm", given, ids)
        found, _ = native("lstm", given, ids)
    assert torch.allclose(found, expected, atol=1e-6)  # one rounding of values up to 1


def test_an_id_outside_the_table_is_refused() -> None:
    given, ids = leaves("gru", (3, 2, 4, 7), by_id=True, bias=True)
    for bad in (-1, 7):
        ids[1, 1] = bad
        with pytest.raises(IndexError):
            native("gru", given, ids)


def test_a_tensor_of_the_wrong_shape_or_type_is_refused() -> None:
    given, ids = leaves("gru", (3, 2, 4, 7), by_id=True, bias=True)
    for name in given:
        with pytest.raises(RuntimeError):
            native("gru", given | {name: given[name][:-1] if name != "x" else given[name][:, :-1]}, ids)
        with pytest.raises(RuntimeError):
            native("gru", given | {name: given[name].double()}, ids)


def test_tensors_that_are_not_contiguous_are_read_right() -> None:
    given, ids = leaves("gru", (3, 2, 4, 7), by_id=False, bias=True)
    expected, _ = native("gru", given, ids)
    turned = {name: tensor.detach().t().contiguous().t() for name, tensor in given.items() if tensor.dim() == 2}
    turned["x"] = given["x"].detach().transpose(0, 1).contiguous().transpose(0, 1)
    assert torch.equal(native("gru", given | turned, ids)[0], expected)


@pytest.mark.parametrize("target", ["x86-64", "x86-64-v3", "x86-64-v4", "cooperlake"])
def test_every_width_of_vector_gives_the_same_numbers(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if platform.machine() != "x86_64":
        pytest.skip("the widths are those of x86-64")
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    needed = {"x86-64": "sse2", "x86-64-v3": "avx2", "x86-64-v4": "avx512vl", "cooperlake": "avx512_bf16"}[target]
    if needed not in flags:
        pytest.skip(f"this processor lacks {needed}")
    path = tmp_path / "kernels.so"
    try:
        build.compile_library(path, flags=(*build.FLAGS, f"-march={target}"), command=build.compiler_command())
    except subprocess.SubprocessError:
        pytest.skip(f"this compiler does not know {target}")
    library = ctypes.CDLL(str(path))
    monkeypatch.setattr(tensors, "library_functions", lambda: library)
    for cell in WITH_KERNEL:
        given, ids = leaves(cell, (3, 18, 40, 9), by_id=True, bias=True)
        double = in_float64(given)
        expected = results(unroll(cell, double, ids), double)
        check(results(native(cell, given, ids), given), expected, TOLERANCE)
        if has_bfloat16():
            check(
                results(native(cell, given, ids, precision="bfloat16"), given),
                expected,
                BF16_TOLERANCE,
            )


SANITIZED = r"""
static float *filled(long count, float scale) {
  float *values = malloc((size_t)count * sizeof(float)); /* exactly: a step past the end is caught */
  for (long i = 0; i < count; i++) values[i] = scale * (float)((i * 7919) % 31 - 15) / 15.0f;
  return values;
}

static int64_t *numbered(long count, long V) {
  int64_t *ids = malloc((size_t)count * sizeof(int64_t));
  for (long i = 0; i < count; i++) ids[i] = i % V;
  return ids;
}

static int window(int bf16, int cell, long T, long B, long H, long V, int num_threads, int by_id) {
  CellFacts facts;
  charrnn_cell_facts(cell, &facts);
  long rows = facts.num_gates * H, N = T * B, BH = B * H;
  int64_t *ids = numbered(N, V);
  float *table = filled(V * rows, 0), *bias = filled(rows, 0);
  Window w = {.cell = cell, .T = T, .B = B, .H = H, .V = V, .num_threads = num_threads, .precision = bf16};
  w.x = filled((by_id ? V : N) * rows, 1);
  w.ids = by_id ? ids : NULL;
  w.weight_hh = filled(rows * H, 0.3f);
  w.bias_hh = filled(rows, 1);
  w.hidden = filled((T + 1) * BH, 1);
  w.cells = facts.has_cell ? filled((T + 1) * BH, 1) : NULL;
  w.saved = filled(N * facts.num_saved * H + 1, 1);
  w.grad_outputs = filled(N * H, 1);
  w.grad_hidden = filled(BH, 1);
  w.grad_cells = facts.has_cell ? filled(BH, 1) : NULL;
  w.grad_x = filled(N * rows, 1);
  w.grad_new = facts.has_grad_new ? filled(N * H, 1) : NULL;
  w.grad_table = by_id ? table : NULL;
  w.grad_bias = bias;
  w.grad_weight = filled(rows * H, 1);
  int bad = charrnn_forward(&w) || charrnn_backward(&w);
  for (long i = 0; i < BH; i++) bad = bad || !(w.grad_hidden[i] < 1e6f);
  const void *all[] = {w.x, ids, w.weight_hh, w.bias_hh, w.hidden, w.cells, w.saved, w.grad_outputs,
                       w.grad_hidden, w.grad_cells, w.grad_x, w.grad_new, table, bias, w.grad_weight};
  for (unsigned i = 0; i < sizeof all / sizeof *all; i++) free((void *)all[i]);
  return bad;
}

static int network(int cell, long T, long B, long H, long V, int num_threads, int embeds) {
  CellFacts facts;
  charrnn_cell_facts(cell, &facts);
  long rows = facts.num_gates * H, L = 2, E = 3;
  float *table = filled(V * rows, 1), *square = filled(rows * H, 0.3f), *bias = filled(rows, 1);
  float *embedding = filled(V * E, 1), *input = filled(rows * E, 0.3f);
  float *out = filled(V * H, 1), *bias_out = filled(V, 1);
  const float *squares[] = {square, square}, *biases[] = {bias, bias};
  const float *inputs[] = {input, square};
  const float *symbols = embeds ? embedding : table;
  Weights w = {cell, L, H, V, embeds ? E : 0, symbols, inputs, squares, biases, biases, out, bias_out};
  void *handle = charrnn_network_new(&w);
  Run run = {.network = handle, .T = T, .B = B, .num_threads = num_threads};
  int64_t *ids = numbered(T * B, V), *drawn = malloc((size_t)(T * B) * sizeof(int64_t));
  double *nats = malloc((size_t)(T * B) * sizeof(double)), *uniforms = malloc((size_t)(T * B) * sizeof(double));
  uint8_t *follows = calloc((size_t)V, 1), *allowed = malloc((size_t)V), *marks = calloc((size_t)B, 1);
  memset(allowed, 1, (size_t)V);
  for (long i = 0; i < T * B; i++) uniforms[i] = (double)(i % 7) / 7;
  run.ids = ids;
  run.targets = ids;
  run.hidden = filled(L * B * H, 1);
  run.cells = facts.has_cell ? filled(L * B * H, 1) : NULL;
  run.logits = filled(T * B * V, 1);
  run.nats = nats;
  int bad = handle == NULL || charrnn_network_run(&run);
  run.nats = NULL;
  run.drawn = drawn;
  run.uniforms = uniforms;
  run.sampling = (Sampling){.temperature = 0.9, .top_k = 3, .top_p = 0.8, .min_p = 0.01};
  run.transitions = follows;
  run.allowed = allowed;
  run.marks = marks;
  bad = bad || charrnn_network_run(&run);
  for (long i = 0; i < T * B; i++) bad = bad || drawn[i] < 0 || drawn[i] >= V || !(nats[i] >= -1e-6);
  charrnn_network_free(handle);
  const void *all[] = {table, square, bias, embedding, input, out, bias_out, ids, drawn, nats, uniforms, follows,
                       allowed, marks, run.hidden, run.cells, run.logits};
  for (unsigned i = 0; i < sizeof all / sizeof *all; i++) free((void *)all[i]);
  return bad;
}

/* Reads `length` symbols in calls of several lengths, so that segments end inside them and between them; then draws. */
static int dynamic(int cell, long segment, long H, long V, int num_threads, int embeds) {
  CellFacts facts;
  charrnn_cell_facts(cell, &facts);
  long rows = facts.num_gates * H, L = 2, E = embeds ? 3 : 0, length = 4 * segment + 3, room = segment;
  float *symbols = filled(V * (embeds ? E : rows), 1), *square = filled(rows * H, 0.3f), *bias = filled(rows, 1);
  float *input = filled(rows * (E + 1), 0.3f), *out = filled(V * H, 1), *bias_out = filled(V, 1);
  const float *squares[] = {square, square}, *biases[] = {bias, bias}, *inputs[] = {input, square};
  Weights w = {cell, L, H, V, E, symbols, inputs, squares, biases, biases, out, bias_out};
  long num_floats = charrnn_dynamic_floats(&w);
  float *trained = filled(num_floats, 0), *after = filled(num_floats, 0);
  int bad = charrnn_dynamic_pack(&w, trained);
  int64_t *ids = numbered(length, V), *drawn = malloc((size_t)length * sizeof(int64_t));
  double *nats = malloc((size_t)length * sizeof(double)), *uniforms = malloc((size_t)length * sizeof(double));
  uint8_t *follows = calloc((size_t)V, 1), *allowed = malloc((size_t)V), mark = 0;
  memset(allowed, 1, (size_t)V);
  for (long i = 0; i < length; i++) uniforms[i] = (double)(i % 7) / 7;
  DynamicRun run = {.cell = cell, .L = L, .H = H, .V = V, .E = E, .has_bias = 1, .segment = segment, .room = room};
  run.learning_rate = 0.3;
  run.decay = 0.1;
  run.num_threads = num_threads;
  run.trained = run.before = trained;
  run.segment_ids = malloc((size_t)room * sizeof(int64_t));
  run.hidden = filled(L * (room + 1) * H, 0);
  run.cells = facts.has_cell ? filled(L * (room + 1) * H, 0) : NULL;
  run.saved = filled(L * room * facts.num_saved * H + 1, 0);
  float *logits = run.logits = filled(length * V, 0);
  for (long at = 0, n = 1; at < length; at += n, n = n % 5 + 1) {
    n = n < length - at ? n : length - at;
    run.T = n;
    run.ids = ids + at;
    run.targets = ids + at;
    run.nats = nats + at;
    int learns = run.num_read + n > segment;
    if (learns) run.after = after;
    bad = bad || charrnn_dynamic_run(&run);
    if (learns) run.before = after;
  }
  run.nats = NULL;
  run.logits = NULL;
  run.T = length;
  run.ids = ids;
  run.drawn = drawn;
  run.uniforms = uniforms;
  run.sampling = (Sampling){.temperature = 0.9, .top_k = 3, .top_p = 0.8, .min_p = 0.01};
  run.transitions = follows;
  run.allowed = allowed;
  run.marks = &mark;
  bad = bad || charrnn_dynamic_run(&run);
  for (long i = 0; i < length; i++) bad = bad || drawn[i] < 0 || drawn[i] >= V || !(nats[i] >= -1e-6);
  const void *all[] = {symbols, square, bias, input, out, bias_out, trained, after, ids, drawn, nats, uniforms, follows,
                       allowed, run.segment_ids, run.hidden, run.cells, run.saved, logits};
  for (unsigned i = 0; i < sizeof all / sizeof *all; i++) free((void *)all[i]);
  return bad;
}

/* A window's output layer, its weights then updated, and dropped. */
static int output(int bf16, long T, long B, long H, long V, int num_threads) {
  long N = T * B;
  int64_t *targets = numbered(N, V);
  double *nats = malloc((size_t)N * sizeof(double)), squares[64];
  float *bias = filled(V, 1), *grad_bias = filled(V, 1), *hidden = filled(N * H, 1), *grad_hidden = filled(N * H, 1);
  float *weight = filled(V * H, 1), *grad_weight = filled(V * H, 1), *average = filled(V * H, 1);
  float *mean = filled(V * H, 1), *square = filled(V * H, 1);
  Output o = {.N = N, .H = H, .V = V, .num_threads = num_threads, .precision = bf16, .hidden = hidden,
              .weight = weight, .bias = bias, .targets = targets, .nats = nats, .grad_hidden = grad_hidden,
              .grad_weight = grad_weight, .grad_bias = grad_bias};
  int bad = charrnn_output(&o);
  for (long i = 0; i < N; i++) bad = bad || !(nats[i] >= -1e-6);
  Parameter parameter = {V * H, weight, grad_weight, mean, square, average, 0.1};
  WeightsUpdate update = {.num_parameters = 1, .num_threads = num_threads, .parameters = &parameter,
                          .squares = squares, .rate = 0.1, .beta1 = 0.9, .beta2 = 0.99, .epsilon = 1e-8, .clip = 1,
                          .correction1 = 0.1, .correction2 = 0.01, .toward = 0.5};
  bad = bad || charrnn_update(&update) || !(update.norm >= 0);
  Dropout dropout = {N * H, num_threads, -1, 100, hidden, grad_hidden, 1.5};
  bad = bad || charrnn_dropout(&dropout);
  const void *all[] = {targets, nats, bias, grad_bias, grad_hidden, grad_weight, hidden, weight, mean, square, average};
  for (unsigned i = 0; i < sizeof all / sizeof *all; i++) free((void *)all[i]);
  return bad;
}

int main(void) {
  long sizes[][4] = {{1, 1, 1, 1}, {3, 2, 5, 7}, {3, 18, 33, 4}, {2, 5, 131, 3}};
  for (int cell = 0; cell < NUM_CELLS; cell++)
    for (int s = 0; s < 4; s++) {
      long *z = sizes[s];
      for (int bf16 = 0; bf16 <= (charrnn_bf16() > 0); bf16++)
        for (int by_id = 0; by_id < 2; by_id++)
          if (window(bf16, cell, z[0], z[1], z[2], z[3], 1 + s, by_id)) return 1;
      for (int bf16 = 0; bf16 <= (charrnn_bf16() > 0); bf16++)
        if (output(bf16, z[0], z[1], z[2], z[3], 1 + s)) return 4;
      for (int embeds = 0; embeds < 2; embeds++)
        if (network(cell, z[0], z[1], z[2], z[3], 1 + s, embeds)) return 2;
      for (int embeds = 0; embeds < 2; embeds++)
        if (dynamic(cell, z[0] + s, z[2], z[3], 1 + s, embeds)) return 3;
    }
  puts("clean");
  return 0;
}
"""


@pytest.mark.long
@pytest.mark.parametrize("sanitizers", ["address,undefined", "thread"])
@pytest.mark.parametrize(
    "target",
    [
        (),
        ("-march=native",),
        ("-march=native", "-DCACHE_BYTES=0", "-DSPLIT_FROM=0", "-DPART_WEIGHTS=1", "-DSHARED_BYTES=0"),
    ],
    ids=["baseline", "native", "shared units"],
)
def test_the_kernels_are_clean_under_sanitizers(tmp_path: Path, target: tuple[str, ...], sanitizers: str) -> None:
    source, program = tmp_path / "driver.c", tmp_path / "driver"
    command = [*build.compiler_command(), "-O1", "-g", "-std=gnu11", "-pthread", f"-fsanitize={sanitizers}"]
    command += ["-fno-sanitize-recover=all", *target, "-I", str(Path(build.__file__).parent)]
    source.write_text("int main(void) { return 0; }")
    for step in ([*command, str(source), "-o", str(program)], [str(program)]):
        if subprocess.run(step, capture_output=True, timeout=120).returncode != 0:
            pytest.skip(f"no working -fsanitize={sanitizers} here")
    # Counts are compiled by rules of their own, and have a driver of their own.
    included = ["stdio.h", *(str(path) for path in build.sources() if path.name != "counts.c")]
    source.write_text("".join(f'#include "{name}"\n' for name in included) + SANITIZED)
    subprocess.run([*command, str(source), "-o", str(program), "-lm"], check=True, capture_output=True, timeout=120)
    done = subprocess.run([str(program)], capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    assert done.stdout == "clean\n"
