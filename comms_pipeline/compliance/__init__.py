"""Rules as data rows, compiled to column expressions, evaluated to decisions. Pure."""
