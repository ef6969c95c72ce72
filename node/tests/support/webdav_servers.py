"""Five real WebDAV servers behind TLS with client certificates, and what is known of each: data for tests and docs.

WsgiDAV runs in this process anywhere; the others are Debian's, so they need the build image.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from support.webdav_server import Credentials, serve, webdav_app

from keyfold.clock import SystemClock

_READY_SECONDS = 20.0


@dataclass(frozen=True)
class Server:
    """`overwrites`: it ignores `If-None-Match: *`. `vague`: PUT into an absent collection is a 500.
    `grades`: what the check must see, where it is not `_COMMON`.

    Several outcomes are listed where the server's answer depends on timing.
    """

    title: str
    start: Callable[[Path, Credentials], AbstractContextManager[str]]
    overwrites: bool = False
    vague: bool = False
    grades: dict[str, str | tuple[str, ...]] = field(default_factory=dict)

    @property
    def expected(self) -> dict[str, tuple[str, ...]]:
        """Probe → outcomes."""
        found = {**_COMMON, **self.grades}
        return {probe: (outcome,) if isinstance(outcome, str) else outcome for probe, outcome in found.items()}


_COMMON: dict[str, str | tuple[str, ...]] = {
    "tls_version": "TLSv1.3",
    "client_certificate": "demanded",
    "clock": "agrees",
    "make_collection": "made",
    "read_after_write": "same",
    "content_length": "honoured",
    "listing": "true",
    "receive_time": "its_own",
    "aborted_put_new": "nothing",
    "plain_put_over": "overwrites",
    "aborted_put_over": "kept",
    "no_clobber": "refused",
    "no_clobber_race": "one",
    "move_no_overwrite": "refused",
    "mkcol_race": "one",
    "content_range_put": "refused",
    "range_get": "part",
    "chunked_put": "stored",
    "quota": "not_told",
    "delete": "allowed",
}


@contextmanager
def wsgidav(root: Path, credentials: Credentials) -> Iterator[str]:
    with serve(webdav_app(root), credentials) as url:
        yield url


@contextmanager
def apache(root: Path, credentials: Credentials) -> Iterator[str]:
    modules = "mpm_event authz_core dav dav_fs ssl"
    loaded = "\n".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in modules.split())
    with _directory(root, "www-data") as work:
        port = _free_port()
        (work / "apache.conf").write_text(f"""{loaded}
            ServerName 127.0.0.1
            Listen 127.0.0.1:{port}
            User www-data
            Group www-data
            PidFile {work}/pid
            DefaultRuntimeDir {work}
            ErrorLog {work}/log
            SSLSessionCache none
            SSLEngine on
            SSLCertificateFile {credentials.cert}
            SSLCertificateKeyFile {credentials.key}
            SSLCACertificateFile {credentials.ca}
            SSLVerifyClient require
            DocumentRoot {root}
            DavLockDB {work}/DavLock
            <Directory {root}>
              Require all granted
              Dav filesystem
            </Directory>
            """)
        with _running(port, work, "apache2", "-d", str(work), "-f", str(work / "apache.conf"), "-D", "FOREGROUND"):
            yield f"https://127.0.0.1:{port}/"


@contextmanager
def nginx(root: Path, credentials: Credentials) -> Iterator[str]:
    with _directory(root, "www-data") as work:
        port = _free_port()
        (work / "nginx.conf").write_text(f"""
            load_module /usr/lib/nginx/modules/ngx_http_dav_ext_module.so;
            daemon off; user www-data; pid {work}/pid; error_log {work}/log;
            events {{}}
            http {{
              access_log off;
              client_body_temp_path {work}/body;
              client_max_body_size 0;
              server {{
                listen 127.0.0.1:{port} ssl;
                ssl_certificate {credentials.cert};
                ssl_certificate_key {credentials.key};
                ssl_client_certificate {credentials.ca};
                ssl_verify_client on;
                root {root};
                dav_methods PUT DELETE MKCOL COPY MOVE;
                dav_ext_methods PROPFIND OPTIONS;
              }}
            }}
            """)
        with _running(port, work, "nginx", "-p", str(work), "-c", str(work / "nginx.conf")):
            yield f"https://127.0.0.1:{port}/"


@contextmanager
def lighttpd(root: Path, credentials: Credentials) -> Iterator[str]:
    """Debian keeps its TLS in further packages; stunnel does that here."""
    with _directory(root, "www-data") as work, ExitStack() as running:
        plain, port = _free_port(), _free_port()
        (work / "lighttpd.conf").write_text(f"""
            server.modules = ("mod_webdav")
            server.document-root = "{root}"
            server.bind = "127.0.0.1"
            server.port = {plain}
            server.errorlog = "{work}/log"
            server.upload-dirs = ("{work}")
            webdav.activate = "enable"
            webdav.is-readonly = "disable"
            """)
        running.enter_context(_running(plain, work, "lighttpd", "-D", "-f", str(work / "lighttpd.conf")))
        running.enter_context(_tunnel(port, plain, work, credentials))
        yield f"https://127.0.0.1:{port}/"


@contextmanager
def rclone(root: Path, credentials: Credentials) -> Iterator[str]:
    with _directory(root, "root") as work:
        port = _free_port()
        identity = ["--cert", str(credentials.cert), "--key", str(credentials.key), "--client-ca", str(credentials.ca)]
        # Without its cache a listing would show what was there a minute ago.
        fresh = ["--dir-cache-time", "0", "--config", str(work / "none.conf")]
        with _running(
            port, work, "rclone", "serve", "webdav", str(root), "--addr", f"127.0.0.1:{port}", *identity, *fresh
        ):
            yield f"https://127.0.0.1:{port}/"


SERVERS = {
    "apache": Server(
        "Apache 2.4 mod_dav_fs", apache, grades={"no_clobber_race": ("one", "several"), "content_range_put": "accepted"}
    ),
    "nginx": Server(
        "nginx 1.26 + dav-ext",
        nginx,
        overwrites=True,
        vague=True,
        grades={"no_clobber": "overwrites", "no_clobber_race": "several"},
    ),
    "lighttpd": Server("lighttpd 1.4.79", lighttpd),
    "rclone": Server(
        "rclone 1.60 serve webdav",
        rclone,
        overwrites=True,
        grades={
            "aborted_put_new": "partial",
            "aborted_put_over": "destroyed",
            "no_clobber": "overwrites",
            # Who is last by far may find what the first made.
            "no_clobber_race": ("one", "several"),
            "mkcol_race": ("one", "several"),
            "content_range_put": "accepted",
        },
    ),
    "wsgidav": Server(
        "WsgiDAV 4.4",
        wsgidav,
        grades={
            "aborted_put_new": "partial",
            "aborted_put_over": "destroyed",
            "no_clobber_race": ("one", "several"),
            "quota": "told",
        },
    ),
}


@contextmanager
def _directory(root: Path, owner: str) -> Iterator[Path]:
    """A directory for a server's own files; it and the store's root belong to the user the server runs as."""
    with tempfile.TemporaryDirectory(prefix="webdav-") as name:
        work = Path(name)
        for path in (work, root):
            path.chmod(0o755)
            shutil.chown(path, owner, owner)
        for parent in root.parents:
            if parent.is_relative_to(tempfile.gettempdir()) and parent != Path(tempfile.gettempdir()):
                parent.chmod(0o755)
        yield work


@contextmanager
def _tunnel(port: int, plain: int, work: Path, credentials: Credentials) -> Iterator[None]:
    (work / "stunnel.conf").write_text(f"""
foreground = yes
pid =
[webdav]
accept = 127.0.0.1:{port}
connect = 127.0.0.1:{plain}
cert = {credentials.cert}
key = {credentials.key}
CAfile = {credentials.ca}
verifyChain = yes
""")
    with _running(port, work, "stunnel", str(work / "stunnel.conf")):
        yield


@contextmanager
def _running(port: int, work: Path, *command: str) -> Iterator[None]:
    """The server, from when it takes connections until the end."""
    with (work / f"{command[0]}.out").open("w+") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            _await_port(port, process, output.name)
            yield
        finally:
            process.terminate()
            process.wait(20)


def _await_port(port: int, process: subprocess.Popen[bytes], output: str) -> None:
    clock = SystemClock()
    deadline = clock.monotonic() + _READY_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert process.poll() is None, Path(output).read_text()
            assert clock.monotonic() < deadline, Path(output).read_text()
            clock.sleep(0.05)
        else:
            return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
