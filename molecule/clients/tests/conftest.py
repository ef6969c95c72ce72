"""The application of docs/clients.md, made as that page says."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from scenario.cluster import Cluster
from scenario.machines import ROOT
from scenario.page import blocks
from scenario.shop import Shop
from scenario.waiting import wait_for

ZONE = """$ORIGIN shop.example.
$TTL 3600
@   SOA ns1 hostmaster 1 7200 3600 1209600 300
@   NS  ns1
ns1 A   192.0.2.1
www A   192.0.2.2
"""


@pytest.fixture(scope="session")
def page() -> Mapping[str, str]:
    return blocks(ROOT / "docs/clients.md")


@pytest.fixture(scope="session")
def shop(cluster: Cluster, page: Mapping[str, str]) -> Shop:
    """With its account, its PIN and a first key, `web`."""
    shop = Shop(cluster.app, page)
    if cluster.app.attempt("id", "shop").returncode != 0:
        shop.as_root("account")
    shop.as_root("shop-pin", stdin=cluster.pin())
    if "label:      web" not in shop.run("pkcs11-tool-list"):
        shop.run("pkcs11-tool-generate")
    shop.run("pkcs11-tool-sign")
    return shop


@pytest.fixture(scope="session")
def certificate(shop: Shop) -> Shop:
    """With a certificate for the key `web`."""
    shop.run("openssl-certificate")
    return shop


@pytest.fixture(scope="session")
def mail(shop: Shop) -> Shop:
    """With GnuTLS's key and what certtool is to write."""
    shop.install("/srv/shop/mail.template")
    if "object=mail;type=private" not in shop.run("p11tool-list"):
        shop.run("p11tool-generate")
    return shop


@pytest.fixture(scope="session")
def authority(shop: Shop) -> Shop:
    """With the user CA's key, and the user's key that it is to sign."""
    if "user-ca" not in shop.run("ssh-list"):
        shop.run("ssh-ca")
    shop.install("/srv/shop/askpass")
    done = shop.command(
        "rm -f alice alice-cert.pub stranger; for n in alice stranger; do ssh-keygen -q -t ed25519 -N '' -f $n; done"
    )
    assert done.returncode == 0, done.stderr
    return shop


@pytest.fixture(scope="session")
def java(shop: Shop) -> Shop:
    """With keytool's key."""
    shop.install("/srv/shop/java.cfg")
    if "release, PrivateKeyEntry" not in shop.run("keytool-list"):
        shop.run("keytool-generate")
    return shop


@pytest.fixture(scope="session")
def knot(cluster: Cluster, shop: Shop) -> Shop:
    """Knot's own unit, with a zone that it signs."""
    app = cluster.app
    shop.as_root("knot-pin", stdin=cluster.pin())
    shop.install("/etc/knot/knot.conf", "/etc/systemd/system/knot.service.d/keyfold.conf")
    app.run("install", "-o", "knot", "-m", "644", "/dev/stdin", "/var/lib/knot/shop.example.zone", stdin=ZONE)
    shop.as_root("knot-start")
    wait_for(lambda: "RRSIG" in shop.run("knot-query"), "a signed answer", 30)
    return shop
