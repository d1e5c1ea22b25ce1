"""The only reader of the environment. Validates every `COMMS_*` variable; opens nothing.

Values come, strongest first, from the environment, `.env` in the working folder, and `settings.env`
in `COMMS_HOME`, which `comms init` fills with generated keys.
"""

import os
import re
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from comms_pipeline.domain.errors import InvalidSettings
from comms_pipeline.domain.prices import Price, parse_prices
from comms_pipeline.domain.rate import Rate

if TYPE_CHECKING:
    from comms_pipeline.domain.tokens import TokenKeys

PREFIX = "COMMS_"
GENERATED_FILE = "settings.env"
SANDBOX_KEY_PREFIX = "SG.sandbox."
"""How the generated SendGrid keys begin: only the sandbox takes them."""
SANDBOX_SENDER = "+15005550006"
"""Twilio's own magic number for tests: valid, and nobody's."""
_POSTGRES = frozenset({"postgresql", "postgres"})
_MIN_LINK_SECRET_CHARACTERS = 32
# Key 1 is COMMS_SECRET_KEY; a token keeps its key id in one byte.
_LINK_KEY_IDS = range(2, 256)
_WEBHOOK_RATE = Rate(per_second=2000, burst=10_000)


def _split(url: str) -> SplitResult | None:
    """The parts of a URL, None for what is none: urlsplit's own errors quote it, password and all."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return None if re.search(r"\s", url) else parts


def _http_url(value: str) -> str:
    parts = _split(value)
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an http or https address such as https://mail.example.org")
    return value.rstrip("/")


def _postgres_url(value: SecretStr | None) -> SecretStr | None:
    # An empty variable means "not set": it is how people switch a setting off in .env files.
    if value is None or not value.get_secret_value():
        return None
    parts = _split(value.get_secret_value())
    if parts is None or parts.scheme not in _POSTGRES or not parts.hostname or not parts.path.strip("/"):
        raise ValueError("must look like postgresql://user:password@host:5432/comms")
    return value


def _link_secrets(value: SecretStr) -> dict[int, bytes]:
    """The secrets of `2:secret,3:secret` by key id. Raises `ValueError`, which quotes none of them."""
    secrets: dict[int, bytes] = {}
    entries = [entry.strip() for entry in value.get_secret_value().split(",")]
    for place, entry in enumerate(filter(None, entries), start=1):
        number, _, secret = entry.partition(":")
        key_id = int(number) if re.fullmatch("[0-9]{1,3}", number) else 0
        if key_id not in _LINK_KEY_IDS:
            raise ValueError(f"entry {place} must begin with an id from 2 to 255 and a colon, like 2:secret")
        if len(secret) < _MIN_LINK_SECRET_CHARACTERS:
            raise ValueError(
                f"the secret of key {key_id} has less than {_MIN_LINK_SECRET_CHARACTERS} characters"
            )
        if key_id in secrets:
            raise ValueError(f"key {key_id} is there twice")
        if secret.encode() in secrets.values():
            raise ValueError(f"key {key_id} has the secret of another key")
        secrets[key_id] = secret.encode()
    return secrets


def _link_keys(value: SecretStr) -> SecretStr:
    _link_secrets(value)
    return value


def _bare_number(value: str) -> str:
    # Twilio's console shows whatsapp:+14155238886.
    return value.strip().removeprefix("whatsapp:")


def _rates(value: object) -> dict[str, Rate]:
    """`sms:twilio=5/50, email:sendgrid=10/100`: requests per second, and how many at once after a quiet time."""
    if isinstance(value, dict):
        return value
    rates = {}
    for entry in filter(None, (part.strip() for part in str(value or "").split(","))):
        match = re.fullmatch(r"(\w+:\w+)=([0-9.]+)/([0-9]+)", entry)
        if match is None or float(match[2]) <= 0 or int(match[3]) < 1:
            raise ValueError(f"'{entry[:80]}' is no rate; write e.g. sms:twilio=5/50")
        rates[match[1]] = Rate(per_second=float(match[2]), burst=float(match[3]))
    return rates


def _webhook_rate(value: object) -> object:
    """`2000/10000`: requests per second, and how many at once after a quiet time."""
    if not isinstance(value, str):
        return value
    if not value:
        return _WEBHOOK_RATE
    match = re.fullmatch(r"\s*([0-9.]{1,12})/([0-9]{1,9})\s*", value)
    try:
        rate = Rate(per_second=float(match[1]), burst=float(match[2])) if match else None
    except ValueError:
        rate = None
    if rate is None or rate.per_second <= 0 or rate.burst < 1:
        raise ValueError(f"'{value[:80]}' is no rate; write e.g. 2000/10000")
    return rate


def _warm_up(value: object) -> dict[str, date]:
    """`email:sendgrid=2026-12-01, email:smtp=2026-12-05`: the first day of each lane's warm-up."""
    if isinstance(value, dict):
        return value
    starts: dict[str, date] = {}
    for entry in filter(None, (part.strip() for part in str(value or "").split(","))):
        match = re.fullmatch(r"(\w+:\w+)=([0-9]{4}-[0-9]{2}-[0-9]{2})", entry)
        if match is None:
            raise ValueError(f"'{entry[:80]}' is no lane and day; write e.g. email:sendgrid=2026-12-01")
        if match[1] in starts:
            raise ValueError(f"lane {match[1]} is there twice")
        try:
            starts[match[1]] = date.fromisoformat(match[2])
        except ValueError:
            raise ValueError(f"there is no day {match[2]}") from None
    return starts


def _prices(value: object) -> object:
    return parse_prices(value) if isinstance(value, str) else value


HttpUrl = Annotated[str, AfterValidator(_http_url)]
Port = Annotated[int, Field(ge=1, le=65535)]


class SmtpSecurity(StrEnum):
    """How a session with an SMTP server is protected. There is no falling back to less."""

    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"


class Settings(BaseSettings):
    """Everything that can be configured, validated. Secrets never show in `repr`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    home: Path = Field(
        default=Path(".comms"), description="Where the embedded Postgres, the lake and reports live."
    )
    database_url: Annotated[SecretStr | None, AfterValidator(_postgres_url)] = Field(
        default=None, description="A Postgres of yours; empty starts the embedded one."
    )
    secret_key: SecretStr = Field(
        default=SecretStr(""),
        description="Keys tokens, contact ids and suppression hashes; made by `comms init`.",
    )
    link_keys: Annotated[SecretStr, AfterValidator(_link_keys)] = Field(
        default=SecretStr(""), description="Later keys of the links in messages: `2:secret,3:secret`."
    )
    public_url: HttpUrl = Field(
        default="http://127.0.0.1:8700",
        description="The web app's address as recipients and providers reach it.",
    )
    web_port: Port = 8700
    sandbox_port: Port = 8701
    dagster_port: Port = 8702
    sandbox: bool = Field(default=True, description="Send to the sandbox instead of the real providers.")
    sandbox_seed: int = 1
    sandbox_delay_seconds: Annotated[float, Field(ge=0)] = Field(
        default=2.0, description="The sandbox's scale of time: the median from acceptance to delivery."
    )
    sendgrid_api_key: SecretStr = SecretStr("")
    sendgrid_base_url: HttpUrl = "https://api.sendgrid.com"
    events_key: SecretStr = Field(
        default=SecretStr(""), description="What callers of POST /events must show; empty closes it."
    )
    sendgrid_webhook_key: str = Field(default="", description="SendGrid's public verification key, base64.")
    resend_api_key: SecretStr = SecretStr("")
    resend_base_url: HttpUrl = "https://api.resend.com"
    resend_webhook_secret: SecretStr = Field(
        default=SecretStr(""), description="The signing secret of Resend's webhook, `whsec_…`."
    )
    mailgun_api_key: SecretStr = SecretStr("")
    mailgun_domain: str = Field(default="", description="The sending domain, as Mailgun lists it.")
    mailgun_base_url: HttpUrl = "https://api.mailgun.net"
    mailgun_webhook_key: SecretStr = Field(
        default=SecretStr(""), description="Mailgun's HTTP webhook signing key."
    )
    twilio_account_sid: str = ""
    twilio_auth_token: SecretStr = SecretStr("")
    twilio_base_url: HttpUrl = "https://api.twilio.com"
    twilio_from: str = Field(default="", description="The sending number (E.164) or Messaging Service SID.")
    twilio_whatsapp_from: Annotated[str, AfterValidator(_bare_number)] = Field(
        default="",
        description="The WhatsApp sender's number or Messaging Service; empty: nothing goes by WhatsApp.",
    )
    smtp_host: str = Field(default="", description="Your SMTP server; empty: e-mail does not go by SMTP.")
    smtp_port: Port = 587
    smtp_user: str = ""
    smtp_password: SecretStr = SecretStr("")
    smtp_security: SmtpSecurity = SmtpSecurity.STARTTLS
    smtp_connections: Annotated[int, Field(ge=1, le=100)] = 8

    @property
    def token_keys(self) -> "TokenKeys":
        """Signs and verifies the links in messages: `secret_key` is key 1, `link_keys` are the later ones.

        Raises `InvalidSettings` without a secret key: every link would be forgeable.
        """
        from comms_pipeline.domain.tokens import TokenKeys

        first = self.secret_key.get_secret_value().encode()
        return TokenKeys(secrets={1: first, **_link_secrets(self.link_keys)})

    rates: Annotated[dict[str, Rate], NoDecode, BeforeValidator(_rates)] = Field(
        default_factory=dict,
        description="Requests per second and burst by lane, e.g. `sms:twilio=5/50`; the rest as the provider allows.",
    )

    webhook_rate: Annotated[Rate, NoDecode, BeforeValidator(_webhook_rate)] = Field(
        default=_WEBHOOK_RATE,
        description="Webhooks per second and burst that one client may post for one provider: `2000/10000`.",
    )

    warm_up: Annotated[dict[str, date], NoDecode, BeforeValidator(_warm_up)] = Field(
        default_factory=dict,
        description="First day of a lane's warm-up, e.g. `email:sendgrid=2026-12-01`; few messages a day from then on.",
    )

    prices: Annotated[dict[str, Price], NoDecode, BeforeValidator(_prices)] = Field(
        default_factory=dict,
        description="What a message (of SMS: a segment) costs by lane: `sms:twilio=0.0083 USD, email:smtp=0 EUR`.",
    )

    notify: SecretStr = Field(
        default=SecretStr(""),
        description="Who hears of alerts: Apprise addresses, blanks between; `P1=slack://…` only of P1 and graver.",
    )
    alerts: Path | None = Field(default=None, description="Your own file of alert rules; see docs/alerts.md.")

    @property
    def lake_path(self) -> Path:
        """The folder of the lake's Parquet files."""
        return self.home / "lake"

    @property
    def reports_path(self) -> Path:
        """The folder of the reports: pages and PDFs."""
        return self.home / "reports"

    @property
    def sandbox_url(self) -> str:
        """Where the sandbox listens; never reachable from another machine."""
        return f"http://127.0.0.1:{self.sandbox_port}"

    @property
    def sendgrid_url(self) -> str:
        """The SendGrid API this installation talks to."""
        return self.sandbox_url if self.sandbox else self.sendgrid_base_url

    @property
    def resend_url(self) -> str:
        """The Resend API this installation talks to."""
        return self.sandbox_url if self.sandbox else self.resend_base_url

    @property
    def mailgun_url(self) -> str:
        """The Mailgun API this installation talks to."""
        return self.sandbox_url if self.sandbox else self.mailgun_base_url

    @property
    def twilio_url(self) -> str:
        """The Twilio API this installation talks to."""
        return self.sandbox_url if self.sandbox else self.twilio_base_url


def load_settings(home: Path | None = None, **overrides: object) -> Settings:
    """Read and validate the settings. `home` stands in for `COMMS_HOME`.

    Raises `InvalidSettings`, naming the first variable at fault.
    """
    home = (home or Path(os.environ.get(f"{PREFIX}HOME") or ".comms")).expanduser().absolute()
    try:
        # pydantic-settings takes the later file of the tuple as the stronger one.
        return Settings(_env_file=(home / GENERATED_FILE, Path(".env")), home=home, **overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = PREFIX + str(first["loc"][0] if first["loc"] else "").upper()
        problem = first["msg"].removeprefix("Value error, ")
        raise InvalidSettings(name, problem, f"Set {name} in the environment or in .env") from None
    except UnicodeDecodeError:
        raise InvalidSettings(
            f"{home / GENERATED_FILE} or .env", "not UTF-8 text", "Save it as UTF-8"
        ) from None
