"""Dagster ops: the send graph (enqueue, lanes, settle). Thin shells over the dispatch engine."""
