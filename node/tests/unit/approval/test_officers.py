from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.approvals import OFFICERS, public_key
from support.ssh import SecurityKey, SshKey

from keyfold.approval.officers import NOBODY, decode, parse, plan
from keyfold.approval.ssh_key import canonical_key
from keyfold.errors import KeyfoldError

DECLARED = OFFICERS.as_row()


def test_the_first_declaration_is_free_and_any_other_needs_the_officers() -> None:
    first = plan(DECLARED, NOBODY)
    assert (first.action, first.needs_approval) == ("create", False)
    again = plan(DECLARED, first.after)
    assert (again.action, again.needs_approval) == ("none", False)
    for required in (1, 3):
        change = plan({**DECLARED, "required": required}, first.after)
        assert (change.action, change.needs_approval) == ("update", True)


def test_order_and_comments_of_keys_are_no_change() -> None:
    rows = [{"name": row["name"], "key": row["key"] + " ada@laptop"} for row in reversed(DECLARED["officers"])]
    assert plan({"officers": rows, "required": 2}, OFFICERS).action == "none"


def test_what_is_kept_is_read_back() -> None:
    assert decode(OFFICERS.encode()) == OFFICERS
    assert decode(None) == NOBODY


def declared(**changes: Any) -> dict[str, Any]:
    return {"officers": [{"name": "ada", "key": public_key(1)}, {"name": "bob", "key": public_key(2)}], **changes}


@pytest.mark.parametrize(
    ("declaration", "complaint"),
    [
        (declared(required=0), "'required' is 0, with 2 officers"),
        (declared(required=3), "'required' is 3"),
        (declared(required=True), "'required' is True"),
        (declared(), "'required' is None"),
        ({"officers": [], "required": 1}, "0 officers are declared"),
        ({"officers": "ada", "required": 1}, "not a list"),
        ({"officers": [{"name": "Ada", "key": public_key(1)}], "required": 1}, "'Ada' is not allowed"),
        ({"officers": [{"name": "*", "key": public_key(1)}], "required": 1}, r"'\*' is not allowed"),
        ({"officers": [{"name": "ada,eve", "key": public_key(1)}], "required": 1}, "is not allowed"),
        ({"officers": [{"name": "ada", "key": public_key(1), "x": 1}], "required": 1}, "unknown key 'x'"),
        ({"officers": [{"name": "ada", "key": public_key(n)} for n in (1, 2)], "required": 1}, "declared twice"),
        (
            {"officers": [{"name": n, "key": public_key(1) + f" {n}"} for n in ("ada", "bob")], "required": 1},
            "ada and bob have the same key",
        ),
        ({"officers": [{"name": "ada", "key": "secret"}], "required": 1}, "officer ada: the key is not one line"),
    ],
)
def test_a_wrong_declaration_is_refused_by_name(declaration: dict[str, Any], complaint: str) -> None:
    with pytest.raises(KeyfoldError, match=complaint) as caught:
        parse(declaration)
    assert caught.value.code == "invalid"


def test_keys_of_every_type_are_taken_without_their_comment(tmp_path: Path) -> None:
    made = [SshKey.make(tmp_path / kind, "-t", kind).public for kind in ("ed25519", "ecdsa", "rsa")]
    made += [SecurityKey(f"sk-{kind}@openssh.com").public for kind in ("ssh-ed25519", "ecdsa-sha2-nistp256")]
    for line in made:
        assert canonical_key(line + " ada@laptop\n") == " ".join(line.split()[:2])


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (None, "not one line"),
        (7, "not one line"),
        (public_key(1) + "\n" + public_key(2), "not one line"),
        ("restrict " + public_key(1), "type 'restrict'"),
        ("ssh-dss AAAA", "type 'ssh-dss'"),
        ("ssh-ed25519-cert-v01@openssh.com AAAA", "type 'ssh-ed25519-cert"),
        ("ssh-ed25519 ????", "not whole"),
        (public_key(1)[:-8], "not whole"),
        ("ssh-rsa " + public_key(1).split()[1], "does not hold what a key of type ssh-rsa"),
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAAXg=", "32 bytes"),
        ("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAAwEAAQ==", "RSA key of 17 bits"),
        ("ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAABeAAAAAF4", "not on the curve"),
    ],
)
def test_what_is_no_public_key_is_refused(line: object, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        canonical_key(line)
