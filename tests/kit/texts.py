"""Texts of the default vocabulary of `checkpoints.py`."""

TEXTS = ["the capital of france is paris", "", "cook pasta", "a cat sat on the mat"]
