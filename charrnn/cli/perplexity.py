"""``charrnn perplexity``: how well a model predicts texts, in nats, bits and as a perplexity."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from charrnn.cli.options import with_settings
from charrnn.inference.settings import ScoringSettings


@with_settings(ScoringSettings)
def perplexity(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="RUN_OR_FILE", help="Directory of a run, or a model file.", show_default=False, readable=False
        ),
    ],
    texts: Annotated[
        list[str],
        typer.Argument(
            metavar="TEXT",
            help="Text files, each scored from its own start; - is standard input.",
            show_default=False,
        ),
    ],
    **given: Any,  # noqa: ANN401 - settings of every type
) -> None:
    """Score texts with a model.

    Exact unless asked otherwise: the state is carried from a text's first character to its last, the first
    character is given and every other predicted, so N characters give N - 1 predictions.

    \b
    Examples:
      charrnn perplexity checkpoints/shakespeare held-out.txt
      charrnn perplexity model.safetensors part-1.txt part-2.txt --json
      charrnn perplexity checkpoints/shakespeare held-out.txt --windowed 256
      charrnn perplexity checkpoints/shakespeare held-out.txt --dynamic --fit-temperature other.txt
      charrnn perplexity checkpoints/shakespeare held-out.txt --baselines
      cat candidates.txt | charrnn perplexity checkpoints/shakespeare - --by-line
    """
    settings = ScoringSettings(**given)
    if settings.threads is not None:
        # Read once, when torch and numpy's product library are loaded: the kernels alone are told otherwise.
        os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(settings.threads))

    from charrnn.inference.text_scores import score_texts
    from charrnn.inference.training_text import find_training_text
    from charrnn.models.native.build import unavailable_reason
    from charrnn.reports.scores import scores_to_json, write_scores
    from charrnn.reports.terminal import is_terminal, say, write_note, write_result
    from charrnn.storage.model_file import read_model

    file = read_model(model)
    if unavailable_reason() is not None:
        write_note(f"charrnn: no compiled kernels ({unavailable_reason()}): the same numbers, more slowly")
    training = None
    if settings.baselines:
        training = find_training_text(model, vocab=file.vocab, facts=file.facts, named=settings.training_text)
    scored = score_texts(file, texts, settings, training=training)
    for note in scored.notes + (scored.baselines.notes if scored.baselines else ()):
        say(f"note: {note}")
    if settings.json:
        import json

        result = {"model": str(model), **scores_to_json(scored)}
        write_result(json.dumps(result, ensure_ascii=is_terminal(), allow_nan=False) + "\n")
    else:
        write_scores(scored)
