"""The forms that a model may have: a network, counts, or a mixture; what fixes its function, except its weights."""

from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

from charrnn.errors import SettingsError
from charrnn.models.counts.settings import CountsSettings
from charrnn.models.mixture.settings import MAX_MEMBERS, mixture_shapes
from charrnn.models.settings import ModelSettings


@dataclass(frozen=True)
class MixtureSettings:
    """The shapes of a mixture's members, which know the same symbols.

    Raises:
        SettingsError: there are fewer than two members, too many, or members of different sizes of vocabulary.
    """

    form: ClassVar[str] = "mixture"

    members: tuple["Shape", ...]

    def __post_init__(self) -> None:
        """Checks the members together."""
        if not 2 <= len(self.members) <= MAX_MEMBERS:
            raise SettingsError(f"a mixture has from 2 to {MAX_MEMBERS} members, not {len(self.members)}")
        if len({member.vocab_size for member in self.members}) != 1:
            raise SettingsError("the members of a mixture know different numbers of symbols")

    @property
    def vocab_size(self) -> int:
        """V."""
        return self.members[0].vocab_size

    @property
    def title(self) -> str:
        """The members in a few words."""
        return "mixture of " + " and ".join(member.title for member in self.members)

    @property
    def short_title(self) -> str:
        """The members in a word or two each."""
        return " + ".join(member.short_title for member in self.members)

    @property
    def num_parameters(self) -> int:
        """Of all members, and of what mixes them."""
        own = sum(prod(shape) for shape in mixture_shapes(len(self.members), self.vocab_size).values())
        return own + sum(member.num_parameters for member in self.members)

    def tensors(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Type and shape of each array that is stored, by name."""
        found: dict[str, tuple[str, tuple[int, ...]]] = {"cuts": ("int64", (self.vocab_size - 1,))}
        shapes = mixture_shapes(len(self.members), self.vocab_size)
        found |= {f"mixer.{name}": ("float64", shape) for name, shape in shapes.items()}
        for number, member in enumerate(self.members):
            found |= {f"member.{number}.{name}": entry for name, entry in member.tensors().items()}
        return found


Shape = ModelSettings | CountsSettings | MixtureSettings


def shape_to_json(shape: Shape) -> dict[str, Any]:
    """A shape as plain values; those of a network have no form, as they had none before there were others.

    >>> shape_to_json(CountsSettings(vocab_size=65, num_lines=256, num_text=1000))
    {'form': 'counts', 'vocab_size': 65, 'num_lines': 256, 'num_text': 1000, 'num_mixers': 4}
    """
    if isinstance(shape, MixtureSettings):
        return {"form": shape.form, "members": [shape_to_json(member) for member in shape.members]}
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
    given = {name: value for name, value in values.items() if name != "form"}
    if form == ModelSettings.form:
        return ModelSettings.from_json(given)
    if form == CountsSettings.form:
        return CountsSettings.from_json(given)
    if form == MixtureSettings.form:
        members = given.get("members")
        if not isinstance(members, list) or len(given) != 1 or len(members) > MAX_MEMBERS:
            raise SettingsError("mixture settings: no list of members")
        return MixtureSettings(tuple(map(shape_from_json, members)))
    raise SettingsError("a model of a form that this charrnn does not know; upgrade charrnn")
