"""Templates compiled to a skeleton and columnar slots; variants, scores, send times. Pure."""
