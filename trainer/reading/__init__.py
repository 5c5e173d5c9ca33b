"""Other people's weights, read as data: nothing in a file is ever executed."""
