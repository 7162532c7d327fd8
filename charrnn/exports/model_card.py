"""A model card: what a model is, what it learned, how good it is, how to use and repeat it, and what it cannot do.

Everything in it comes from the model's own file and its run; what they do not tell, the card says is not known.

Source: Mitchell et al. 2019, Model Cards for Model Reporting; the front matter is that of the Hugging Face Hub.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from charrnn.models.settings import ModelSettings
from charrnn.storage.model_file import ModelFile
from charrnn.storage.run_summary import stated_score
from charrnn.text.vocab import Vocab
from charrnn.units import Score, bits, perplexity

SAMPLE_LENGTH = 400
SAMPLE_TEMPERATURE = 0.7
_SHOWN_NAMES = 5
_SHOWN_CHARS = 80
_MARKED = re.compile(r"[\\`*<>\[\]|]")
_FINGERPRINT = re.compile(r"[0-9a-f+]{1,200}")


def model_card(model: ModelFile, settings: ModelSettings, *, name: str, sample: str, recipe: Mapping[str, Any]) -> str:
    """The card, in Markdown.

    Args:
        model: as it is stored.
        settings: its shape.
        name: of the model, also the folder's.
        sample: what it wrote with seed 0 at ``SAMPLE_TEMPERATURE``, the first that it wrote.
        recipe: the settings in the folder's run.toml; empty where there is none.
    """
    unit = "bytes" if model.vocab.level == "byte" else "characters"
    symbol = unit.removesuffix("s")
    score = stated_score(model.facts.get("held_out"))
    opening = (
        f"# {name}\n\nA language model of {unit}: it gives each {symbol} that may come next a probability, from all "
        f"{unit} before it. It is {_a(settings.title)} with {settings.num_parameters:,} weights and {model.vocab.size} "
        f"{unit} in its vocabulary, made by charrnn.\n"
    )
    parts = [
        _front_matter(model, settings, name=name, score=score),
        opening,
        _use(name),
        _sample(sample),
        _text(model.facts, unit),
        _scores(score, symbol, model.facts),
        _training(model.facts, recipe),
        _limits(model.vocab, recipe),
        _FILES,
    ]
    return "\n".join(parts)


def _a(title: str) -> str:
    """The title of a network with its article."""
    return f"an {title}" if title.startswith(("LSTM", "RNN")) else f"a {title}"


def _front_matter(model: ModelFile, settings: ModelSettings, *, name: str, score: Score | None) -> str:
    level = "byte-level" if model.vocab.level == "byte" else "character-level"
    lines = [
        "library_name: charrnn",
        "pipeline_tag: text-generation",
        "tags:",
        *(f"- {tag}" for tag in ("charrnn", level, "recurrent-neural-network", settings.cell, "language-model")),
    ]
    if score is not None:
        nats = score.nats_per_symbol
        lines += [
            "model-index:",
            f"- name: {json.dumps(name)}",
            "  results:",
            "  - task:",
            "      type: text-generation",
            "    dataset:",
            f"      name: {json.dumps('held-out part of ' + (_names(model.facts) or 'a text'))}",
            "      type: text",
            "    metrics:",
            *_metric("perplexity", f"perplexity per {_symbol(model.vocab)}", perplexity(nats)),
            *_metric(f"bits-per-{_symbol(model.vocab)}", f"bits per {_symbol(model.vocab)}", bits(nats)),
        ]
    return "\n".join(["---", *lines, "---", ""])


def _metric(kind: str, name: str, value: float) -> list[str]:
    return [f"    - type: {kind}", f"      name: {name}", f"      value: {value:.4f}"]


def _symbol(vocab: Vocab) -> str:
    return "byte" if vocab.level == "byte" else "character"


def _use(name: str) -> str:
    folder = name if name.replace("-", "").replace("_", "").replace(".", "").isalnum() else "FOLDER"
    return (
        "## Use\n\n"
        "```sh\n"
        f"charrnn sample ./{folder} --length {SAMPLE_LENGTH} --temperature {SAMPLE_TEMPERATURE}\n"
        f"charrnn sample ./{folder} --interactive\n"
        f"charrnn perplexity ./{folder} TEXT\n"
        "```\n\n"
        "```python\n"
        "import charrnn\n\n"
        f'model = charrnn.load("./{folder}")\n'
        f"print(model.sample(length={SAMPLE_LENGTH}, temperature={SAMPLE_TEMPERATURE})[0])\n"
        "```\n\n"
        "The model is no transformer and no part of the transformers library. The weights are plain arrays, named as\n"
        "those of torch.nn; config.json has the shape, vocab.json the id of each symbol.\n"
    )


def _sample(sample: str) -> str:
    fence = "`" * max(4, _longest_run(sample, "`") + 1)
    return (
        "## What it writes\n\n"
        f"The first text that it wrote with seed 0 at temperature {SAMPLE_TEMPERATURE}, not chosen among others:\n\n"
        f"{fence}text\n{sample.strip(chr(10))}\n{fence}\n"
    )


def _longest_run(text: str, char: str) -> int:
    longest = current = 0
    for each in text:
        current = current + 1 if each == char else 0
        longest = max(longest, current)
    return longest


def _names(facts: Mapping[str, Any]) -> str:
    corpus = facts.get("corpus")
    names = corpus.get("names") if isinstance(corpus, dict) else None
    known = [_plain(str(name)) for name in names] if isinstance(names, list) else []
    more = f" and {len(known) - _SHOWN_NAMES} more" if len(known) > _SHOWN_NAMES else ""
    return ", ".join(known[:_SHOWN_NAMES]) + more


def _plain(name: str) -> str:
    """A name of a file, on one line and without a meaning in Markdown."""
    shown = name if name.isprintable() else ascii(name)[1:-1]
    return _MARKED.sub(r"\\\g<0>", shown[:_SHOWN_CHARS])


def _text(facts: Mapping[str, Any], unit: str) -> str:
    names, corpus = _names(facts), facts.get("corpus")
    if not names or not isinstance(corpus, dict):
        return "## The text\n\nThe file does not tell what the model learned from.\n"
    lines = [f"It learned from: {names}."]
    num_symbols, num_held_out = corpus.get("num_symbols"), corpus.get("num_held_out")
    if type(num_symbols) is int and type(num_held_out) is int:
        lines.append(f"{num_symbols:,} {unit}, of which {num_held_out:,} were held out and never learned from.")
    if _FINGERPRINT.fullmatch(str(corpus.get("fingerprint"))):
        lines.append(f"SHA-256 of level, encoding and content: `{corpus['fingerprint']}`.")
    lines.append("The text itself is not in this folder, and its licence is not known here.")
    return "## The text\n\n" + "\n".join(lines) + "\n"


def _scores(score: Score | None, symbol: str, facts: Mapping[str, Any]) -> str:
    if score is None:
        return "## Scores\n\nThe file states none: it held nothing out, or it was not scored.\n"
    nats = score.nats_per_symbol
    error = score.standard_error_per_byte if symbol == "byte" else score.standard_error
    step = facts.get("step")
    by = f" of step {step:,}" if type(step) is int else ""
    return (
        "## Scores\n\n"
        f"On {score.num_predictions + 1:,} {symbol}s of held-out text, by the model{by}:\n\n"
        f"| nats/{symbol} | standard error | bits/{symbol} | perplexity |\n|---|---|---|---|\n"
        f"| {nats:.4f} | {error:.4f} | {bits(nats):.4f} | {perplexity(nats):.4f} |\n\n"
        "The best of the run's models was chosen by its loss on this same held-out text, so the score is a little\n"
        "better than on text that had no part in the choice. It says nothing of other kinds of text.\n"
    )


def _training(facts: Mapping[str, Any], recipe: Mapping[str, Any]) -> str:
    if not recipe:
        return (
            "## Training\n\nThe folder has no run.toml: the model was exported without its run, and the command that\n"
            "made it is not known.\n"
        )
    rows = "".join(f"| {key.replace('_', '-')} | {_shown(value)} |\n" for key, value in recipe.items())
    told = "The command that repeats it, in this folder and with the text beside:\n\n"
    told += "```sh\ncharrnn train --config run.toml\n```\n\n"
    if "minutes" in recipe:
        step = facts.get("step")
        made = f" This model is the one after {step:,} updates." if type(step) is int else ""
        told += f"It trained for {recipe['minutes']:g} minutes; the number of updates depends on the machine.{made}\n"
    else:
        told += "On the same kind of machine, with the same torch and number of threads, it gives the same weights.\n"
    if "init_from" in recipe:
        told += f"It began from the weights of another model, {recipe['init_from']}, which is needed too.\n"
    return f"## Training\n\n{told}\n| setting | value |\n|---|---|\n{rows}"


def _shown(value: Any) -> str:  # noqa: ANN401 - of a setting
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return _plain(text)


def _limits(vocab: Vocab, recipe: Mapping[str, Any]) -> str:
    lines = [
        "It writes what looks like its text. It knows no facts, and follows no instruction.",
        "It may write passages of its training text word for word; `charrnn sample --copying` tells how long they are.",
        "Whatever is wrong, one-sided or offensive in the text may come back in what it writes.",
        "Its memory is a state of fixed size: what was said some hundred symbols ago is mostly lost.",
    ]
    if vocab.level == "char":
        lines.append("A character that is not in its vocabulary can be neither read nor written.")
    lines.append("No licence is stated for the weights: whoever publishes them adds one that the text allows.")
    return "## Limits\n\n" + "".join(f"- {line}\n" for line in lines)


_FILES = """## Files

| file | what it holds |
|---|---|
| model.safetensors | weights, and in its metadata all else that charrnn needs |
| config.json | the shape |
| vocab.json | the id of each symbol |
| run.toml | the settings, where they are known |
"""
