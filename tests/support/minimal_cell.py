"""A cell that is not in the table, as somebody who adds one would write it; knows nothing but the table's module."""

from charrnn.models.cells import Cell, sigmoid

NAME = "minimal"


def minimal_step(x, state, weight_hh, bias_hh, tanh):
    """Minimal GRU (Zhou et al. 2016): f = sigmoid; n = tanh(x_n + W_hn (f*h) + b_hn); h' = (1-f)*h + f*n."""
    (h,) = state
    size = h.shape[-1]
    x = x + bias_hh
    f = sigmoid(x[..., :size] + h @ weight_hh[:size].T, tanh)
    n = tanh(x[..., size:] + (f * h) @ weight_hh[size:].T)
    return ((1 - f) * h + f * n,)


MINIMAL = Cell("minimal GRU", 2, minimal_step)
