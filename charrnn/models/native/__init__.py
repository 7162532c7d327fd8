"""The C kernels of the recurrence and how they are built and called."""
