"""Makes an installation ready: home, keys, databases, migrations, lake, Dagster's home. Can run again, always."""

import os
import secrets
from base64 import b64encode
from pathlib import Path

import yaml

from comms_pipeline.domain.errors import InvalidSettings
from comms_pipeline.ledger import launcher, migrate
from comms_pipeline.ledger.server import Database, Server
from comms_pipeline.sandbox.config import generate_webhook_key
from comms_pipeline.settings import (
    GENERATED_FILE,
    PREFIX,
    SANDBOX_KEY_PREFIX,
    SANDBOX_SENDER,
    Settings,
    load_settings,
)
from comms_pipeline.stores import Stores

SANDBOX_KEY_FILE = "sandbox_webhook_key.pem"


def prepare_home(settings: Settings) -> Settings:
    """Create the home with its generated keys; returns the settings as they read afterwards.

    Existing keys are never replaced: links and suppressions hang on them. Raises `InvalidSettings`.
    """
    home = settings.home
    try:
        home.mkdir(parents=True, exist_ok=True)
        home.chmod(0o700)
    except OSError as error:
        raise InvalidSettings(
            f"{PREFIX}HOME", f"{home} cannot be used ({error.strerror})", "Choose a folder you own"
        ) from None
    path = home / GENERATED_FILE
    if not path.exists():
        private_key, public_key = generate_webhook_key()
        _write_secret(home / SANDBOX_KEY_FILE, private_key)
        values = {
            "SECRET_KEY": secrets.token_urlsafe(32),
            "SENDGRID_API_KEY": f"{SANDBOX_KEY_PREFIX}{secrets.token_urlsafe(24)}",
            "SENDGRID_WEBHOOK_KEY": public_key,
            "RESEND_WEBHOOK_SECRET": f"whsec_{b64encode(secrets.token_bytes(24)).decode()}",
            "MAILGUN_WEBHOOK_KEY": secrets.token_hex(16),
            "TWILIO_ACCOUNT_SID": f"AC{secrets.token_hex(16)}",
            "TWILIO_AUTH_TOKEN": secrets.token_hex(16),
            "TWILIO_FROM": SANDBOX_SENDER,
            "TWILIO_WHATSAPP_FROM": SANDBOX_SENDER,
        }
        note = "# Made by `comms init`. The provider keys are the sandbox's; set real ones in .env.\n"
        _write_secret(path, note + "".join(f"{PREFIX}{name}={value}\n" for name, value in values.items()))
    return load_settings(home)


def start_database(settings: Settings) -> Server:
    """The Postgres of these settings; the embedded one is started when need be."""
    if settings.database_url is not None:
        return Server.from_url(settings.database_url.get_secret_value())
    return launcher.ensure_started(settings.home)


def initialise(settings: Settings) -> Stores:
    """Bring everything up to date and return the opened stores. A few milliseconds when nothing is to do."""
    settings = prepare_home(settings)
    server = start_database(settings)
    launcher.ensure_databases(server)
    migrate.migrate(server)
    stores = Stores(settings)
    stores.lake.create_tables()
    write_dagster_home(settings, server)
    return stores


def dagster_home(settings: Settings) -> Path:
    """Where Dagster keeps its configuration and compute logs."""
    return settings.home / "dagster"


def write_dagster_home(settings: Settings, server: Server) -> Path:
    """Write `dagster.yaml` for this server; it holds the password, so only its owner can read it."""
    home = dagster_home(settings)
    home.mkdir(exist_ok=True)
    # Plain postgresql:// makes SQLAlchemy pick a driver dagster-postgres cannot use.
    url = server.url(Database.DAGSTER).replace("postgresql://", "postgresql+psycopg2://", 1)
    text = yaml.safe_dump(_DAGSTER | {"storage": {"postgres": {"postgres_url": url}}}, sort_keys=False)
    path = home / "dagster.yaml"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        _write_secret(path, text)
    return home


_DAGSTER: dict[str, object] = {
    "telemetry": {"enabled": False},
    "nux": {"enabled": False},
    "run_queue": {"dequeue_interval_seconds": 1},
    # What runs print; the UI keeps every event whatever this says.
    "python_logs": {"python_log_level": "INFO"},
    "concurrency": {
        "pools": {"default_limit": 4, "granularity": "op"},
        "runs": {
            "max_concurrent_runs": 8,
            # Two runs of one send would only get in each other's way; the ledger keeps them apart anyway.
            "tag_concurrency_limits": [
                {"key": "send", "value": {"applyLimitPerUniqueValue": True}, "limit": 1}
            ],
        },
    },
    "run_monitoring": {
        "enabled": True,
        "start_timeout_seconds": 60,
        "max_runtime_seconds": 14400,
        "poll_interval_seconds": 10,
        "free_slots_after_run_end_seconds": 15,
    },
    # Each retry of a send would be a decision taken outside the ledger.
    "run_retries": {"enabled": True, "max_retries": 0, "retry_on_asset_or_op_failure": False},
}


def _write_secret(path: Path, text: str) -> None:
    """Write a file only its owner can read, whole or not at all."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(
        os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
    ) as file:
        file.write(text)
    temporary.replace(path)
