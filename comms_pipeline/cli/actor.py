"""Who acts, for the audit trail: the account that runs the command."""

import getpass


def actor() -> str:
    """`cli:NAME`; `cli` where the account has no name."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a container's user may have none
        return "cli"
