"""Servers that others have written, each a process of its own for as long as a test needs it."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.engine.http.authority import Authority, Identity
from tests.engine.http.target import DEADLINE_SECONDS

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


class ServerProcess:
    """Runs while it is entered. `errors` is the file that takes what it says."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self._command = command
        self.errors = folder / "errors"

    def __enter__(self) -> "ServerProcess":
        with self.errors.open("wb") as errors:
            self._process = subprocess.Popen(self._command, stdout=errors, stderr=errors)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(DEADLINE_SECONDS)
        finally:
            self._process.kill()
            self._process.wait()

    def until_it_wrote(self, path: Path, wanted: int = 1) -> list[str]:
        """The lines of a file, once it has so many that are complete."""
        end = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < end:
            text = path.read_text() if path.exists() else ""
            if text.count("\n") >= wanted:
                return text.splitlines()
            assert self._process.poll() is None, self.errors.read_text()
            time.sleep(0.01)
        raise AssertionError(f"{path.name} has no {wanted} lines: {self.errors.read_text()}")


class ForwardProxy(ServerProcess):
    """proxy.py: forwards requests, makes tunnels, and wants `login` (`user:password`) where that is given."""

    def __init__(self, folder: Path, login: str | None = None) -> None:
        self._port_file = folder / "port"
        options = ["--hostname", "127.0.0.1", "--port", "0", "--port-file", str(self._port_file)]
        options += ["--num-acceptors", "1", "--num-workers", "1", "--data-dir", str(folder / "data")]
        options += ["--basic-auth", login] if login else []
        super().__init__([sys.executable, "-m", "proxy", *options], folder)

    def __enter__(self) -> "ForwardProxy":
        super().__enter__()
        self.port = int(self.until_it_wrote(self._port_file)[0])
        return self


_CONFIG = """
daemon off; master_process off; pid {folder}/pid; error_log stderr;
events {{ worker_connections 64; }}
http {{
  log_format seen '$connection $server_protocol $request_method $uri $ssl_client_s_dn';
  access_log {folder}/seen seen;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port} ssl http2;
    ssl_certificate {folder}/server.pem; ssl_certificate_key {folder}/server.key;
    ssl_client_certificate {folder}/clients.pem; ssl_verify_client {clients};
    location / {{ return 200 "ok"; }}
  }}
}}
"""


class Nginx(ServerProcess):
    """nginx with TLS, and with HTTP/2 for those who ask for it. `clients` says whether they have to show a certificate
    of that authority.
    """

    def __init__(self, folder: Path, identity: Identity, port: int, clients: Authority, required: bool = False) -> None:
        assert NGINX is not None
        self.seen_file = folder / "seen"
        self.port = port
        (folder / "server.pem").write_bytes(identity.pem)
        (folder / "server.key").write_bytes(identity.key())
        (folder / "clients.pem").write_bytes(clients.pem)
        config = folder / "nginx.conf"
        config.write_text(_CONFIG.format(folder=folder, port=port, clients="on" if required else "off"))
        super().__init__([NGINX, "-c", str(config), "-e", "stderr"], folder)
        self._pid_file = folder / "pid"

    def __enter__(self) -> "Nginx":
        super().__enter__()
        self.until_it_wrote(self._pid_file)  # written once it listens
        return self

    def url(self, path: str = "/") -> str:
        return f"https://127.0.0.1:{self.port}{path}"

    def seen(self, count: int) -> list[list[str]]:
        """Connection, version, method, path and client of each request, once there are so many."""
        return [line.split(" ", 4) for line in self.until_it_wrote(self.seen_file, count)]
