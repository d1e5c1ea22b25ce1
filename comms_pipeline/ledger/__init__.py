"""Postgres: live state that must be consistent across processes. Never history or analytics."""
