"""Signed webhooks: verify, then land raw and suppress in one transaction, commit, and only then answer 2xx.

One module per provider; `door` has what they share. They parse just enough to suppress: the rest is the loader's work,
from the landing, as often as it likes.
"""
