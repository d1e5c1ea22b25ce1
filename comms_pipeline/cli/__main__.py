"""Lets `python -m comms_pipeline.cli` stand in for the `comms` program."""

from comms_pipeline.cli.main import main

main()
