"""Benchmarks: each runs the peer or the physical limit beside ours, in turns, and prints a ratio."""
