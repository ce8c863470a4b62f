"""Greedy search, beam search and sampling over plain arrays, against a small backend protocol.

`search.SearchBatch` advances all sentences together. How one is searched is the matter of its lane: `greedy`, `beam`,
or `tfa_lane`. `rows` keeps the decoder's rows, `rules` says which tokens may follow, `scoring` what they are worth.
"""
