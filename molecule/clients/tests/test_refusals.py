"""What each of these programs must not get: a key without the PIN, one that is not there, one of another's group."""

from __future__ import annotations

import pytest
from scenario.shop import Shop

SIGNING = [
    "pkcs11-tool-sign",
    "openssl-request",
    "openssl-cms-sign",
    "certtool-request",
    "ssh-sign",
    "keytool-request",
    "jarsigner-sign",
]


@pytest.fixture(scope="module")
def ready(shop: Shop) -> Shop:
    """The files that the blocks name. Their keys are those of the tests before."""
    shop.install("/srv/shop/mail.template", "/srv/shop/askpass", "/srv/shop/java.cfg")
    return shop


@pytest.mark.parametrize("block", SIGNING)
def test_with_a_wrong_pin_nothing_is_signed(ready: Shop, block: str) -> None:
    ready.run(block)  # nothing else is missing
    with ready.another_pin("not-the-right-pin"):
        assert ready.attempt(block, seconds=120).returncode not in {0, 124}


def test_a_key_that_is_not_there_is_not_used(ready: Shop) -> None:
    assert ready.attempt("openssl-request", replace=("object=web", "object=absent")).returncode != 0
    assert ready.attempt("certtool-request", replace=("object=mail", "object=absent")).returncode != 0


def test_an_account_outside_the_partitions_group_reaches_no_token(ready: Shop) -> None:
    done = ready.command("pkcs11-tool --module $MODULE --list-token-slots", user="nobody")
    assert "acme" not in done.stdout
    assert "acme" in ready.command("pkcs11-tool --module $MODULE --list-token-slots").stdout
