"""Statistics of A/B tests and holdouts: counts in, differences with their uncertainty and verdicts out. Pure."""
