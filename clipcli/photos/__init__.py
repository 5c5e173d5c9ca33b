"""Pictures on disk: finding them, decoding them safely, and what their metadata says."""
