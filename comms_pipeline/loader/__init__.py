"""Moves the ledger's feeds and imported files into the lake, each exactly once, and rebuilds what follows."""
