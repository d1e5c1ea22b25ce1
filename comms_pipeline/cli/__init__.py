"""The comms command. Parses, calls, prints; holds no logic of its own."""
