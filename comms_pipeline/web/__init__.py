"""FastAPI: signed receivers, unsubscribe pages, health. Every write is one ledger transaction."""
