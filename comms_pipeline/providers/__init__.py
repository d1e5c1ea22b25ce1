"""Everything that knows a provider: one module per provider per direction. Never decides who gets a message."""
