"""Pages to look at in a browser: each one file that asks for nothing else."""
