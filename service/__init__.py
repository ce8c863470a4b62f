"""Interlinear's service: translation with the alignment behind every word, over HTTP and on the command line."""
