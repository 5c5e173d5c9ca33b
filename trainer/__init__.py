"""PyTorch: towers, objectives, data, the training loop. Everyday commands never import this package."""
