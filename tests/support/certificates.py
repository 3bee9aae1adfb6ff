"""Throw-away certificates for TLS in tests: an authority, a server, a client, and a stranger.

Made once per process by the openssl command in a folder that goes when the process ends; no key is
ever kept.
"""

from __future__ import annotations

import atexit
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

NAME = "gateway.test"
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True, slots=True)
class Certificates:
    """The files. The server's certificate is for `name` only, not for an IP address; `stranger` is
    an authority that has signed nothing here."""

    name: str
    ca: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path
    stranger: Path


@cache
def certificates() -> Certificates:
    """Made at the first call."""
    folder = Path(tempfile.mkdtemp(prefix="modbus-tls-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    ca, ca_key = _made(folder, "ca", "/CN=Throw-away authority")
    stranger, _ = _made(folder, "stranger", "/CN=Another authority")
    signed = ("-CA", str(ca), "-CAkey", str(ca_key), "-addext", "basicConstraints=CA:FALSE")
    server = _made(folder, "server", "/CN=gateway", *signed,
                   "-addext", f"subjectAltName=DNS:{NAME}",
                   "-addext", "extendedKeyUsage=serverAuth")  # fmt: skip
    client = _made(folder, "client", "/CN=controller", *signed,
                   "-addext", "extendedKeyUsage=clientAuth")  # fmt: skip
    return Certificates(NAME, ca, *server, *client, stranger)


def _made(folder: Path, name: str, subject: str, *more: str) -> tuple[Path, Path]:
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        ["openssl", "req", "-x509", *_KEY, "-keyout", str(key), "-out", str(certificate),
         "-days", "2", "-subj", subject, *more],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    return certificate, key
