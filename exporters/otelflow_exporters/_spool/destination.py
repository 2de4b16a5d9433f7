"""Where what waits in a spool is to be sent: a spool remembers it, and nothing in it is ever sent to anybody else."""

import functools
import hashlib
import hmac
import os
import re
import sys
from pathlib import Path
from typing import Final, NamedTuple

from opentelemetry.util.re import parse_env_headers

from otelflow._core.process.files import Folder, is_held
from otelflow._core.text.redaction import is_secret
from otelflow.errors import ConfigurationError, StoreUnreadable
from otelflow_exporters._otlp.endpoint import ExportStatus, is_grpc, otlp_settings, variable
from otelflow_exporters._store.limits import absolute, default_directory
from otelflow_exporters._store.ownership import DESTINATION, MARKER

_ANY_VERSION: Final = "otelflow spool "
_VERSION: Final = f"{_ANY_VERSION}1"
#: In bytes
LARGEST: Final = 4096
_DIGITS: Final = 16
_NAMELESS: Final = re.compile(rf"[0-9a-f]{{{_DIGITS}}}")
_SIGNALS: Final = ("traces", "logs", "metrics")
_ROUNDS: Final = 20_000  # four milliseconds


class Destination(NamedTuple):
    """An endpoint, as it may be shown, and what tells it from others: its address, and headers that are no secrets.

    *folder_name* is what the folder is called that nobody has named: there is one for each key, too.
    """

    place: str
    fingerprint: str
    folder_name: str

    def check(self, folder: Folder) -> None:
        """Make *folder*, if it is a spool, that of this destination. Raises StoreUnreadable if it is another's."""
        try:
            lines = folder.read(DESTINATION, LARGEST).decode("utf-8", "replace").splitlines()
        except FileNotFoundError:
            # Empty, or around the spools of other signals, and so no spool yet: with this file it would never be one.
            if folder.file(MARKER) is None:
                return
            lines = [_VERSION, self.fingerprint, self.place]
            folder.write(DESTINATION, "\n".join(lines).encode("utf-8", "replace"))
        if lines and lines[0] != _VERSION and lines[0].startswith(_ANY_VERSION):
            raise StoreUnreadable(
                f"The spool {folder.path} was made by another version of otelflow, as the file {DESTINATION} in it "
                "says: name another folder in OTELFLOW_SPOOL_DIR; 'otelflow ship' of that version sends what waits "
                "there"
            )
        if lines[:2] != [_VERSION, self.fingerprint]:
            owner = lines[2] if len(lines) > 2 else "another endpoint"
            raise StoreUnreadable(
                f"The spool {folder.path} was made for {owner}, not for {self.place}: name another folder in "
                f"OTELFLOW_SPOOL_DIR, or remove the file {DESTINATION} in it, and what waits there is sent to "
                f"{self.place}"
            )
        if folder.path.name == self.folder_name and not _has_locks(folder):
            raise StoreUnreadable(
                f"The spool {folder.path} is on a file system without locks, where no process knows which others live: "
                "name a folder for each process in OTELFLOW_SPOOL_DIR"
            )

    def check_key(self, path: Path) -> None:
        """Raise StoreUnreadable if *path* is the folder, which nobody has named, of those who have another key."""
        if is_nameless(path) and path.name != self.folder_name:
            raise StoreUnreadable(
                f"What waits in {path} was to be sent with another key than the one that is set: "
                f"'otelflow ship {path}' sends it with this one"
            )


def _has_locks(folder: Folder) -> bool:
    descriptor = folder.open(DESTINATION, os.O_RDONLY)
    try:
        return is_held(descriptor) is not None
    finally:
        os.close(descriptor)


def destination_of(signal: str, exporter: str = "otlp") -> Destination:
    """Return where the exporter of that name sends *signal*, as the variables say. Raises ConfigurationError.

    A key may change and the destination be the same; a header that names a tenant makes it another one. Two tenants may
    differ by their keys alone, though: so nothing is shared that nobody has named.
    """
    name = "otlp_proto_grpc" if is_grpc(signal, exporter) else "otlp_proto_http"
    endpoint, _ = otlp_settings(signal, name)
    headers = parse_env_headers(variable(signal, "HEADERS")[1], liberal=True)
    harmless = sorted(f"{key}={value}" for key, value in headers.items() if not is_secret(key))
    place = ExportStatus(endpoint).endpoint.rstrip("/")
    text = "\n".join((signal, place, *harmless))
    fingerprint = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
    keys = []  # what tells one user of an endpoint from another, and may be shown to nobody
    for name in _SIGNALS:  # all of them wait in one folder
        headers = parse_env_headers(variable(name, "HEADERS")[1], liberal=True)
        keys += [f"{name} {key}={value}" for key, value in sorted(headers.items()) if is_secret(key)]
        endpoint = variable(name, "ENDPOINT")[1]
        keys += [f"{name} {endpoint}"] if ExportStatus(endpoint).endpoint != endpoint else []  # a part of it is hidden
        certificate = variable(name, "CLIENT_CERTIFICATE")[1]
        keys += [f"{name} {certificate}"] if certificate else []
    return Destination(place, fingerprint, (_digest("\n".join(keys), fingerprint) if keys else fingerprint)[:_DIGITS])


@functools.lru_cache(4)
def _digest(keys: str, fingerprint: str) -> str:
    """Return a name for *keys* that is slow to make, so that nobody who reads it finds a short one by trying all."""
    password, salt = keys.encode("utf-8", "replace"), fingerprint.encode()
    derive = getattr(hashlib, "pbkdf2_hmac", _pbkdf2_hmac)
    digest: bytes = derive("sha256", password, salt, _ROUNDS)
    return digest.hex()


def _pbkdf2_hmac(algorithm: str, password: bytes, salt: bytes, rounds: int) -> bytes:
    """Return what ``hashlib`` does, which has that function only where Python was built with OpenSSL."""
    keyed = hmac.new(password, None, algorithm)

    def signed(message: bytes) -> bytes:
        signing = keyed.copy()
        signing.update(message)
        return signing.digest()

    block = signed(salt + (1).to_bytes(4, "big"))
    total = int.from_bytes(block, "big")
    for _ in range(rounds - 1):
        block = signed(block)
        total ^= int.from_bytes(block, "big")
    return total.to_bytes(len(block), "big")


def spool_directory(mode: str, directory: str, exporter: str = "otlp") -> Path | None:
    """Return the folder in which the spans for *exporter* wait, as the settings ``spool`` and ``spool_dir`` say.

    None: they wait in memory, or go without a spool. Raises ConfigurationError, also where there is no home for it.
    """
    if mode in ("off", "memory"):
        return None
    if sys.platform == "win32":  # without locks, no process knows which others live
        if mode == "auto":
            return None
        raise ConfigurationError(
            f"OTELFLOW_SPOOL={mode} asks for a spool in files, which Windows cannot lock: set OTELFLOW_SPOOL=memory"
        )
    if directory:
        return absolute(os.fspath(directory), "OTELFLOW_SPOOL_DIR")
    # One folder for each destination, so that none is ever refused.
    return spools_directory() / destination_of("traces", exporter).folder_name


def spools_directory() -> Path:
    """Return where the spools are that nobody has named: beside the local store. Raises ConfigurationError."""
    return default_directory().parent / "spool"


def is_nameless(path: Path) -> bool:
    """Tell whether *path* is a spool that nobody has named: one in their folder may have a name of somebody's, too."""
    return path.parent == spools_directory() and _NAMELESS.fullmatch(path.name) is not None
