"""OpenSC's pkcs11-tool says of a partition what it says of a bare SoftHSM token."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import pytest
from scenario.application import REMOTE, SOFTHSM
from scenario.cluster import Cluster
from scenario.machines import Machine
from scenario.shop import Shop

# What cannot be the same on two tokens, or in two runs of one program.
NORMAL = (
    (re.compile(r"serial=[0-9a-f]+"), "serial=SERIAL"),  # SoftHSM draws it when a token is made
    (re.compile(r"EC_POINT: .*"), "EC_POINT: POINT"),  # the public key itself
    (re.compile(r"source_ptr=0x[0-9a-f]+"), "source_ptr=ADDRESS"),  # an address in pkcs11-tool
)
# One at a time: the order in which SoftHSM lists several is by their addresses in memory.
KEYS = {
    "rsa": "--keypairgen --key-type RSA:2048",
    "p256": "--keypairgen --key-type EC:prime256v1",
    "aes": "--keygen --key-type AES:32 --sensitive --extractable",
}
# SoftHSM 2.6.1 knows OAEP with SHA-1 only: with an RSA key the test ends there, wherever it runs.
STATUS = {"rsa": 1, "p256": 0, "aes": 0}


@dataclass(frozen=True)
class Token:
    """A token named initech, as pkcs11-tool reaches it: the variables and the module."""

    machine: Machine
    environment: str
    module: str
    pin: str

    def tool(self, *arguments: str) -> tuple[int, list[str]]:
        """Exit status and lines of output, normalised. The PIN goes by standard input and one command's environment."""
        script = (
            f"read -r PIN; export PIN {self.environment}; "
            f"exec timeout 50 pkcs11-tool --module {self.module} --token-label initech {' '.join(arguments)} 2>&1"
        )
        done = self.machine.attempt("bash", "-euc", script, stdin=f"{self.pin}\n", user="kf-initech")
        text = done.stdout
        for pattern, to in NORMAL:
            text = pattern.sub(to, text)
        return done.returncode, text.splitlines()

    def as_user(self, *arguments: str) -> tuple[int, list[str]]:
        return self.tool("--login --pin env:PIN", *arguments)


@pytest.fixture(scope="module")
def bare(cluster: Cluster) -> Token:
    """On the subscriber's machine, with nothing of Keyfold around."""
    home, pin = "/var/tmp/bare", cluster.pin("initech")
    cluster.app.shell(
        f"""rm -rf {home}; install -d -o kf-initech {home} {home}/tokens
        printf 'directories.tokendir = {home}/tokens\\nobjectstore.backend = file\\n' >{home}/softhsm2.conf"""
    )
    token = Token(cluster.app, f"SOFTHSM2_CONF={home}/softhsm2.conf", SOFTHSM, pin)
    script = (
        f'read -r PIN; export PIN {token.environment}; tool() {{ pkcs11-tool --module {SOFTHSM} "$@"; }}; '
        "tool --init-token --slot-index 0 --label initech --so-pin env:PIN; "
        "tool --init-pin --login --login-type so --so-pin env:PIN --new-pin env:PIN --token-label initech"
    )
    cluster.app.run("bash", "-euc", script, stdin=f"{pin}\n", user="kf-initech")
    return token


@pytest.fixture(scope="module")
def partition(cluster: Cluster) -> Token:
    address = "P11_KIT_SERVER_ADDRESS=unix:path=/run/keyfold-client/initech/pkcs11.sock"
    return Token(cluster.app, address, REMOTE, cluster.pin("initech"))


def outcomes(token: Token, key: str) -> list[tuple[int, list[str]]]:
    """A key is made, `--test` runs, the key is destroyed."""
    found = [
        token.as_user(KEYS[key], "--label test --id 01"),
        token.as_user("--test"),
        *(token.as_user("--delete-object --id 01 --type", kind) for kind in ("privkey", "pubkey", "secrkey")),
    ]
    assert found[0][0] == 0, found[0]
    return found


@pytest.mark.parametrize("key", KEYS)
def test_pkcs11_tool_test_says_line_by_line_what_it_says_of_bare_softhsm(
    bare: Token, partition: Token, key: str
) -> None:
    expected, found = outcomes(bare, key), outcomes(partition, key)
    assert found == expected
    status, lines = found[1]
    assert status == STATUS[key]
    assert "  all 4 digest functions seem to work" in lines
    assert ("No errors" in lines) == (status == 0)


def test_the_comparison_sees_a_key_that_may_do_less(bare: Token, partition: Token) -> None:
    """The control: on one side the key is not extractable."""
    expected = outcomes(bare, "aes")
    found = partition.as_user(KEYS["aes"].replace(" --extractable", ""), "--label test --id 01")
    partition.as_user("--delete-object --id 01 --type secrkey")
    assert found != expected[0]


def test_a_client_lacks_the_mechanisms_that_the_page_names_and_no_others(
    bare: Token, partition: Token, page: Mapping[str, str]
) -> None:
    def names(token: Token) -> set[str]:
        status, lines = token.tool("--list-mechanisms")
        assert status == 0
        return {line.split(",")[0].strip() for line in lines if line.startswith("  ")}

    assert sorted(names(bare) - names(partition)) == page["mechanisms-missing"].split()
    assert names(partition) <= names(bare)


def test_pkcs11_tool_signs_with_the_clusters_key_and_openssl_verifies(shop: Shop) -> None:
    listed = shop.run("pkcs11-tool-list")
    assert "never extractable" in listed.partition("Private Key Object")[2]
    shop.run("pkcs11-tool-sign")
    verify = (
        "pkcs11-tool --module $MODULE --token-label acme --read-object --type pubkey --id 01 -o web.der; "
        "openssl pkey -pubin -inform DER -in web.der -out web.pub; "
        "openssl dgst -sha256 -verify web.pub -signature order.sig "
    )
    assert "Verified OK" in shop.command(verify + "order.txt").stdout
    assert shop.command(verify + "order.digest").returncode != 0
