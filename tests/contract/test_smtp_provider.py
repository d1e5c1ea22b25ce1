"""What every sending provider keeps to, asked of SMTP against a real server (aiosmtpd), whole and breaking.

The law throughout: what the server took is what was accepted, or is among what is unknown; never more.
"""

import asyncio
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword, Session
from aiosmtpd.smtp import Envelope as Received
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sending import content, free_port, new_send_id, recipients

from comms_pipeline.domain.errors import ProviderMisconfigured
from comms_pipeline.domain.message import Channel
from comms_pipeline.providers.base import RESULTS, Envelope, SendReport
from comms_pipeline.providers.registry import Providers
from comms_pipeline.providers.smtp_opening import Account
from comms_pipeline.providers.smtp_send import Smtp
from comms_pipeline.settings import Settings, SmtpSecurity

USER, PASSWORD = "mailer", "sécret"


class Server:
    """The handler of a real server: keeps what it takes, and misbehaves towards addresses by their first word.

    `drop.STAGE@` ends the connection at that stage, `say.STAGE.N@` answers with reply number N of `words`.
    """

    def __init__(self, *, is_pipelining: bool = True, offers: str = "", words: tuple[str, ...] = ()) -> None:
        self.is_pipelining = is_pipelining
        self.offers = offers
        self.words = words
        self.taken: list[Received] = []
        self.sessions: set[Session] = set()
        self.seconds = 0.0
        self.is_careless = False
        """Whether it goes on with a message whose sender it has refused."""
        self.most_per_session = 0
        self.counts: dict[Session, int] = {}

    @property
    def taken_from_us(self) -> list[str]:
        """Our ids of what was taken, in order of their addresses."""
        return sorted(self.parsed(mail)["X-Comms-Message"] for mail in self.taken)

    @staticmethod
    def parsed(mail: Received) -> Any:
        assert isinstance(mail.content, bytes)
        return message_from_bytes(mail.content, policy=policy.default)

    def _act(self, server: SMTP, address: str, stage: str) -> str | None:
        verb, _, rest = address.partition(".")
        if verb == "drop" and rest.startswith(stage):
            assert server.transport is not None
            server.transport.abort()
            return "421 gone"
        if verb == "say" and rest.startswith(stage):
            return self.words[int(rest.split(".")[1].partition("@")[0])]
        return None

    async def handle_EHLO(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Received, hostname: str, responses: list[str]
    ) -> list[str]:
        self.sessions.add(session)
        session.host_name = hostname
        more = ["250-PIPELINING"] if self.is_pipelining else []
        kept = [line for line in responses if "8BITMIME" not in line or "no8bit" not in self.offers]
        return [*kept[:-1], *more, *kept[-1:]]

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Received, address: str, options: list[str]
    ) -> str:
        if self.most_per_session and self.counts.get(session, 0) >= self.most_per_session:
            assert server.transport is not None
            asyncio.get_running_loop().call_later(0.01, server.transport.abort)
            return "421 4.7.0 too many messages in this session"
        told = self._act(server, address, "mail")
        if told is None or self.is_careless:
            envelope.mail_from, envelope.mail_options = address, options
        return told or "250 2.1.0 ok"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Received, address: str, options: list[str]
    ) -> str:
        told = self._act(server, address, "rcpt")
        if told is None or told.startswith("2"):
            envelope.rcpt_tos.append(address)
        return told or "250 2.1.5 ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Received) -> str:  # noqa: N802
        (address,) = envelope.rcpt_tos
        if self.seconds:
            await asyncio.sleep(self.seconds)
        told = self._act(server, address, "body")
        if told is not None and not told.startswith("2"):
            return told
        self.taken.append(envelope)
        self.counts[session] = self.counts.get(session, 0) + 1
        return self._act(server, address, "dot") or told or f"250 2.0.0 Ok: queued as Q{len(self.taken)}"


@contextmanager
def running(handler: Server, **options: Any) -> Iterator[Account]:
    controller = Controller(handler, hostname="127.0.0.1", port=free_port(), enable_SMTPUTF8=True, **options)
    controller.start()
    try:
        yield Account(host="127.0.0.1", port=controller.port, security=SmtpSecurity.NONE)
    finally:
        controller.stop()


def people(*names: str) -> pl.DataFrame:
    frame = recipients(Channel.EMAIL, [f"p{number}" for number in range(len(names))], new_send_id())
    return frame.with_columns(address=pl.Series([f"{name}@x.example" for name in names]))


def envelope(payload: pl.DataFrame, **changes: Any) -> Envelope:
    return Envelope(
        batch_id=7,
        send_id="spring-1",
        organisation_id="acme",
        content=content(Channel.EMAIL, **changes),
        recipients=payload,
    )


def send(
    account: Account, *sent: Envelope, connections: int = 1, timeout_seconds: float = 10.0
) -> list[SendReport]:
    """Send, and check what holds for every answer: each message exactly once, in the agreed columns."""

    async def within() -> list[SendReport]:
        async with Smtp(account, connections=connections, timeout_seconds=timeout_seconds) as provider:
            return [await provider.send(each) for each in sent]

    reports = asyncio.run(within())
    for report, each in zip(reports, sent, strict=True):
        assert report.results.match_to_schema(RESULTS).schema == RESULTS
        assert sorted(report.results["message_id"]) == sorted(each.recipients["message_id"])
    return reports


def fates(report: SendReport, sent: Envelope) -> list[tuple[str, str | None, str | None]]:
    """Status, reason and code, in the order of the recipients."""
    told = sent.recipients.select("message_id").join(
        report.results, on="message_id", how="left", maintain_order="left"
    )
    return told.select("status", "reason", "code").rows()


def assert_lawful(server: Server, *reports: SendReport) -> None:
    """Nothing taken twice, everything accepted taken, and nothing taken that is neither accepted nor unknown."""
    taken = server.taken_from_us
    results = pl.concat([report.results for report in reports])
    accepted = set(results.filter(status="accepted")["message_id"])
    unknown = set(results.filter(status="unknown")["message_id"])
    assert len(taken) == len(set(taken))
    assert accepted <= set(taken) <= accepted | unknown


every_way = pytest.mark.parametrize("is_pipelining", [True, False], ids=["pipelined", "one by one"])


@every_way
def test_accepted_messages_carry_the_servers_ids_and_arrive_as_they_are(is_pipelining: bool) -> None:
    server = Server(is_pipelining=is_pipelining)
    sent = envelope(people(*(f"ann{number}" for number in range(50))), has_one_click=True)
    with running(server) as account:
        (report,) = send(account, sent)
    assert set(fates(report, sent)) == {("accepted", None, None)}
    assert report.results["provider_message_id"].to_list() == [f"Q{number}" for number in range(1, 51)]
    assert (report.error, report.stop, report.retry_after_seconds) == (None, None, None)
    assert len(server.sessions) == 1
    for mail, row in zip(server.taken, sent.recipients.iter_rows(named=True), strict=True):
        message = server.parsed(mail)
        assert (mail.mail_from, mail.rcpt_tos) == ("office@acme.example", [row["address"]])
        assert message["X-Comms-Message"] == row["message_id"]
        assert message["List-Unsubscribe"] == f"<{row['unsubscribe_url']}>"
        text, html = message.iter_parts()
        assert (text.get_content(), html.get_content()) == (f"Hi {row['s0']}!", f"<p>Hi {row['s0']}!</p>")
    assert_lawful(server, report)


def test_what_must_wait_for_its_turn_too_long_is_not_sent() -> None:
    turns = iter([0.0, 0.0, 12.5])

    async def pace() -> float:
        return next(turns)

    server = Server()
    with running(server) as account:
        sent = replace(envelope(people("ann", "bob", "cay")), pace=pace)
        [report] = send(account, sent)

    assert sorted(report.results["status"]) == ["accepted", "accepted", "deferred"]
    assert report.retry_after_seconds == 12.5
    assert len(server.taken) == 2


def test_several_sessions_share_the_work() -> None:
    server = Server()
    server.seconds = 0.02
    sent = envelope(people(*(f"ann{number}" for number in range(40))))
    with running(server) as account:
        (report,) = send(account, sent, connections=4)
    assert set(fates(report, sent)) == {("accepted", None, None)}
    assert len(server.sessions) == 4
    assert_lawful(server, report)


@every_way
def test_each_refusal_strikes_its_own_message_and_the_session_goes_on(is_pipelining: bool) -> None:
    words = (
        "550 5.1.1 no such user here",
        "450 4.2.0 greylisted",
        "552 5.2.2 mailbox full",
        "550 5.7.1 spam",
        "554 5.6.0 bad mail",
        "550-5.2.1 this mailbox\r\n550 5.2.1 is disabled",
        "451 4.7.1 try again later",
    )
    server = Server(is_pipelining=is_pipelining, words=words)
    sent = envelope(
        people(
            *("ann", "say.rcpt.0", "bob", "say.rcpt.1", "say.rcpt.2", "say.rcpt.5", "cem"),
            *("say.body.3", "say.body.4", "say.body.6", "nobody at all", "dan"),
        )
    )
    with running(server) as account:
        (report,) = send(account, sent)
    assert fates(report, sent) == [
        ("accepted", None, None),
        ("refused", "invalid", "5.1.1"),
        ("accepted", None, None),
        ("deferred", None, "4.2.0"),
        ("deferred", None, "5.2.2"),
        ("refused", "bounced", "5.2.1"),
        ("accepted", None, None),
        ("refused", "blocked", "5.7.1"),
        ("refused", "content", "5.6.0"),
        ("deferred", None, "4.7.1"),
        ("refused", "invalid", None),
        ("accepted", None, None),
    ]
    assert len(server.sessions) == 1
    assert report.stop is None
    assert report.error == "the SMTP server answered 5.1.1 to RCPT TO"
    assert_lawful(server, report)


@every_way
@pytest.mark.parametrize(("stage", "fate"), [("rcpt", "deferred"), ("body", "unknown"), ("dot", "unknown")])
def test_a_dropped_connection_is_in_doubt_only_after_the_final_dot(
    is_pipelining: bool, stage: str, fate: str
) -> None:
    server = Server(is_pipelining=is_pipelining)
    sent = envelope(people("ann", f"drop.{stage}", "bob", "cem"))
    with running(server) as account:
        (report,) = send(account, sent)
    assert fates(report, sent) == [
        ("accepted", None, None),
        (fate, None, None),
        *[("accepted", None, None)] * 2,
    ]
    assert report.error == "the connection broke"
    assert len(server.sessions) == 2
    assert_lawful(server, report)


@every_way
def test_a_session_ended_by_the_number_of_its_messages_costs_nothing(is_pipelining: bool) -> None:
    server = Server(is_pipelining=is_pipelining)
    server.most_per_session = 3
    sent = envelope(people(*(f"ann{number}" for number in range(10))))
    with running(server) as account:
        (report,) = send(account, sent)
    assert set(fates(report, sent)) == {("accepted", None, None)}
    assert len(server.sessions) == 4
    assert_lawful(server, report)


def test_a_server_that_ends_every_session_at_once_is_left_alone() -> None:
    words = ("421 4.3.2 shutting down",)
    server = Server(words=words)
    sent = envelope(people(*["ann"] * 20), sender="say.mail.0@acme.example")
    with running(server) as account:
        (report,) = send(account, sent)
    assert {fate[0] for fate in fates(report, sent)} == {"deferred"}
    assert report.stop is None
    assert len(server.sessions) == 3
    assert_lawful(server, report)


@every_way
def test_silence_after_the_dot_is_in_doubt_and_the_next_message_surely_not_sent(is_pipelining: bool) -> None:
    server = Server(is_pipelining=is_pipelining)
    server.seconds = 1.0
    sent = envelope(people("ann", "bob"))
    with running(server) as account:
        (report,) = send(account, sent, timeout_seconds=0.3)
    assert fates(report, sent)[0] == ("unknown", None, None)
    assert report.error == "timed out waiting for the SMTP server"
    assert_lawful(server, report)


def test_a_server_without_8bitmime_gets_quoted_printable() -> None:
    server = Server(offers="no8bit")
    parts = {"subject": ("s",), "text": (".\n..\nZürich 😀 ", 0), "html": ("x" * 3000,)}
    sent = envelope(people("ann"), parts=parts)
    with running(server) as account:
        (report,) = send(account, sent)
    (mail,) = server.taken
    assert isinstance(mail.content, bytes)
    assert mail.content.isascii()
    assert mail.mail_options is not None
    assert not any("BODY" in option for option in mail.mail_options)
    text, html = server.parsed(mail).iter_parts()
    assert text.get_content() == f".\n..\nZürich 😀 {sent.recipients['s0'][0]}".replace("\n", "\r\n")
    assert html.get_content() == "x" * 3000
    assert_lawful(server, report)


@pytest.mark.parametrize(
    "words",
    [
        "-s0- {{ s1 }} {% raw %} ${s1} %s1% [%s1%]",
        "line\r\nbreak\nand\rmore\ttab",
        ".\r\n.\r\nMAIL FROM:<x@y.example>\r\n",
        "\r\n.\r\nQUIT\r\n",
        "<script>alert('x')</script> & \"quotes\" \\ back\\n",
        "😀 Zürich naïve Ελλάδα 漢字 \u200b ‮",
        "",
    ],
)
def test_data_arrives_byte_for_byte(words: str) -> None:
    server = Server()
    sent = envelope(
        people("ann").with_columns(s0=pl.lit(words)),
        parts={"subject": ("s",), "text": (0, "."), "html": (0,)},
    )
    with running(server) as account:
        (report,) = send(account, sent)
    expected = re.sub("\r\n|\r|\n", "\r\n", words)
    text, html = server.parsed(server.taken[0]).iter_parts()
    assert text.get_payload(decode=True).decode() == f"{expected}."
    assert html.get_payload(decode=True).decode() == expected
    assert_lawful(server, report)


def test_a_message_larger_than_the_server_takes_is_refused_unasked() -> None:
    server = Server()
    payload = people("ann", "bob").with_columns(s0=pl.Series(["x\n" * 50_000, "short"]))
    sent = envelope(payload, parts={"subject": ("s",), "text": (0,)})
    with running(server, data_size_limit=20_000) as account:
        (report,) = send(account, sent)
    assert fates(report, sent) == [("refused", "content", "5.3.4"), ("accepted", None, None)]
    assert_lawful(server, report)


@every_way
def test_a_large_message_arrives_whole_and_the_next_one_follows(is_pipelining: bool) -> None:
    server = Server(is_pipelining=is_pipelining)
    payload = people("ann", "bob").with_columns(s0=pl.Series(["0123456789\n" * 200_000, "short"]))
    sent = envelope(payload, parts={"subject": ("s",), "text": ("Hi ", 0, "!"), "html": ("h",)})
    with running(server) as account:
        (report,) = send(account, sent)
    assert set(fates(report, sent)) == {("accepted", None, None)}
    text, _ = server.parsed(server.taken[0]).iter_parts()
    assert text.get_content() == "Hi " + "0123456789\r\n" * 200_000 + "!"
    assert_lawful(server, report)


def test_an_address_beyond_ascii_goes_with_smtputf8() -> None:
    server = Server()
    sent = envelope(people("jürgen", "ann"))
    with running(server) as account:
        (report,) = send(account, sent)
    assert set(fates(report, sent)) == {("accepted", None, None)}
    first, second = server.taken
    assert first.rcpt_tos == ["jürgen@x.example"]
    assert first.mail_options is not None
    assert second.mail_options is not None
    assert "SMTPUTF8" in first.mail_options
    assert "SMTPUTF8" not in second.mail_options


def test_nobody_there_is_surely_not_sent() -> None:
    sent = envelope(people("ann"))
    (report,) = send(Account(host="127.0.0.1", port=free_port(), security=SmtpSecurity.NONE), sent)
    assert fates(report, sent) == [("deferred", None, None)]
    assert report.error
    assert report.error.startswith("cannot connect")
    assert report.stop is None


@every_way
@pytest.mark.parametrize("is_careless", [False, True], ids=["strict", "careless"])
def test_a_sender_the_server_does_not_take_stops_the_lane(is_pipelining: bool, is_careless: bool) -> None:
    server = Server(is_pipelining=is_pipelining, words=("553 5.7.1 sender not allowed",))
    server.is_careless = is_careless
    sent = envelope(people("ann", "bob"), sender="say.mail.0@acme.example")
    with running(server) as account:
        (report,) = send(account, sent)
    assert isinstance(report.stop, ProviderMisconfigured)
    assert {fate[0] for fate in fates(report, sent)} == {"deferred"}
    assert server.taken == []


def log_in(server: SMTP, session: Session, envelope: Received, mechanism: str, data: Any) -> AuthResult:
    assert isinstance(data, LoginPassword)
    is_right = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
    # Not handled: the server itself answers the client.
    return AuthResult(success=is_right, handled=False)


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")
@pytest.mark.parametrize("excluded", [[], ["PLAIN"]], ids=["PLAIN", "LOGIN"])
def test_a_login_opens_and_a_wrong_one_stops_the_lane(excluded: list[str]) -> None:
    server = Server()
    sent = envelope(people("ann", "bob"))
    options = {"authenticator": log_in, "auth_require_tls": False, "auth_exclude_mechanism": excluded}
    with running(server, auth_required=True, **options) as account:
        (right,) = send(replace(account, user=USER, password=PASSWORD), sent)
        (wrong,) = send(replace(account, user=USER, password="guess"), sent)
        (without,) = send(account, sent)
    assert set(fates(right, sent)) == {("accepted", None, None)}
    for report in (wrong, without):
        assert isinstance(report.stop, ProviderMisconfigured)
        assert {fate[0] for fate in fates(report, sent)} == {"deferred"}
        assert "COMMS_SMTP_USER" in str(report.stop)
        assert PASSWORD not in str(report)
    assert_lawful(server, right)


def certificate(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context, and a client's that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "server.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(file)
    return server, ssl.create_default_context(cafile=str(file))


@every_way
def test_starttls_protects_login_and_messages(tmp_path: Path, is_pipelining: bool) -> None:
    theirs, ours = certificate(tmp_path)
    server = Server(is_pipelining=is_pipelining)
    sent = envelope(people(*(f"ann{number}" for number in range(20))))
    with running(server, tls_context=theirs, require_starttls=True, authenticator=log_in) as plain:
        account = replace(
            plain, host="localhost", security=SmtpSecurity.STARTTLS, user=USER, password=PASSWORD
        )
        (report,) = send(replace(account, tls_context=ours), sent, connections=2)
        (untrusted,) = send(account, sent)
    assert set(fates(report, sent)) == {("accepted", None, None)}
    assert isinstance(untrusted.stop, ProviderMisconfigured)
    assert "certificate" in str(untrusted.stop)
    assert_lawful(server, report)


def test_a_server_without_starttls_gets_nothing_in_the_clear() -> None:
    server = Server()
    sent = envelope(people("ann"))
    with running(server) as account:
        (report,) = send(replace(account, security=SmtpSecurity.STARTTLS), sent)
    assert isinstance(report.stop, ProviderMisconfigured)
    assert fates(report, sent) == [("deferred", None, None)]
    assert server.taken == []


def test_smtp_serves_email_when_its_host_is_set_and_the_sandbox_is_off() -> None:
    server = Server()
    sent = envelope(people("ann"))
    with running(server) as account:
        values = {"smtp_host": account.host, "smtp_port": account.port, "smtp_security": "none"}
        assert not Providers(Settings(_env_file=None, **values)).is_configured("email:smtp")
        assert not Providers(Settings(_env_file=None, sandbox=False)).is_configured("email:smtp")
        provider = Providers(Settings(_env_file=None, sandbox=False, **values)).for_lane("email:smtp")

        async def within() -> SendReport:
            now = datetime.now(UTC)
            async with provider:
                report = await provider.send(sent)
                assert await provider.find(sent, now, now) is None
                return report

        report = asyncio.run(within())
    assert set(fates(report, sent)) == {("accepted", None, None)}
    assert_lawful(server, report)


def test_an_abandoned_batch_sends_nothing_more_and_the_next_one_goes() -> None:
    server = Server()
    server.seconds = 0.05
    left, sent = envelope(people(*["ann"] * 50)), envelope(people("bob"))

    async def within(account: Account) -> SendReport:
        async with Smtp(account, connections=1) as provider:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await provider.send(left)
            server.seconds = 0.0
            return await provider.send(sent)

    with running(server) as account:
        report = asyncio.run(within(account))
    assert set(fates(report, sent)) == {("accepted", None, None)}
    assert len(server.taken) < 20
