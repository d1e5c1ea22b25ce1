"""The sandbox over HTTP: official SDKs talk to it, their verifiers accept what it posts, nothing is lost."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import parse_qsl
from urllib.request import Request, urlopen

import pytest
import sendgrid
from python_http_client.exceptions import HTTPError as SendGridError
from sendgrid.helpers.eventwebhook import EventWebhook
from twilio.base.exceptions import TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.request_validator import RequestValidator
from twilio.rest import Client

from comms_pipeline.sandbox.config import generate_webhook_key

API_KEY, ACCOUNT, TOKEN = "SG.sandbox", "AC" + "0" * 32, "secret-token"
SENDER, SERVICE = "+15005550006", "MG" + "a" * 32
PATIENCE_SECONDS = 60
PRIVATE_KEY, PUBLIC_KEY = generate_webhook_key()

SERVE = """
import json, sys
from pathlib import Path
import uvicorn
from comms_pipeline.sandbox.app import create_sandbox
from comms_pipeline.sandbox.config import SandboxConfig
options = json.loads(sys.argv[1])
port = options.pop("port")
config = SandboxConfig(**{**options, "folder": Path(options["folder"])})
uvicorn.run(create_sandbox(config), host="127.0.0.1", port=port, access_log=False, log_level="warning")
"""


class Received(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """A web server that keeps what is posted to it and answers with `status`."""

    def __init__(self) -> None:
        receiver = self
        self.received: list[Received] = []
        self.refused = 0
        self.status = 204

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if receiver.status == 204:
                    receiver.received.append(Received(self.path, dict(self.headers), body))
                else:
                    receiver.refused += 1
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_GET(self) -> None:
                receiver.received.append(Received(self.path, dict(self.headers), b""))
                self.send_response(404)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def to(self, path: str) -> list[Received]:
        return [received for received in list(self.received) if received.path.partition("?")[0] == path]

    def events(self, message_id: str) -> list[dict[str, Any]]:
        batches = [json.loads(received.body) for received in self.to("/webhooks/sendgrid")]
        return [event for batch in batches for event in batch if event.get("comms_message") == message_id]

    def callbacks(self, message_id: str) -> list[dict[str, str]]:
        posts = self.to("/webhooks/twilio/status")
        return [dict(parse_qsl(post.body.decode())) for post in posts if f"message={message_id}" in post.path]


class Sandbox:
    """A sandbox in a process of its own."""

    def __init__(self, folder: Path, web_url: str, event_delay_seconds: float) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        options = {
            "port": port,
            "folder": str(folder),
            "seed": 1,
            "sendgrid_api_key": API_KEY,
            "twilio_account_sid": ACCOUNT,
            "twilio_auth_token": TOKEN,
            "webhook_private_key": PRIVATE_KEY,
            "web_url": web_url,
            "event_delay_seconds": event_delay_seconds,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVE, json.dumps(options)], stderr=subprocess.PIPE
        )
        wait_until(self._is_up)

    def _is_up(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(self.process.communicate()[1].decode())
        with suppress(OSError):
            return bool(self.get("/_sandbox/health")["status"] == "ok")
        return False

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.communicate()

    def stop(self) -> str:
        """Stop it cleanly; returns what it had to complain of."""
        self.process.send_signal(signal.SIGINT)
        return self.process.communicate(timeout=PATIENCE_SECONDS)[1].decode()

    def request(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, bytes, Any]:
        """(status, body, headers) of whatever is answered."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            with urlopen(Request(self.url + path, body, named, method=method), timeout=30) as answer:
                return answer.status, answer.read(), answer.headers
        except HTTPError as error:
            with error:
                return error.code, error.read(), error.headers

    def get(self, path: str) -> Any:
        return json.loads(self.request("GET", path)[1])

    def send(self, mail: dict[str, Any]) -> tuple[int, bytes, Any]:
        body = json.dumps(mail).encode()
        return self.request(
            "POST", "/v3/mail/send", body, Authorization=f"Bearer {API_KEY}", Content_Type="application/json"
        )

    def logs(self, query: str, limit: int = 100) -> tuple[int, Any]:
        body = json.dumps({"query": query, "limit": limit}).encode()
        status, answer, _ = self.request(
            "POST", "/v3/logs", body, Authorization=f"Bearer {API_KEY}", Content_Type="application/json"
        )
        return status, json.loads(answer)

    def break_things(self, *rules: dict[str, Any]) -> None:
        assert self.request("POST", "/_sandbox/faults", json.dumps(rules).encode())[0] == 204

    def mend(self) -> None:
        assert self.request("DELETE", "/_sandbox/faults")[0] == 204

    def settle(self) -> None:
        """Wait until every recipient has done what they do."""
        wait_until(lambda: self.get("/_sandbox/health")["owed"] == 0)


class LocalTwilio(TwilioHttpClient):
    """The SDK's HTTP client, sent to the sandbox instead of api.twilio.com."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        return super().request(method, url.replace("https://api.twilio.com", self._url), *args, **kwargs)


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def mail(*people: tuple[str, str], web_url: str = "http://127.0.0.1:9", **changes: Any) -> dict[str, Any]:
    """A mail to people given as (address, our message id)."""
    return {
        "personalizations": [
            {
                "to": [{"email": address}],
                "substitutions": {"-name-": f"<{message_id}>"},
                "custom_args": {"comms_message": message_id, "comms_org": "acme", "comms_send": "spring-1"},
                "headers": {
                    "List-Unsubscribe": f"<{web_url}/u/{message_id}>",
                    "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
                },
            }
            for address, message_id in people
        ],
        "from": {"email": "office@acme.example", "name": "Acme"},
        "subject": "Hello -name-",
        "content": [
            {"type": "text/plain", "value": "Hello -name-"},
            {
                "type": "text/html",
                "value": '<b>Hello -name-</b> <a href="https://acme.example/shop">Shop</a> '
                f'<a href="{web_url}/unsubscribe/-name-">Unsubscribe</a>',
            },
        ],
        "categories": ["spring", "batch-1"],
        **changes,
    }


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    yield server
    server.close()


@pytest.fixture(scope="module")
def sandbox(receiver: Receiver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    server = Sandbox(tmp_path_factory.mktemp("sandbox"), receiver.url, event_delay_seconds=0.05)
    yield server
    complaint = "the sandbox posts to this machine and the web app only, not to 192.0.2.1\n"
    assert server.stop() in {"", complaint}


@pytest.fixture
def twilio(sandbox: Sandbox) -> Iterator[Client]:
    http = LocalTwilio(sandbox.url)
    yield Client(ACCOUNT, TOKEN, http_client=http)
    http.session.close()


def test_sendgrids_sdk_sends_and_its_verifier_accepts_the_events(
    sandbox: Sandbox, receiver: Receiver
) -> None:
    client = sendgrid.SendGridAPIClient(API_KEY, host=sandbox.url)
    answer = client.send(mail(("click.carla@x.example", "carla"), ("bounce.bob@x.example", "bob")))
    assert answer.status_code == 202
    assert answer.body == b""
    assert answer.headers["X-RateLimit-Limit"] == "10000"
    sandbox.settle()
    verifier = EventWebhook(PUBLIC_KEY)
    posts = receiver.to("/webhooks/sendgrid")
    assert posts
    for post in posts:
        signature = post.headers["X-Twilio-Email-Event-Webhook-Signature"]
        timestamp = post.headers["X-Twilio-Email-Event-Webhook-Timestamp"]
        assert verifier.verify_signature(post.body.decode(), signature, timestamp)
    carla = {event["event"]: event for event in receiver.events("carla")}
    assert set(carla) == {"processed", "delivered", "open", "click"}
    assert carla["click"]["url"] == "https://acme.example/shop"
    assert carla["delivered"]["sg_message_id"].startswith(answer.headers["X-Message-Id"] + ".")
    assert carla["delivered"]["category"] == ["spring", "batch-1"]
    assert carla["delivered"]["comms_org"] == "acme"
    assert "sg_machine_open" not in carla["open"]
    [bounce] = [event for event in receiver.events("bob") if event["event"] == "bounce"][:1]
    assert (bounce["type"], bounce["status"][0], bounce["email"]) == ("bounce", "5", "bounce.bob@x.example")


def test_machines_open_and_follow_every_link(sandbox: Sandbox, receiver: Receiver) -> None:
    assert sandbox.send(mail(("machine@x.example", "robot"), categories=["only"]))[0] == 202
    sandbox.settle()
    events = receiver.events("robot")
    opened = next(event for event in events if event["event"] == "open")
    assert opened["sg_machine_open"] is True
    assert opened["category"] == "only"
    assert {event["url"] for event in events if event["event"] == "click"} == {
        "https://acme.example/shop",
        "http://127.0.0.1:9/unsubscribe/<robot>",
    }


def test_scanners_go_where_the_provider_tracks_nothing_and_people_do_not(
    sandbox: Sandbox, receiver: Receiver
) -> None:
    trap = f'<a clicktracking="off" href="{receiver.url}/t/-name-"></a>'
    body = [{"type": "text/html", "value": f'<a href="https://acme.example/shop">Shop</a> {trap}'}]
    people = mail(("machine@x.example", "gateway"), ("click@x.example", "person"), content=body)
    for each in people["personalizations"]:
        each["substitutions"] = {"-name-": each["custom_args"]["comms_message"]}
    assert sandbox.send(people)[0] == 202
    sandbox.settle()
    [visit] = receiver.to("/t/gateway")
    assert (visit.body, "aiohttp" in visit.headers["User-Agent"]) == (b"", False)
    assert receiver.to("/t/person") == []
    for message in ("gateway", "person"):
        clicks = [event["url"] for event in receiver.events(message) if event["event"] == "click"]
        assert set(clicks) == {"https://acme.example/shop"}


def test_a_late_bounce_is_known_by_our_id_alone(sandbox: Sandbox, receiver: Receiver) -> None:
    assert sandbox.send(mail(("async@x.example", "late")))[0] == 202
    sandbox.settle()
    bounce = next(event for event in receiver.events("late") if event["event"] == "bounce")
    assert "sg_message_id" not in bounce
    assert bounce["comms_message"] == "late"


def test_whoever_unsubscribes_posts_to_the_one_click_address(sandbox: Sandbox, receiver: Receiver) -> None:
    assert sandbox.send(mail(("unsub@x.example", "leaver"), web_url=receiver.url))[0] == 202
    sandbox.settle()
    [post] = receiver.to("/u/leaver")
    assert post.body == b"List-Unsubscribe=One-Click"


def test_nothing_is_posted_to_other_machines(sandbox: Sandbox, receiver: Receiver) -> None:
    assert sandbox.send(mail(("unsub@x.example", "stay"), web_url="https://192.0.2.1"))[0] == 202
    sandbox.settle()
    assert {event["event"] for event in receiver.events("stay")} == {"processed", "delivered", "open"}


REFUSALS = {
    "a wrong key": ({"Authorization": "Bearer SG.wrong"}, b"{}", 401, None),
    "no JSON by its type": ({"Content_Type": "text/plain"}, b"{}", 415, None),
    "no JSON by its content": ({}, b"{", 400, None),
    "a mail without anything": ({}, b"{}", 400, "from.email"),
    "more than 30 MB": ({"Content_Length": str(31 * 1024 * 1024)}, b"{}", 413, None),
}


@pytest.mark.parametrize(("headers", "body", "status", "field"), REFUSALS.values(), ids=REFUSALS)
def test_mail_send_refuses_as_sendgrid_does(
    sandbox: Sandbox, headers: dict[str, str], body: bytes, status: int, field: str | None
) -> None:
    given = {"Authorization": f"Bearer {API_KEY}", "Content_Type": "application/json", **headers}
    answered, text, _ = sandbox.request("POST", "/v3/mail/send", body, **given)
    assert answered == status
    error = json.loads(text)["errors"][0]
    assert set(error) == {"message", "field", "help"}
    assert error["field"] == field


def test_sendgrids_sdk_raises_for_a_refused_mail(sandbox: Sandbox) -> None:
    client = sendgrid.SendGridAPIClient(API_KEY, host=sandbox.url)
    with pytest.raises(SendGridError) as raised:
        client.send(mail(("nobody", "n1")))
    assert raised.value.status_code == 400
    assert raised.value.to_dict["errors"][0]["field"] == "personalizations.0.to.0.email"
    assert sandbox.request("GET", "/_sandbox/message/n1")[0] == 404


def test_a_rehearsal_is_checked_but_not_accepted(sandbox: Sandbox) -> None:
    settings = {"sandbox_mode": {"enable": True}}
    assert sandbox.send(mail(("quiet@x.example", "rehearsed"), mail_settings=settings))[0] == 200
    assert sandbox.request("GET", "/_sandbox/message/rehearsed")[0] == 404


def test_the_whole_text_of_a_message_can_be_read(sandbox: Sandbox) -> None:
    assert sandbox.send(mail(("quiet@x.example", "whole")))[0] == 202
    shown = sandbox.get("/_sandbox/message/whole")
    assert shown["to"] == "quiet@x.example"
    assert shown["subject"] == "Hello <whole>"
    assert shown["text"] == "Hello <whole>"
    assert shown["html"].startswith("<b>Hello <whole></b>")
    assert shown["headers"]["List-Unsubscribe"] == "<http://127.0.0.1:9/u/whole>"
    assert (shown["org"], shown["send"], shown["accepted"]) == ("acme", "spring-1", 1)


def test_accepting_a_message_twice_shows_in_the_record(sandbox: Sandbox) -> None:
    people = mail(("quiet@x.example", "twice-1"), ("quiet@x.example", "twice-2"))
    for _ in range(2):
        assert sandbox.send(people)[0] == 202
    once = mail(("quiet@x.example", "once-1"))
    assert sandbox.send(once)[0] == 202
    found, cursor = [], 0
    while cursor is not None:
        page = sandbox.get(f"/_sandbox/messages?provider=sendgrid&send=spring-1&limit=2&cursor={cursor}")
        found += page["messages"]
        cursor = page["next"]
    counts = {listed["message"]: listed["accepted"] for listed in found}
    assert (counts["twice-1"], counts["twice-2"], counts["once-1"]) == (2, 2, 1)
    totals = sandbox.get("/_sandbox/summary")["providers"]["sendgrid"]
    assert totals["duplicates"] == 2
    assert totals["accepted"] == totals["distinct"] + 2


def test_copies_are_recipients_but_not_messages_of_their_own(sandbox: Sandbox, receiver: Receiver) -> None:
    people = mail(("quiet.to@x.example", "copied"))
    people["personalizations"][0]["cc"] = [{"email": "quiet.cc@x.example"}]
    assert sandbox.send(people)[0] == 202
    sandbox.settle()
    assert sandbox.get("/_sandbox/message/copied")["accepted"] == 1
    addresses = {event["email"] for event in receiver.events("copied")}
    assert addresses == {"quiet.to@x.example", "quiet.cc@x.example"}


def test_the_logs_find_messages_by_category_within_a_window(sandbox: Sandbox) -> None:
    people = (("quiet.a@x.example", "log-a"), ("bounce.b@x.example", "log-b"))
    assert sandbox.send(mail(*people, categories=["logged"]))[0] == 202
    sandbox.settle()
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 300))
    window = f"categories IN ('logged') AND sg_message_id_created_at >= TIMESTAMP \"{since}\""
    status, found = sandbox.logs(window)
    assert status == 200
    assert {(each["to_email"], each["status"]) for each in found["messages"]} == {
        ("quiet.a@x.example", "delivered"),
        ("bounce.b@x.example", "bounced"),
    }
    _, bounced = sandbox.logs(f"{window} AND status IN ('bounced')")
    assert [each["subject"] for each in bounced["messages"]] == ["Hello <log-b>"]
    _, by_address = sandbox.logs("to_email = 'QUIET.A@x.example'")
    assert [each["to_email"] for each in by_address["messages"]] == ["quiet.a@x.example"]
    assert sandbox.logs("categories IN ('unknown')") == (200, {"messages": []})
    assert len(sandbox.logs(window, limit=1)[1]["messages"]) == 1


def test_the_logs_tell_one_message_with_our_id_and_its_events(sandbox: Sandbox) -> None:
    assert sandbox.send(mail(("quiet.d@x.example", "detail")))[0] == 202
    sandbox.settle()
    sg_message_id = sandbox.logs("to_email = 'quiet.d@x.example'")[1]["messages"][0]["sg_message_id"]
    by_id = sandbox.logs(f"sg_message_id = '{sg_message_id}'")[1]["messages"]
    assert [each["to_email"] for each in by_id] == ["quiet.d@x.example"]
    status, body, _ = sandbox.request("GET", f"/v3/logs/{sg_message_id}", Authorization=f"Bearer {API_KEY}")
    detail = json.loads(body)
    assert status == 200
    assert detail["custom_args"]["comms_message"] == "detail"
    assert [event["event"] for event in detail["events"]] == ["processed", "delivered"]
    assert detail["status"] == "delivered"
    unknown, _, _ = sandbox.request("GET", "/v3/logs/unknown.1", Authorization=f"Bearer {API_KEY}")
    assert unknown == 404


@pytest.mark.parametrize(("query", "limit"), [("from_email = 'x'", 10), ("", 1001), ("", 0)])
def test_the_logs_refuse_what_they_do_not_know(sandbox: Sandbox, query: str, limit: int) -> None:
    assert sandbox.logs(query, limit)[0] == 400


def test_twilios_sdk_sends_and_its_validator_accepts_the_callbacks(
    sandbox: Sandbox, receiver: Receiver, twilio: Client
) -> None:
    callback = f"{receiver.url}/webhooks/twilio/status?message=sms-1&org=acme&send=spring-1"
    sent = twilio.messages.create(to="+15550100008", from_=SENDER, body="Hi €", status_callback=callback)
    assert (sent.status, sent.num_segments, sent.direction, sent.price) == (
        "queued",
        "1",
        "outbound-api",
        None,
    )
    assert sent.date_sent is None
    sandbox.settle()
    posts = [post for post in receiver.to("/webhooks/twilio/status") if "message=sms-1" in post.path]
    for post in posts:
        form = dict(parse_qsl(post.body.decode()))
        validator = RequestValidator(TOKEN)
        assert validator.validate(receiver.url + post.path, form, post.headers["X-Twilio-Signature"])
    told = receiver.callbacks("sms-1")
    assert {form["MessageStatus"] for form in told} == {"sent", "delivered"}
    assert {form["MessageSid"] for form in told} == {sent.sid}
    fetched = twilio.messages(sent.sid).fetch()
    assert (fetched.status, fetched.price, fetched.body) == ("delivered", "-0.00790", "Hi €")
    shown = sandbox.get("/_sandbox/message/sms-1")
    assert (shown["provider"], shown["text"], shown["org"]) == ("twilio", "Hi €", "acme")


def test_an_undelivered_text_tells_why(sandbox: Sandbox, receiver: Receiver, twilio: Client) -> None:
    callback = f"{receiver.url}/webhooks/twilio/status?message=sms-2"
    sent = twilio.messages.create(
        to="+15550100003", messaging_service_sid=SERVICE, body="Hi", status_callback=callback
    )
    assert (sent.status, sent.num_segments) == ("accepted", "0")
    sandbox.settle()
    told = {form["MessageStatus"]: form.get("ErrorCode") for form in receiver.callbacks("sms-2")}
    assert told == {"queued": None, "sent": None, "undelivered": "30005"}
    assert twilio.messages(sent.sid).fetch().error_code == 30005


def test_whoever_replies_stop_cannot_be_sent_to_again(
    sandbox: Sandbox, receiver: Receiver, twilio: Client
) -> None:
    twilio.messages.create(to="+15550990001", from_=SENDER, body="Hi")
    sandbox.settle()
    replies = receiver.to("/webhooks/twilio/inbound")
    forms = [dict(parse_qsl(post.body.decode())) for post in replies]
    [(post, form)] = [
        (post, form) for post, form in zip(replies, forms, strict=True) if form["From"] == "+15550990001"
    ]
    assert (form["Body"], form["To"], form["OptOutType"]) == ("STOP", SENDER, "STOP")
    url = receiver.url + "/webhooks/twilio/inbound"
    assert RequestValidator(TOKEN).validate(url, form, post.headers["X-Twilio-Signature"])
    with pytest.raises(TwilioRestException) as raised:
        twilio.messages.create(to="+15550990001", from_=SENDER, body="Hi again")
    assert (raised.value.code, raised.value.status) == (21610, 400)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"to": "+15550100002", "from_": SENDER, "body": "x"}, 21211),
        ({"to": "+15550100008", "from_": "+15005550007", "body": "x"}, 21606),
        ({"to": "+15550100008", "from_": SENDER, "body": "x" * 1601}, 21617),
        ({"to": "+15550100008", "from_": SENDER}, 21602),
        ({"to": "+15550100008", "body": "x"}, 21603),
    ],
)
def test_create_message_refuses_as_twilio_does(twilio: Client, fields: dict[str, str], code: int) -> None:
    with pytest.raises(TwilioRestException) as raised:
        twilio.messages.create(**fields)
    assert (raised.value.code, raised.value.status) == (code, 400)


def test_a_wrong_token_or_account_is_refused(sandbox: Sandbox) -> None:
    http = LocalTwilio(sandbox.url)
    with pytest.raises(TwilioRestException) as raised:
        Client(ACCOUNT, "wrong", http_client=http).messages.create(to="+1555", from_=SENDER, body="x")
    assert (raised.value.code, raised.value.status) == (20003, 401)
    with pytest.raises(TwilioRestException) as raised:
        Client(ACCOUNT, TOKEN, "AC1", http_client=http).messages.create(to="+1555", from_=SENDER, body="x")
    assert raised.value.status == 404
    http.session.close()


def test_texts_are_listed_in_pages_by_recipient_sender_and_date(sandbox: Sandbox, twilio: Client) -> None:
    sids = [twilio.messages.create(to="+15550770008", from_=SENDER, body=f"{n}").sid for n in range(5)]
    other = twilio.messages.create(to="+15550770008", from_="+15005550010", body="other").sid
    listed = [message.sid for message in twilio.messages.list(to="+15550770008", page_size=2)]
    assert listed == [other, *reversed(sids)]
    by_sender = twilio.messages.list(to="+15550770008", from_=SENDER, page_size=2)
    assert [message.sid for message in by_sender] == list(reversed(sids))
    today = time.strftime("%Y-%m-%d", time.gmtime())
    assert len(twilio.messages.list(to="+15550770008", date_sent_after=f"{today}T00:00:00Z")) == 6
    assert twilio.messages.list(to="+15550770008", date_sent_before="2020-01-01") == []


def test_faults_break_sends_as_asked(sandbox: Sandbox) -> None:
    sandbox.break_things(
        {"provider": "sendgrid", "kind": "reset_before", "count": 1},
        {"provider": "sendgrid", "kind": "reset_after_accept", "count": 1},
        {"provider": "sendgrid", "kind": "timeout_after_accept", "seconds": 0.1, "count": 1},
        {"provider": "sendgrid", "kind": "timeout_before", "seconds": 0.1, "count": 1},
        {"provider": "sendgrid", "kind": "status", "code": 503, "retry_after": 7, "count": 1},
        {"provider": "sendgrid", "kind": "wrong_body", "count": 1},
        {"provider": "sendgrid", "kind": "slow", "seconds": 0.1, "count": 1},
    )
    for name in ("reset-before", "reset-after", "timeout-after", "timeout-before"):
        with pytest.raises(OSError, match=r"."):
            sandbox.send(mail(("quiet@x.example", name)))
    status, _, headers = sandbox.send(mail(("quiet@x.example", "status")))
    assert (status, headers["Retry-After"]) == (503, "7")
    status, body, _ = sandbox.send(mail(("quiet@x.example", "wrong-body")))
    assert (status, body[:6]) == (200, b"<html>")
    assert sandbox.send(mail(("quiet@x.example", "slow")))[0] == 202
    names = (
        "reset-before",
        "reset-after",
        "timeout-after",
        "timeout-before",
        "status",
        "wrong-body",
        "slow",
    )
    found = {name for name in names if sandbox.request("GET", f"/_sandbox/message/{name}")[0] == 200}
    assert found == {"reset-after", "timeout-after", "slow"}


def test_a_refusal_is_answered_even_where_an_acceptance_would_be_lost(sandbox: Sandbox) -> None:
    sandbox.break_things({"provider": "sendgrid", "kind": "reset_after_accept"})
    assert sandbox.send({})[0] == 400
    sandbox.mend()
    assert sandbox.send(mail(("quiet@x.example", "mended")))[0] == 202


def test_rate_limits_are_answered_as_the_providers_do(sandbox: Sandbox, twilio: Client) -> None:
    sandbox.break_things(
        {"provider": "sendgrid", "kind": "rate_limit", "requests": 1, "window_seconds": 3600},
        {"provider": "twilio", "kind": "rate_limit", "requests": 0},
    )
    assert sandbox.send(mail(("quiet@x.example", "limit-1")))[0] == 202
    status, body, headers = sandbox.send(mail(("quiet@x.example", "limit-2")))
    assert status == 429
    assert json.loads(body)["errors"][0]["message"] == "too many requests"
    assert (headers["X-RateLimit-Limit"], headers["X-RateLimit-Remaining"]) == ("1", "0")
    assert int(headers["X-RateLimit-Reset"]) > time.time()
    with pytest.raises(TwilioRestException) as raised:
        twilio.messages.create(to="+15550100008", from_=SENDER, body="x")
    assert (raised.value.code, raised.value.status) == (20429, 429)
    sandbox.mend()


def test_a_malformed_fault_is_refused(sandbox: Sandbox) -> None:
    status, body, _ = sandbox.request("POST", "/_sandbox/faults", b'[{"provider": "sendgrid", "kind": "x"}]')
    assert status == 400
    assert "kind" in json.loads(body)["error"]


def test_the_inbox_shows_messages_and_lets_none_of_them_act(sandbox: Sandbox) -> None:
    hostile = mail(("quiet@x.example", "hostile"), subject="<script>alert(1)</script>")
    assert sandbox.send(hostile)[0] == 202
    status, page, headers = sandbox.request("GET", "/")
    assert status == 200
    assert b"&lt;script&gt;alert(1)" in page
    assert b"<script" not in page
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    key = page.decode().partition("/?key=")[2].partition('"')[0]
    _, opened, _ = sandbox.request("GET", f"/?key={key}")
    assert (
        f'<iframe sandbox title="The message as its recipient sees it" src="/_sandbox/preview/{key}"'.encode()
        in opened
    )
    _, preview, headers = sandbox.request("GET", f"/_sandbox/preview/{key}")
    assert preview.startswith(b"<b>Hello")
    assert headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")


@pytest.mark.parametrize("path", ["/v3/unknown", "/2010-04-01/unknown", "/unknown"])
def test_what_is_not_served_is_not_found(sandbox: Sandbox, path: str) -> None:
    assert sandbox.request("GET", path)[0] == 404


def test_a_killed_sandbox_keeps_what_it_accepted_and_posts_what_it_owes(tmp_path: Path) -> None:
    receiver = Receiver()
    receiver.status = 503
    first = Sandbox(tmp_path, receiver.url, event_delay_seconds=0.05)
    people = [(f"quiet{number}@x.example", f"kept-{number}") for number in range(300)]
    assert first.send(mail(*people))[0] == 202
    wait_until(lambda: receiver.refused > 0)
    first.kill()
    receiver.status = 204
    second = Sandbox(tmp_path, receiver.url, event_delay_seconds=0.05)
    second.settle()
    assert second.get("/_sandbox/summary")["providers"]["sendgrid"]["accepted"] == 300
    for _, message_id in people:
        assert {event["event"] for event in receiver.events(message_id)} == {"processed", "delivered"}
    assert second.stop() == ""
    taken = len(receiver.received)
    third = Sandbox(tmp_path, receiver.url, event_delay_seconds=0.05)
    third.settle()
    assert third.stop() == ""
    assert len(receiver.received) == taken
    receiver.close()


def test_an_event_posted_again_after_a_crash_keeps_its_id(tmp_path: Path) -> None:
    receiver = Receiver()
    first = Sandbox(tmp_path, receiver.url, event_delay_seconds=0.05)
    assert first.send(mail(("quiet@x.example", "again")))[0] == 202
    wait_until(lambda: len(receiver.events("again")) == 2)
    first.kill()
    second = Sandbox(tmp_path, receiver.url, event_delay_seconds=0.05)
    second.settle()
    assert second.stop() == ""
    events = receiver.events("again")
    assert len({event["sg_event_id"] for event in events}) == 2
    receiver.close()


def test_whoever_stopped_before_a_crash_stays_stopped(tmp_path: Path) -> None:
    receiver = Receiver()
    first = Sandbox(tmp_path, receiver.url, event_delay_seconds=0.05)
    http = LocalTwilio(first.url)
    Client(ACCOUNT, TOKEN, http_client=http).messages.create(to="+15550990001", from_=SENDER, body="Hi")
    http.session.close()
    wait_until(lambda: len(receiver.to("/webhooks/twilio/inbound")) == 1)
    first.kill()
    second = Sandbox(tmp_path, receiver.url, event_delay_seconds=0.05)
    http = LocalTwilio(second.url)
    with pytest.raises(TwilioRestException) as raised:
        Client(ACCOUNT, TOKEN, http_client=http).messages.create(to="+15550990001", from_=SENDER, body="Hi")
    assert raised.value.code == 21610
    http.session.close()
    assert second.stop() == ""
    receiver.close()


def test_a_second_sandbox_does_not_start_on_the_same_folder(tmp_path: Path) -> None:
    first = Sandbox(tmp_path, "http://127.0.0.1:9", event_delay_seconds=1.0)
    with pytest.raises(AssertionError, match="another sandbox is using this folder"):
        Sandbox(tmp_path, "http://127.0.0.1:9", event_delay_seconds=1.0)
    assert first.stop() == ""
