"""Pure values and rules of the trade. No I/O, no clock, no Dagster, no database."""
