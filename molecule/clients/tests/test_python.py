"""Both of Python's PKCS#11 packages: generate, find, sign, verify. The programs check themselves."""

from __future__ import annotations

import pytest
from scenario.shop import Shop

PROGRAMS = {"pykcs11": "/srv/shop/with_pykcs11.py", "python-pkcs11": "/srv/shop/with_python_pkcs11.py"}


@pytest.mark.parametrize("label", PROGRAMS)
def test_a_python_program_makes_finds_and_uses_a_key(shop: Shop, label: str) -> None:
    program = PROGRAMS[label]
    shop.install(program)
    # An earlier run's key, on machines that were kept.
    destroy = f"pkcs11-tool --module $MODULE --login --pin env:PIN --delete-object --label {label} --type"
    shop.command(f"export PIN=$(cat pin); for kind in privkey pubkey; do {destroy} $kind || true; done")
    done = shop.command(f"python3 {program}")
    assert done.stdout == "signed and verified\n", done.stderr
    assert f"label:      {label}\n" in shop.run("pkcs11-tool-list")
