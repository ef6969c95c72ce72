"""Whom age can seal to: an age recipient, or an SSH public key of a type that age takes (age(1), RECIPIENTS)."""

from __future__ import annotations

import re

from keyfold.approval.ssh_key import canonical_key

# Bech32 (BIP 173) of 32 bytes: 52 characters and 6 of check sum. age itself checks the sum.
_AGE = re.compile(r"age1[ac-hj-np-z02-9]{58}")
SSH_TYPES = ("ssh-ed25519", "ssh-rsa")


def canonical_recipient(text: object) -> str:
    """The recipient without comment; ValueError says why nothing can be sealed to it."""
    if not isinstance(text, str) or not text.strip():
        raise ValueError("it is not an age recipient (age1…) or an SSH public key")
    words = text.split()
    if words[0].startswith("age1"):
        if len(words) != 1 or _AGE.fullmatch(words[0]) is None:
            raise ValueError("it is no whole age recipient (age1… and 58 characters)")
        return words[0]
    if words[0].startswith("AGE-SECRET-KEY"):
        raise ValueError("it is a secret key; give the public one (age-keygen -y)")
    key = canonical_key(text)
    if not sealable(key):
        raise ValueError(
            f"age cannot seal to a key of type {words[0]}: use {' or '.join(SSH_TYPES)}, or an age recipient"
        )
    return key


def sealable(ssh_key: str) -> bool:
    """Whether age can seal to this SSH public key: not to ECDSA's, nor to those of security keys."""
    return ssh_key.split()[0] in SSH_TYPES
