"""Alerts: what people must hear of, by rules that are data, and how they hear of it. Mends nothing."""
