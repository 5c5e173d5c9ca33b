"""Fetching models from a hub that speaks the language of huggingface.co: the one room that touches the network."""
