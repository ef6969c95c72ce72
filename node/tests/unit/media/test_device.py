"""Which devices may become a medium, over what the system says of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.media_site import stick

from keyfold.errors import KeyfoldError
from keyfold.media.device import Allowed, check, check_stable

NEEDED = 1 << 20


def refusal(allowed: Allowed | None = None, **facts: Any) -> str:
    with pytest.raises(KeyfoldError) as caught:
        check(replace(stick(), **facts), NEEDED, allowed or Allowed())
    assert caught.value.code == "refused"
    assert "no key was made" in caught.value.not_done
    return caught.value.what


def test_an_empty_stick_is_taken() -> None:
    check(stick(), NEEDED, Allowed())


def test_what_is_on_it_goes_only_if_that_was_told() -> None:
    assert "it holds ext4, /dev/sdz1 (--overwrite" in refusal(holds=("ext4", "/dev/sdz1"))
    check(stick(holds=("ext4", "/dev/sdz1")), NEEDED, Allowed(overwrite=True))


def test_a_disk_that_stays_is_taken_only_if_that_was_told() -> None:
    assert "it is not removable (--allow-fixed" in refusal(removable=False)
    check(stick(removable=False), NEEDED, Allowed(fixed=True))


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"mounts": ("/media/stick",)}, "it is mounted at /media/stick"),
        ({"mounts": ("/", "/boot")}, "this machine runs from it (/, /boot)"),
        ({"mounts": ("[SWAP]",)}, "this machine runs from it"),
        ({"users": ("/dev/mapper/vault",)}, "it is in use by /dev/mapper/vault"),
        ({"kind": "part"}, "it is a part, not a whole disk"),
        ({"kind": "rom"}, "it is a rom"),
        ({"read_only": True}, "it is write-protected"),
        ({"size_bytes": NEEDED}, "are needed"),
    ],
)
def test_whatever_was_told_these_are_refused(facts: dict[str, Any], words: str) -> None:
    assert words in refusal(Allowed(overwrite=True, fixed=True), **facts)


def test_every_reason_is_named_at_once() -> None:
    said = refusal(removable=False, holds=("gpt",), mounts=("/mnt",))
    assert all(words in said for words in ("mounted at /mnt", "holds gpt", "not removable"))


@pytest.mark.parametrize(
    "path", ["/dev/sdb", "/dev/disk/by-id/", "/dev/disk/by-id/../../sdb", "/dev/disk/by-id/.", "x"]
)
def test_a_name_that_is_not_stable_is_invalid(path: str) -> None:
    with pytest.raises(KeyfoldError) as caught:
        check_stable(path)
    assert caught.value.code == "invalid"
