"""Pictures of pages, by whatever headless Chromium there is. Knows nothing of templates."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from comms_pipeline.domain.errors import CommsError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_WIDTH = 680
_MAX_HEIGHT = 8_000
_SECONDS = 60
_MEASURE = '<script>document.title="height="+document.documentElement.scrollHeight</script>'
_HEIGHT = re.compile(r"<title>height=(\d+)</title>")
_TITLE = re.compile(r"<title>.*?</title>", re.DOTALL)


class NoPicture(CommsError):
    """A page cannot be photographed."""


def photograph(page: Path, picture: Path) -> None:
    """Writes a PNG of the whole page, 680 pixels wide. Raises `NoPicture`."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise NoPicture(
            "--png", "there is no Chromium on the PATH", "Install chromium, or open the HTML file"
        )
    with tempfile.TemporaryDirectory(prefix="comms-picture-", ignore_cleanup_errors=True) as folder:
        measured = Path(folder) / "measured.html"
        measured.write_text(_TITLE.sub("", page.read_text(encoding="utf-8")) + _MEASURE, encoding="utf-8")
        found = _HEIGHT.search(_run(browser, folder, 100, ["--dump-dom", measured.as_uri()]))
        height = min(int(found[1]), _MAX_HEIGHT) if found else _MAX_HEIGHT
        _run(browser, folder, height, [f"--screenshot={picture.absolute()}", page.absolute().as_uri()])
    if not picture.is_file():
        raise NoPicture(browser, "it made no picture", "Open the HTML file instead")


def _run(browser: str, folder: str, height: int, arguments: list[str]) -> str:
    """What the browser printed. Nothing is loaded from the network: a preview tells nobody it was made."""
    command = [
        browser,
        "--headless",
        "--disable-gpu",
        "--no-first-run",
        "--hide-scrollbars",
        "--proxy-server=127.0.0.1:9",
        f"--user-data-dir={folder}/profile",
        f"--window-size={_WIDTH},{height}",
        # Chromium's own sandbox refuses to run as root.
        *(["--no-sandbox"] if os.geteuid() == 0 else []),
        *arguments,
    ]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise NoPicture(
            browser, f"it took longer than {_SECONDS} seconds", "Open the HTML file instead"
        ) from None
    return done.stdout.decode(errors="replace")
