"""The only reader of the environment. Validates every `COMMS_*` variable; opens nothing.

Values come, strongest first, from the environment, `.env` in the working folder, and `settings.env`
in `COMMS_HOME`, which `comms init` fills with generated keys.
"""

import os
import re
from pathlib import Path
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from comms_pipeline.domain.errors import InvalidSettings

PREFIX = "COMMS_"
GENERATED_FILE = "settings.env"
SANDBOX_KEY_PREFIX = "SG.sandbox."
"""How the generated SendGrid keys begin: only the sandbox takes them."""
SANDBOX_SENDER = "+15005550006"
"""Twilio's own magic number for tests: valid, and nobody's."""
_POSTGRES = frozenset({"postgresql", "postgres"})


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


HttpUrl = Annotated[str, AfterValidator(_http_url)]
Port = Annotated[int, Field(ge=1, le=65535)]


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
    sendgrid_webhook_key: str = Field(default="", description="SendGrid's public verification key, base64.")
    twilio_account_sid: str = ""
    twilio_auth_token: SecretStr = SecretStr("")
    twilio_base_url: HttpUrl = "https://api.twilio.com"
    twilio_from: str = Field(default="", description="The sending number (E.164) or Messaging Service SID.")

    @property
    def lake_path(self) -> Path:
        """The folder of the lake's Parquet files."""
        return self.home / "lake"

    @property
    def reports_path(self) -> Path:
        """The folder of the HTML reports."""
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
