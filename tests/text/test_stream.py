import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.errors import InputError
from charrnn.text.stream import Streams, release, shrink_to_fit

sizes = st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(0, 60))


def streams_of(batch_size, bptt, extra, seed=0):
    ids = np.arange(batch_size * bptt + 1 + extra, dtype=np.uint16)
    return ids, Streams(ids, batch_size, bptt, seed)


def test_the_picture_in_the_modules_docstring():
    ids = np.frombuffer(b"abcdefghijklm", np.uint8)
    streams = Streams(ids, batch_size=3, bptt=2, seed=0)
    first, second = streams.window(0), streams.window(1)
    show = lambda rows: [bytes(row.tolist()).decode() for row in rows]  # noqa: E731
    assert streams.windows_per_epoch == 2
    assert (show(first.inputs), show(first.targets)) == (["aei", "bfj"], ["bfj", "cgk"])
    assert (show(second.inputs), show(second.targets)) == (["cgk", "dhl"], ["dhl", "eim"])


@given(sizes)
def test_targets_are_the_symbols_after_the_inputs_and_windows_have_one_shape(size):
    batch_size, bptt, _ = size
    _, streams = streams_of(*size)
    for position in range(2 * streams.windows_per_epoch):
        window = streams.window(position)
        assert window.inputs.shape == window.targets.shape == (bptt, batch_size)
        assert (window.targets == window.inputs + 1).all()
        assert (window.inputs[1:] == window.targets[:-1]).all()


@given(sizes)
def test_each_window_goes_on_where_the_one_before_ended(size):
    _, streams = streams_of(*size)
    for position in range(1, 3 * streams.windows_per_epoch):
        before, window = streams.window(position - 1), streams.window(position)
        assert window.starts_epoch == (position % streams.windows_per_epoch == 0)
        if not window.starts_epoch:
            assert (window.inputs[0] == before.targets[-1]).all()


@given(sizes)
def test_no_symbol_is_read_twice_in_an_epoch(size):
    _, streams = streams_of(*size)
    for epoch in range(5):
        windows = [streams.window(epoch * streams.windows_per_epoch + i) for i in range(streams.windows_per_epoch)]
        targets = np.concatenate([w.targets.ravel() for w in windows]).tolist()
        assert len(set(targets)) == len(targets)


def test_every_symbol_is_predicted_in_some_epoch():
    ids, streams = streams_of(3, 5, 4)  # 5 offsets: 100 epochs miss one with probability below 1e-9
    predicted = {int(t) for p in range(100 * streams.windows_per_epoch) for t in streams.window(p).targets.ravel()}
    assert predicted == set(range(1, len(ids)))


def test_a_window_depends_on_seed_and_position_alone():
    ids = np.arange(200)
    one, two, other = Streams(ids, 2, 7, 1), Streams(ids, 2, 7, 1), Streams(ids, 2, 7, 2)
    for position in (0, 40, 3):
        assert (one.window(position).inputs == two.window(position).inputs).all()
    assert any((one.window(p).inputs != other.window(p).inputs).any() for p in range(0, 100, one.windows_per_epoch))


def test_a_mapped_text_gives_the_windows_of_one_in_memory(tmp_path):
    ids = np.random.default_rng(0).integers(0, 9, 3000).astype(np.uint8)
    ids.tofile(tmp_path / "ids")
    mapped = Streams(np.memmap(tmp_path / "ids", np.uint8, "r"), 3, 5, 4)
    memory = Streams(ids, 3, 5, 4)
    for position in (0, 1, 999, 1000, 2001):
        assert (mapped.window(position).inputs == memory.window(position).inputs).all()


def test_a_text_too_short_for_one_window_is_refused_with_its_size():
    with pytest.raises(InputError, match="14 symbols do not fill one window of 2 streams x 7 steps"):
        Streams(np.arange(14), 2, 7, 0)


@given(st.integers(2, 3000), st.integers(1, 40), st.integers(1, 200))
def test_shrunk_sizes_fit_and_are_none_larger_than_asked(num_symbols, batch_size, bptt):
    small_batch, small_bptt = shrink_to_fit(num_symbols, batch_size, bptt)
    assert 1 <= small_batch <= batch_size
    assert 1 <= small_bptt <= bptt
    assert Streams(np.arange(num_symbols), small_batch, small_bptt, 0).windows_per_epoch >= 1


@pytest.mark.skipif(sys.platform != "linux", reason="resident pages are read from Linux's /proc")
def test_pages_of_a_mapped_text_are_given_back_and_read_again(tmp_path):
    def resident_bytes():
        status = Path("/proc/self/status").read_text()
        return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("RssFile"))

    size = 32 << 20
    np.tile(np.arange(256, dtype=np.uint8), size // 256).tofile(tmp_path / "ids")
    ids = np.memmap(tmp_path / "ids", np.uint8, "r")[: size - 100]  # a part, as split gives it
    before = resident_bytes()
    total = int(ids.sum(dtype=np.int64))
    assert resident_bytes() - before > size // 2
    release(ids)
    assert resident_bytes() - before < size // 8
    assert int(ids.sum(dtype=np.int64)) == total


def test_reading_windows_gives_pages_back_now_and_then(tmp_path, monkeypatch):
    released = []
    monkeypatch.setattr("charrnn.text.stream.release", released.append)
    ids = np.zeros(60_000, np.uint8)
    streams = Streams(ids, 3, 5, 0)
    for position in range(3000):
        streams.window(position)
    assert len(released) == 3
    assert all(part is ids for part in released)
