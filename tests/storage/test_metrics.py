import errno
import json
import os

import pytest

from charrnn.errors import InputError, OutputError
from charrnn.storage.metrics import MetricsLog, last_seconds, read_metrics


def filled(path):
    log = MetricsLog(path, keep_until_step=0)
    for step in (1, 2, 3):
        log.append({"step": step, "loss": 1 / step, "seconds": step * 1.5})
    log.close()
    return path


def test_lines_come_back_and_numbers_that_are_not_finite_are_null(tmp_path):
    path = filled(tmp_path / "m")
    log = MetricsLog(path, keep_until_step=3)
    log.append({"step": 4, "loss": float("nan")})
    log.close()
    assert [line["step"] for line in read_metrics(path)] == [1, 2, 3, 4]
    assert read_metrics(path)[-1]["loss"] is None


def test_a_file_cut_at_any_byte_keeps_its_whole_lines(tmp_path):
    data = filled(tmp_path / "m").read_bytes()
    for length in range(len(data)):
        cut = tmp_path / "cut"
        cut.write_bytes(data[:length])
        MetricsLog(cut, keep_until_step=99).close()
        whole = data[:length].count(b"\n")
        assert cut.read_bytes() == b"".join(data.splitlines(keepends=True)[:whole])


def test_lines_after_the_checkpoint_go(tmp_path):
    path = filled(tmp_path / "m")
    log = MetricsLog(path, keep_until_step=2)
    assert log.last_number("seconds") == 3.0
    assert log.last_number("nothing") == 0.0
    log.close()
    assert [line["step"] for line in read_metrics(path)] == [1, 2]


@pytest.mark.parametrize("line", [b"[]\n", b"nonsense\n", b"\xff\n", b"[" * 100_000 + b"\n"])
def test_foreign_lines_go_and_the_rest_stays_as_it_stood(tmp_path, line):
    path = filled(tmp_path / "m")
    before = path.read_bytes()
    path.write_bytes(before + line + b'{ "step":4}\n')
    assert [found["step"] for found in read_metrics(path)] == [1, 2, 3, 4]
    MetricsLog(path, keep_until_step=4).close()
    assert path.read_bytes() == before + b'{ "step":4}\n'


def test_a_failed_append_is_told_once(tmp_path, monkeypatch):
    log = MetricsLog(tmp_path / "m", keep_until_step=0)

    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", fail)
    with pytest.raises(OutputError, match="No space left"):
        log.append({"step": 1})
    log.append({"step": 2})
    log.close()
    assert json.dumps(read_metrics(tmp_path / "m")) == "[]"


@pytest.mark.parametrize("step", ['"x"', "null", "1.5", "[]"])
def test_a_line_whose_step_is_no_number_goes(tmp_path, step):
    path = filled(tmp_path / "m")
    before = path.read_bytes()
    path.write_bytes(before + b'{"step": %s}\n' % step.encode())
    MetricsLog(path, keep_until_step=3).close()
    assert path.read_bytes() == before


def test_a_number_too_large_or_not_finite_is_not_the_last(tmp_path):
    path = tmp_path / "m"
    path.write_text('{"s": 2}\n{"s": NaN}\n{"s": true}\n{"s": %s}\n' % ("9" * 400))
    log = MetricsLog(path, keep_until_step=0)
    assert log.last_number("s") == 2.0
    log.close()


def test_a_fifo_in_its_place_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "m")
    with pytest.raises(InputError, match="regular file"):
        MetricsLog(tmp_path / "m", keep_until_step=0)


def test_the_time_spent_is_in_the_last_line_that_says_one(tmp_path):
    path = tmp_path / "m"
    assert last_seconds(path) is None
    lines = [{"step": n, "seconds": n / 4, "padding": "x" * 100} for n in range(500)]
    path.write_text("".join(json.dumps(line) + "\n" for line in [*lines, {"step": 501}]) + '{"seconds": 1')
    assert last_seconds(path) == 499 / 4
    path.write_text('{"seconds": 1' + "0" * 400 + '}\n{"seconds": true}\n{"seconds": "x"}\n')
    assert last_seconds(path) is None
