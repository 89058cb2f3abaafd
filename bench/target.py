"""The target that takes the deliveries: nginx, which is faster than any server under test. Its access log is the judge
of what was delivered, how often, and when (to the millisecond, cut off).
"""

import datetime
import math
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bench import processes
from bench.server import free_port

_CONFIG: Final = """
daemon off;
master_process off;
worker_processes 1;
error_log {folder}/error.log warn;
pid {folder}/nginx.pid;
events {{ worker_connections 8192; }}
http {{
    log_format delivery '$msec $http_x_tasks_queue_id $http_x_tasks_attempt $arg_due $connection';
    access_log {folder}/access.log delivery buffer=256k flush=200ms;
    keepalive_timeout 3600s;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen {address}:{port} backlog=4096{tls};
        allow 127.0.0.0/8;
        deny all;
        location / {{ return 200; }}
        location = /ready {{ access_log off; return 200; }}
    }}
}}
"""
_READY_SECONDS_MAX: Final = 10.0


class Delivery(msgspec.Struct, frozen=True):
    """One request that came in: when (ms since the epoch), of which task and attempt, and when it was due (NaN when
    the request did not tell).
    """

    at_ms: float
    task_id: str
    attempt: int
    due_ms: float
    connection: int = 0
    """The target's number of the connection that it came on."""

    @property
    def late_ms(self) -> float:
        return self.at_ms - self.due_ms


def repeats(deliveries: Iterable[Delivery]) -> int:
    """How many deliveries were not the first of their task."""
    return sum(count - 1 for count in Counter(delivery.task_id for delivery in deliveries).values())


class Nginx:
    """nginx on a free port, as a context. `folder` is made and gets its configuration and logs. With `tls` it speaks
    that, with a certificate of its own making; with `every_address` it answers at all of 127.0.0.0/8.
    """

    def __init__(self, folder: Path, *, tls: bool = False, every_address: bool = False) -> None:
        self._folder = folder
        self._tls = tls
        self._address = "0.0.0.0" if every_address else "127.0.0.1"  # others than loopback are turned away
        self._log = folder / "access.log"
        self._kept_log = folder / "deliveries.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> "Nginx":
        program = processes.needed("nginx", "nginx-light")
        self._folder.mkdir()
        config = self._folder / "nginx.conf"
        tls = ""
        if self._tls:
            both = certificate(self._folder)
            tls = f" ssl; ssl_certificate {both}; ssl_certificate_key {both}"
        config.write_text(_CONFIG.format(folder=self._folder, port=self.port, address=self._address, tls=tls))
        self._process = subprocess.Popen(
            [program, "-p", str(self._folder), "-c", str(config), "-e", str(self._folder / "error.log")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + _READY_SECONDS_MAX
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._process.kill()
                sys.exit(f"bench: nginx did not start; see {self._folder / 'error.log'}")
            time.sleep(0.01)
        return self

    def _answers(self) -> bool:
        try:
            anybody = ssl._create_unverified_context() if self._tls else None  # it is ours
            with urllib.request.urlopen(self.url + "/ready", timeout=1, context=anybody):
                return True
        except OSError:
            return False

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends it; its log is complete then."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            # Asked to open its log again, it first writes what it has; the new file says that it has done so. A signal
            # that comes just before it waits for events is not seen until the next one: so it is asked again.
            self._log.rename(self._kept_log)
            deadline = time.monotonic() + _READY_SECONDS_MAX
            while not self._log.exists() and process.poll() is None and time.monotonic() < deadline:
                process.send_signal(signal.SIGUSR1)
                time.sleep(0.05)
        finally:
            process.kill()  # it has nothing left to do
            process.wait()

    def cpu_seconds(self) -> float:
        """CPU time it took so far."""
        assert self._process is not None
        return processes.usage(self._process.pid).cpu_seconds

    def deliveries(self) -> list[Delivery]:
        """All that came in. Call it after `stop`."""
        assert self._process is None
        found = []
        with self._kept_log.open() as log:
            for line in log:
                at, task_id, attempt, due, connection = line.split()
                delivery = Delivery(round(float(at) * 1e3), task_id, int(attempt), due_of(due), int(connection))
                found.append(delivery)
        return found


def certificate(folder: Path) -> Path:
    """A key and a certificate for 127.0.0.1, signed by itself, in one file of the folder."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "target of the benchmarks")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(private, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    path = folder / "both.pem"
    path.write_bytes(private.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain) + made.public_bytes(pem))
    return path


def due_of(text: str) -> float:
    """A due time from a log; NaN, which compares with nothing, when the request told none."""
    return math.nan if text == "-" else float(text)
