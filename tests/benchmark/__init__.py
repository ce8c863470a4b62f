"""Speed, measured against a stated alternative in the same run; no tests, run by hand."""
