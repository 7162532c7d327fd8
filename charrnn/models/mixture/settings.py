"""The sizes of what mixes models. Knows no numpy."""

NUM_CLASSES = 12
MAX_MEMBERS = 16


def mixture_shapes(num_members: int, num_symbols: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a mixture's own weights; each has a column for every member and one that is constant."""
    inputs = num_members + 1
    return {
        "shared": (inputs,),
        "by_node": (num_symbols - 1, inputs),
        "by_sureness": (num_members, NUM_CLASSES, inputs),
    }
