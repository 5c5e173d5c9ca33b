"""Pictures with labels or captions, read from tables and folders; their features, computed once and kept."""
