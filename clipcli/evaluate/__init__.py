"""Figures of merit computed on embeddings, with NumPy alone; training and commands share them."""
