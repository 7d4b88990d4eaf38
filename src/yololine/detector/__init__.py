"""Training config, weights, training, checkpoints, export."""
