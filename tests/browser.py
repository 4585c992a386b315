"""A page in a real browser: what it came to show, what it asked its server for, and what the browser said."""

from __future__ import annotations

import functools
import http.server
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

needs_chromium = pytest.mark.skipif(
    not shutil.which("chromium"), reason="chromium is not installed: apt install chromium"
)


def browse(folder: Path, page: str, profile: Path) -> tuple[str, list[str], str]:
    """Return the document as shown, every path that was asked for, and the browser's log (what its policy refused, what did not load)."""
    asked: list[str] = []

    class Counting(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            super().do_GET()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Counting, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    flags = "--headless --no-sandbox --disable-gpu --disable-background-networking --disable-component-update"
    flags += " --disable-sync --no-first-run --enable-logging=stderr --dump-dom"
    try:
        done = subprocess.run(
            ["chromium", *flags.split(), f"--user-data-dir={profile}", f"http://127.0.0.1:{server.server_port}/{page}"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    finally:
        server.shutdown()
        server.server_close()
    return done.stdout, asked, done.stderr
