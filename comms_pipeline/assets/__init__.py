"""Dagster assets: nouns, thin shells over the pure core and the stores."""
