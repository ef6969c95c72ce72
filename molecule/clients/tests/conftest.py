"""The application of docs/clients.md, made as that page says."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from scenario.cluster import Cluster
from scenario.machines import ROOT
from scenario.page import blocks
from scenario.shop import Shop


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
