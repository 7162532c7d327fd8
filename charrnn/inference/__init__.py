"""From a trained model to new text and to scores; knows no torch unless a GPU is asked for."""
