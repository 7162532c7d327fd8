"""Files that are whole at any instant: model, training state, metrics, lock."""
