"""How a model reads a text: what it expected, which units follow what a person can name, how far gradients reach."""
