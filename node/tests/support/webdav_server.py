"""A real WebDAV server in this process (WsgiDAV over cheroot), behind TLS with client certificates."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cheroot import wsgi
from cheroot.ssl.builtin import BuiltinSSLAdapter
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from wsgidav.fs_dav_provider import FilesystemProvider
from wsgidav.wsgidav_app import WsgiDAVApp

Wsgi = Callable[[dict[str, Any], Any], Any]


@dataclass(frozen=True)
class Credentials:
    """PEM files: the certificate authority, and one leaf that is server and client at once."""

    ca: Path
    cert: Path
    key: Path


def make_credentials(directory: Path, *, days: int = 1) -> Credentials:
    """A fresh authority and a leaf for 127.0.0.1; negative `days` make it expired."""
    directory.mkdir(parents=True, exist_ok=True)
    ca_key, leaf_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test CA")])
    leaf_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "writer")])
    now = datetime.now(UTC)

    def certificate(
        subject: x509.Name, key: ec.EllipticCurvePrivateKey, end: datetime, *extensions: x509.ExtensionType
    ) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca_name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=9))
            .not_valid_after(end)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=subject == ca_name)
        return builder.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    files = Credentials(directory / "ca.crt", directory / "leaf.crt", directory / "leaf.key")
    # Python 3.13 trusts only an authority that says it is one, and what its key is for.
    usage = dict.fromkeys(
        ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False
    )
    signs = x509.KeyUsage(**usage, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False)
    authority = certificate(ca_name, ca_key, now + timedelta(days=1), x509.BasicConstraints(True, None), signs)
    files.ca.write_bytes(authority)
    localhost = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    files.cert.write_bytes(certificate(leaf_name, leaf_key, now + timedelta(days=days), localhost))
    files.key.write_bytes(
        leaf_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return files


def webdav_app(root: Path) -> Wsgi:
    """WsgiDAV over the directory `root`, open to everybody that TLS lets in."""
    app: Wsgi = WsgiDAVApp(
        {
            "provider_mapping": {"/": FilesystemProvider(str(root))},
            "simple_dc": {"user_mapping": {"*": True}},
            "logging": {"enable": False},
            "verbose": 0,
            "dir_browser": {"enable": False},
        }
    )
    return app


@contextmanager
def serve(app: Wsgi, credentials: Credentials) -> Iterator[str]:
    """Yields the URL; only client certificates of the same authority are let in."""
    server = wsgi.Server(("127.0.0.1", 0), app, numthreads=4, shutdown_timeout=0)
    adapter = BuiltinSSLAdapter(str(credentials.cert), str(credentials.key))
    adapter.context.load_verify_locations(str(credentials.ca))
    adapter.context.verify_mode = ssl.CERT_REQUIRED
    server.ssl_adapter = adapter
    # Refused handshakes are what some tests are about; they need not be printed.
    vars(server)["error_log"] = lambda *_args, **_kwargs: None
    # How long it sleeps between looks at its connections, and so how long `stop` takes.
    server.expiration_interval = 0.02
    server.prepare()
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.bind_addr[1]}/"
    finally:
        server.stop()
        thread.join(10)
