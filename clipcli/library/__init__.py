"""The library: one SQLite file of pictures and their embeddings, and the caches that make searching it fast."""
