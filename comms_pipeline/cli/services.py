"""`comms init`, `up`, `down`, `clean`, `db …` and `serve …`: long-running parts and what they need."""

import os
import shutil
import socket
import sys
from pathlib import Path
from typing import Annotated

import typer

from comms_pipeline.cli.console import out, step
from comms_pipeline.cli.installation import (
    SANDBOX_KEY_FILE,
    dagster_home,
    initialise,
    prepare_home,
    start_database,
    write_dagster_home,
)
from comms_pipeline.cli.project_files import project_file
from comms_pipeline.domain.errors import InvalidSettings, PortInUse
from comms_pipeline.ledger import launcher
from comms_pipeline.ledger.feeds import Feed, Watermark
from comms_pipeline.settings import GENERATED_FILE, Settings, load_settings
from comms_pipeline.stores import Stores, find_server

_LOOPBACK = "127.0.0.1"


def init() -> None:
    """Make everything ready: home, keys, Postgres, databases, lake. Can run again."""
    with step("Preparing"):
        stores = initialise(load_settings())
    out.print(f"Ready in {stores.settings.home}. Next: `comms demo`, or `comms campaigns apply FOLDER`.")


def up() -> None:
    """Run everything in the foreground: Postgres, web app, sandbox, Dagster. Ctrl-C stops it all."""
    settings = prepare_home(load_settings())
    was_running = settings.database_url is not None or launcher.running(settings.home) is not None
    for port, variable in _ports(settings):
        require_free(port, variable)
    with step("Preparing"):
        initialise(settings).lake.close()
    out.print(
        f"Dagster  http://{_LOOPBACK}:{settings.dagster_port}\n"
        f"Web app  {settings.public_url}\n"
        f"Sandbox  {settings.sandbox_url}\n"
        "Ctrl-C stops everything."
    )
    try:
        code = _run_procfile(settings)
    finally:
        if not was_running:
            launcher.stop(settings.home)
    raise typer.Exit(code)


def _run_procfile(settings: Settings) -> int:
    from honcho.environ import parse_procfile
    from honcho.manager import Manager

    environment = {
        **os.environ,
        "COMMS_HOME": str(settings.home),
        # The programs of this installation, also when it is not activated.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONUNBUFFERED": "1",
    }
    manager = Manager()
    commands = parse_procfile(project_file("Procfile").read_text(encoding="utf-8")).processes
    for name, command in commands.items():
        if name != "sandbox" or settings.sandbox:
            manager.add_process(name, command, env=environment)
    manager.loop()
    # Stopped by Ctrl-C, its children end by signal: that is success.
    return 0 if (manager.returncode or 0) <= 0 or manager.returncode in {130, 143} else 1


def down() -> None:
    """Stop the embedded Postgres. (What `comms up` started stops with it.)"""
    stop_database()


def clean(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete the home with everything in it: database, lake, keys, reports. There is no way back."""
    settings = load_settings()
    if not settings.home.exists():
        out.print(f"{settings.home} does not exist: nothing to delete")
        return
    if not (settings.home / GENERATED_FILE).exists():
        raise InvalidSettings(
            "COMMS_HOME", f"{settings.home} was not made by `comms init`", "Delete it yourself if you mean it"
        )
    if not yes:
        typer.confirm(f"Delete {settings.home} with everything in it?", abort=True)
    launcher.remove(settings.home)
    try:
        shutil.rmtree(settings.home)
    except OSError as error:
        problem = (error.strerror or "it cannot be deleted").lower()
        raise InvalidSettings(str(error.filename), problem, "Stop `comms up`, then try again") from None
    out.print(f"{settings.home} is gone")


def start_database_command() -> None:
    """Start the embedded Postgres; it stays up until `comms db stop`."""
    server = start_database(prepare_home(load_settings()))
    out.print(f"Postgres runs at {server.address}")


def stop_database() -> None:
    """Stop the embedded Postgres."""
    launcher.stop(load_settings().home)
    out.print("Postgres is stopped")


def web() -> None:
    """Serve webhooks, the pages and pixels behind links, and /health."""
    import uvicorn

    from comms_pipeline.web.app import create_app

    settings = prepare_home(load_settings())
    require_free(settings.web_port, "COMMS_WEB_PORT")
    stores = Stores(settings)
    app = create_app(settings, find_server(settings), landing_watermark=lambda: _landing_watermark(stores))
    # No access log: the path of an unsubscribe link is a credential.
    uvicorn.run(app, host=_LOOPBACK, port=settings.web_port, access_log=False, log_level="warning")


def _landing_watermark(stores: Stores) -> Watermark:
    from comms_pipeline.loader.watermarks import read_watermark

    with stores.lake.reader() as cursor:
        return read_watermark(cursor, Feed.LANDINGS)


def sandbox() -> None:
    """Serve the stand-ins for SendGrid, Twilio, Resend and Mailgun; look at what was sent in the browser."""
    import uvicorn

    from comms_pipeline.sandbox.app import create_sandbox
    from comms_pipeline.sandbox.config import SandboxConfig

    settings = prepare_home(load_settings())
    require_free(settings.sandbox_port, "COMMS_SANDBOX_PORT")
    config = SandboxConfig(
        folder=settings.home / "sandbox",
        seed=settings.sandbox_seed,
        sendgrid_api_key=settings.sendgrid_api_key.get_secret_value(),
        twilio_account_sid=settings.twilio_account_sid,
        twilio_auth_token=settings.twilio_auth_token.get_secret_value(),
        webhook_private_key=(settings.home / SANDBOX_KEY_FILE).read_text(encoding="ascii"),
        web_url=settings.public_url,
        resend_api_key=settings.resend_api_key.get_secret_value(),
        mailgun_api_key=settings.mailgun_api_key.get_secret_value(),
        mailgun_domain=settings.mailgun_domain,
        resend_webhook_secret=settings.resend_webhook_secret.get_secret_value(),
        mailgun_webhook_key=settings.mailgun_webhook_key.get_secret_value(),
        event_delay_seconds=settings.sandbox_delay_seconds,
    )
    uvicorn.run(
        create_sandbox(config),
        host=_LOOPBACK,
        port=settings.sandbox_port,
        access_log=False,
        log_level="warning",
    )


def dagster() -> None:
    """Serve the Dagster UI."""
    settings = _dagster_environment()
    require_free(settings.dagster_port, "COMMS_DAGSTER_PORT")
    _replace_process(
        "dagster-webserver", "-h", _LOOPBACK, "-p", str(settings.dagster_port), "--log-level", "warning"
    )


def daemon() -> None:
    """Run Dagster's daemon: sensors, schedules, the run queue."""
    _dagster_environment()
    _replace_process("dagster-daemon", "run", "--log-level", "warning")


def loader() -> None:
    """Bring what lands into the lake within seconds, as far as where each message stands."""
    import signal
    from threading import Event

    from comms_pipeline.loader.following import follow

    stores, stopped = Stores(prepare_home(load_settings())), Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    follow(stores, stopped)
    stores.lake.close()


def _dagster_environment() -> Settings:
    settings = prepare_home(load_settings())
    write_dagster_home(settings, find_server(settings))
    os.environ["DAGSTER_HOME"] = str(dagster_home(settings))
    os.environ["COMMS_HOME"] = str(settings.home)
    return settings


def _replace_process(program: str, *arguments: str) -> None:
    path = Path(sys.executable).parent / program
    workspace = ["-w", str(project_file("workspace.yaml"))]
    sys.stdout.flush()
    os.execv(path, [program, *arguments, *workspace])  # noqa: S606 - our own installation's program


def _ports(settings: Settings) -> list[tuple[int, str]]:
    ports = [(settings.web_port, "COMMS_WEB_PORT"), (settings.dagster_port, "COMMS_DAGSTER_PORT")]
    return [*ports, (settings.sandbox_port, "COMMS_SANDBOX_PORT")] if settings.sandbox else ports


def require_free(port: int, variable: str) -> None:
    """Raises `PortInUse` naming the variable that chooses another port."""
    with socket.socket() as probe:
        # As servers do: a port whose last connections are still closing is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_LOOPBACK, port))
        except OSError:
            raise PortInUse(
                f"port {port}",
                "another process is using it",
                f"Stop that process, or set {variable} to a free port",
            ) from None
