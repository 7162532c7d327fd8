"""What a mixture is made of. Knows no numpy."""

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar

from charrnn.errors import SettingsError

if TYPE_CHECKING:
    from charrnn.models.shape import Shape

NUM_CLASSES = 12
MAX_MEMBERS = 16


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

    def to_json(self) -> dict[str, Any]:
        """The members as plain values, for ``shape.shape_from_json``."""
        from charrnn.models.shape import shape_to_json

        return {"members": [shape_to_json(member) for member in self.members]}

    @classmethod
    def from_json(cls, values: object) -> "MixtureSettings":
        """A mixture from plain values.

        Raises:
            SettingsError: they describe none.
        """
        from charrnn.models.shape import shape_from_json

        members = values.get("members") if isinstance(values, dict) and len(values) == 1 else None
        if not isinstance(members, list) or len(members) > MAX_MEMBERS:
            raise SettingsError("mixture settings: no list of members")
        return cls(tuple(map(shape_from_json, members)))


def mixture_shapes(num_members: int, num_symbols: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a mixture's own weights; each has a column for every member and one that is constant."""
    inputs = num_members + 1
    return {
        "shared": (inputs,),
        "by_node": (num_symbols - 1, inputs),
        "by_sureness": (num_members, NUM_CLASSES, inputs),
    }
