"""Segment definitions compiled to fenced SQL. Never executes it."""
