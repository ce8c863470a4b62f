"""Builds models: data, training, evaluation and export to bundles that `service` serves."""
