"""Contact files read, mapped, normalised and split into contacts and rejects. Never writes a store."""
