"""Partitions: one per send. Keys are send ids."""

import dagster as dg

SENDS = dg.DynamicPartitionsDefinition(name="sends")
