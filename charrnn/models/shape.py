"""The forms that a model may have: a network, counts, or a mixture; what fixes its function, except its weights."""

from typing import Any

from charrnn.errors import SettingsError
from charrnn.models.counts.settings import CountsSettings
from charrnn.models.mixture.settings import MixtureSettings
from charrnn.models.settings import ModelSettings

Shape = ModelSettings | CountsSettings | MixtureSettings

FORMS: dict[str, type[ModelSettings] | type[CountsSettings] | type[MixtureSettings]] = {
    form.form: form for form in (ModelSettings, CountsSettings, MixtureSettings)
}


def shape_to_json(shape: Shape) -> dict[str, Any]:
    """A shape as plain values; those of a network have no form, as they had none before there were others.

    >>> shape_to_json(CountsSettings(vocab_size=65, num_lines=256, num_text=1000))
    {'form': 'counts', 'vocab_size': 65, 'num_lines': 256, 'num_text': 1000}
    """
    form = {} if isinstance(shape, ModelSettings) else {"form": shape.form}
    return {**form, **shape.to_json()}


def shape_from_json(values: object) -> Shape:
    """The shape that ``shape_to_json`` has written.

    Raises:
        SettingsError: the form is unknown, or a value is missing or out of range.
    """
    if not isinstance(values, dict):
        raise SettingsError("no table of settings")
    form = values.get("form", ModelSettings.form)
    if not isinstance(form, str) or form not in FORMS:
        raise SettingsError("a model of a form that this charrnn does not know; upgrade charrnn")
    return FORMS[form].from_json({name: value for name, value in values.items() if name != "form"})
