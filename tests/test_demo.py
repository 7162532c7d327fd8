"""What ``make demo`` runs, with a small text and a short training in the place of its own."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from charrnn.cli.app import app

ROOT = Path(__file__).parents[1]
TEXT = "ROMEO: The text that is learned is short.\n" * 103
# Gathers a small text, or fails as where there is no network; trains for some steps; else it is charrnn itself.
STAND_IN = """#!{python}
import sys
from pathlib import Path
from charrnn.__main__ import main

command, *rest = sys.argv[1:]
if command == "corpus":
    if rest[0] not in {there}:
        sys.exit("charrnn: no network")
    Path("corpora").mkdir()
    Path("corpora", rest[0] + ".txt").write_text({text!r})
    print("gathered", rest[0])
else:
    budget = rest.index("--minutes") if "--minutes" in rest else None
    if budget is not None:
        rest[budget : budget + 2] = ["--steps", "12", "--hidden-size", "8", "--threads", "1"]
    sys.argv[1:] = [command, *rest]
    main()
"""


def shown(folder, *there):
    """What the demo prints where only the corpora of ``there`` can be had."""
    stand_in = folder / "charrnn"
    stand_in.write_text(STAND_IN.format(python=sys.executable, there=there, text=TEXT))
    stand_in.chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", ROOT / "demo.sh", "./charrnn"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """What it prints without a network."""
    return shown(tmp_path_factory.mktemp("demo"), "english").stdout


@pytest.mark.parametrize(
    ("there", "text", "prompt"),
    [(("shakespeare", "english"), "shakespeare", "ROMEO:"), (("english",), "english", "The")],
)
def test_the_demo_learns_shakespeare_where_it_can_and_english_elsewhere(tmp_path, there, text, prompt):
    done = shown(tmp_path, *there)
    assert f"gathered {text}" in done.stdout
    assert "no network" not in done.stderr
    assert [path.stem for path in (tmp_path / "corpora").iterdir()] == [text]
    assert f"$ ./charrnn train corpora/{text}.txt --minutes 2 --name demo-" in done.stdout
    written = done.stdout.partition("--temperature 0.5 --seed 1\n")[2]
    assert written.startswith(prompt)
    assert ("It does not come." in done.stdout) == (text == "english")


def test_the_demo_shows_one_score_twice_and_it_is_the_same(out):
    assert len(TEXT) % 10  # a tenth is no whole number
    num_held_out = len(TEXT) - len(TEXT) * 9 // 10
    told, part = re.search(r"held-out loss +([\d.]+) nats/char.*\n +of (.*) held-out characters", out).groups()
    assert part == f"all {num_held_out}"
    figures = dict(line.split() for line in out.partition("| ./charrnn perplexity")[2].splitlines()[2:9])
    assert float(figures["nats_per_char"]) == pytest.approx(float(told), abs=1e-3)
    assert figures["num_chars"] == str(num_held_out - 1)


def test_the_demo_ends_with_three_commands_that_can_be_typed(out):
    commands = [shlex.split(line) for line in out.partition("to try next:")[2].splitlines() if "charrnn" in line]
    assert [command[:2] for command in commands] == [["./charrnn", name] for name in ("sample", "train", "train")]
    for _, name, *arguments in commands:
        get_command(app).commands[name].make_context(name, arguments)
