"""Validation: whether the score is honest, measured on many people, each figure with its interval and its gate."""
