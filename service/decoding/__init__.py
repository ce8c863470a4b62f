"""Greedy and beam search over plain arrays, against a small backend protocol."""
