"""Plans a send: audience, eligibility, messages, batches. Reads lake and ledger; never talks to a provider."""
