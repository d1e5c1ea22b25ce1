"""The errors people see: each names the culprit and the fix in one line. No error carries personal data."""

from collections.abc import Callable


class CommsError(Exception):
    """A problem the user can mend. `str(error)` is one line: what is wrong with which thing, and what to do.

    The command line prints it without a stack trace and exits with 1.
    """

    def __init__(self, culprit: str, problem: str, fix: str) -> None:
        self.culprit = culprit
        self.problem = problem
        self.fix = fix
        super().__init__(f"{culprit}: {problem}. {fix}")

    def __reduce__(self) -> "tuple[Callable[..., CommsError], tuple[type[CommsError], dict[str, object]]]":
        # Exceptions are pickled by their one text; ours are made of several, and kinds of ours of others again.
        return _restored, (type(self), self.__dict__)


def _restored(kind: type[CommsError], values: dict[str, object]) -> CommsError:
    error = kind.__new__(kind)
    error.__dict__.update(values)
    error.args = (f"{error.culprit}: {error.problem}. {error.fix}",)
    return error


class InvalidSettings(CommsError):
    """A setting is missing or malformed; the culprit is the environment variable."""


class DatabaseUnavailable(CommsError):
    """Postgres cannot be started or reached."""


class InvalidContactFile(CommsError):
    """A contact file or its mapping cannot be used; nothing was imported."""


class InvalidCampaign(CommsError):
    """A campaign file is not valid; the culprit is `file:line`."""


class InvalidSegment(CommsError):
    """An audience definition is not one read-only SELECT over allowed relations, or names unknown fields."""


class TemplateError(CommsError):
    """A template cannot be compiled or rendered; the culprit is `template:line:column`."""


class ProviderMisconfigured(CommsError):
    """A provider lacks a credential or refuses ours; its lane stops."""


class NotFound(CommsError):
    """The thing named on the command line does not exist."""


class PortInUse(CommsError):
    """A port we need is taken by another process."""
