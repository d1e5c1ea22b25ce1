"""Dagster resources: the stores handed to assets and ops. Thin."""
