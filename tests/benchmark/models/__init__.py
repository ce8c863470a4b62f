"""Models of random weights, of any size, made once and kept in a cache directory."""
