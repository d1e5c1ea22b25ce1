"""From a host name to a session that takes messages: connect, greeting, EHLO, TLS, login. Sends no message."""

import asyncio
import re
import socket
import ssl
from base64 import b64encode
from dataclasses import dataclass, field

from comms_pipeline.domain.errors import ProviderMisconfigured
from comms_pipeline.providers.smtp_connection import Connection, Offers, Owner
from comms_pipeline.providers.smtp_replies import Reply, Stage, outcome
from comms_pipeline.settings import SmtpSecurity

_CONNECT_SECONDS = 10.0
_HOST_NAME = re.compile(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")


class NotOpened(Exception):
    """No session came about; not a byte of a message left. `stop` is set when trying again is no use."""

    def __init__(
        self, error: str, *, code: str | None = None, stop: ProviderMisconfigured | None = None
    ) -> None:
        super().__init__(error)
        self.error = error
        self.code = code
        self.stop = stop


@dataclass(frozen=True, kw_only=True)
class Account:
    """Where to, and as whom. Without `user` nobody logs in."""

    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)
    security: SmtpSecurity = SmtpSecurity.STARTTLS
    tls_context: ssl.SSLContext | None = None
    """Needed unless `security` is none."""


async def open_connection(account: Account, owner: Owner, *, timeout_seconds: float) -> Connection:
    """A session ready for messages. Raises `NotOpened`."""
    connection: Connection | None = None
    try:
        connection = await _connect(account, owner, timeout_seconds)
        async with asyncio.timeout(timeout_seconds):
            await _introduce(connection, account)
            if account.user:
                await _log_in(connection, account)
        return connection
    except BaseException as error:
        if connection is not None:
            connection.abort()
        # A handshake cut short may go well next time.
        if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
            raise _misconfigured(
                f"no TLS with the SMTP server: {error.reason or type(error).__name__}",
                "Check COMMS_SMTP_SECURITY and the server's certificate",
            ) from None
        if isinstance(error, TimeoutError):
            raise NotOpened("cannot connect: timed out") from None
        if isinstance(error, OSError | UnicodeError):
            words = getattr(error, "strerror", None) or "the connection broke"
            raise NotOpened(f"cannot connect: {words}") from None
        raise


async def _connect(account: Account, owner: Owner, timeout_seconds: float) -> Connection:
    is_tls = account.security is SmtpSecurity.TLS
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(min(_CONNECT_SECONDS, timeout_seconds)):
        _, connection = await loop.create_connection(
            lambda: Connection(owner, timeout_seconds=timeout_seconds),
            account.host,
            account.port,
            ssl=account.tls_context if is_tls else None,
        )
    return connection


async def _introduce(connection: Connection, account: Account) -> None:
    """Greeting and EHLO, in the clear and again under TLS."""
    greeting = await connection.expect()
    _require(greeting, 220, Stage.CONNECTION)
    await _hello(connection)
    if account.security is not SmtpSecurity.STARTTLS:
        return
    if not connection.offers.has_starttls:
        raise _misconfigured(
            "the SMTP server offers no STARTTLS",
            "Set COMMS_SMTP_SECURITY to tls, or to none on a trusted network",
        )
    _require(await connection.ask(b"STARTTLS"), 220, Stage.STARTTLS)
    if connection.has_unread:
        # Sent in the clear by somebody in between, to be taken for the server's words under TLS (CVE-2011-0411).
        raise NotOpened("the SMTP server spoke before TLS was set up")
    assert account.tls_context is not None
    transport = await asyncio.get_running_loop().start_tls(
        connection.transport, connection, account.tls_context, server_hostname=account.host
    )
    if transport is None:
        raise NotOpened("the connection broke")
    connection.use(transport)
    # What it offered in the clear counts for nothing (RFC 3207 4.2).
    await _hello(connection)


async def _hello(connection: Connection) -> None:
    name = socket.gethostname()
    if not _HOST_NAME.fullmatch(name):
        # RFC 5321 4.1.4: a client without a full name gives its address.
        address = str(connection.transport.get_extra_info("sockname")[0]).partition("%")[0]
        name = f"[IPv6:{address}]" if ":" in address else f"[{address}]"
    reply = await connection.ask(f"EHLO {name}".encode())
    _require(reply, 250, Stage.CONNECTION)
    connection.offers = offers(reply)


def offers(reply: Reply) -> Offers:
    """What an answer to EHLO offers. The first line is the server's name."""
    words: dict[str, list[str]] = {}
    for line in reply.lines[1:]:
        # Old servers write AUTH=LOGIN beside AUTH LOGIN.
        keyword, *values = line.upper().replace("AUTH=", "AUTH ").split() or [""]
        words.setdefault(keyword, []).extend(values)
    size = next((int(value) for value in words.get("SIZE", ()) if value.isdecimal()), 0)
    return Offers(
        has_pipelining="PIPELINING" in words,
        has_8bit="8BITMIME" in words,
        has_utf8="SMTPUTF8" in words,
        has_starttls="STARTTLS" in words,
        has_size="SIZE" in words,
        # RFC 1870 4: zero is no limit.
        max_bytes=size or None,
        logins=frozenset(words.get("AUTH", ())),
    )


async def _log_in(connection: Connection, account: Account) -> None:
    user, password = account.user.encode(), account.password.encode()
    if "PLAIN" in connection.offers.logins:
        secret = b64encode(b"\0" + user + b"\0" + password)
        reply = await connection.ask(b"AUTH PLAIN " + secret)
    elif "LOGIN" in connection.offers.logins:
        reply = await connection.ask(b"AUTH LOGIN")
        for answer in (user, password):
            if reply.code == 334:
                reply = await connection.ask(b64encode(answer))
    else:
        raise _misconfigured(
            "the SMTP server offers no login we know (PLAIN, LOGIN)",
            "Leave COMMS_SMTP_USER empty, or check COMMS_SMTP_PORT and COMMS_SMTP_SECURITY",
        )
    _require(reply, 235, Stage.LOGIN)


def _require(reply: Reply, code: int, stage: Stage) -> None:
    if reply.code == code:
        return
    told = outcome(stage, reply)
    raise NotOpened(told.error or "", code=told.code, stop=told.stop)


def _misconfigured(error: str, fix: str) -> NotOpened:
    return NotOpened(error, stop=ProviderMisconfigured("SMTP", error, fix))
