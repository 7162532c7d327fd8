"""From a corpus to a trained model: settings, recipe, loop, checkpoints."""
