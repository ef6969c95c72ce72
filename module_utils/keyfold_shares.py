"""The root's shares, on the controller: split, and recovered from what custodians hand in (SLIP-0039).

Pure. Only the controller imports this; hosts need no shamir_mnemonic. A problem with a share is told with the name of
its file and never with its words, and all of them are told at once.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from shamir_mnemonic import MnemonicError, combine_mnemonics, generate_mnemonics
from shamir_mnemonic.share import Share
from shamir_mnemonic.wordlist import WORDLIST

ROOT_BYTES = 32
MOST_SHARES = 16
WORDS_IN_A_SHARE = 33

_NUMBERED = re.compile(r"(?<!\w)(\d{1,2})[.):]\s+([a-z]+)(?!\w)")
_CLUSTER_LINE = re.compile(r"^\s*Cluster:\s+(?P<name>.*\S)\s+\((?P<uuid>[0-9a-f-]{36})\)\s*$", re.MULTILINE)


class ShareError(Exception):
    """`problems`: a sentence each; the text is all of them."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True)
class Expected:
    """Which shares are wanted, from the public record of the ceremony.

    `identifier`: SLIP-39's, 15 bits, the same in all shares of one ceremony; `custodians`: by share number, if known.
    """

    cluster_uuid: str
    identifier: int
    threshold: int
    root_fingerprint: str
    custodians: Mapping[int, str]


@dataclass(frozen=True)
class Entered:
    """One share as handed in: the name of its file, and the text in it, a sheet or its words."""

    name: str
    text: str


def expected(cluster_uuid: str, custody: Mapping[str, Any]) -> Expected:
    """From a custody record (docs/formats.md); ValueError if it is none."""
    try:
        custodians = {int(row["number"]): str(row["name"]) for row in custody["custodians"]}
        identifier, threshold = int(custody["identifier"]), int(custody["threshold"])
        return Expected(cluster_uuid, identifier, threshold, str(custody["root_fingerprint"]), custodians)
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a custody record: {error}") from None


def root_fingerprint(root: bytes, cluster_uuid: str) -> str:
    """As node/keyfold/custody/derive.py has it: HKDF-SHA256 (RFC 5869), of which one block is enough."""
    prk = hmac.digest(UUID(cluster_uuid).bytes, root, hashlib.sha256)
    return hmac.digest(prk, b"keyfold/v1/root-fingerprint\x01", hashlib.sha256).hex()


def split(root: bytes, threshold: int, shares: int) -> tuple[int, list[str]]:
    """(identifier, the words of each share). ValueError unless 2 ≤ threshold ≤ shares ≤ 16.

    What was split is put together again, twice, before anybody relies on it.
    """
    if not 2 <= threshold <= shares <= MOST_SHARES:
        raise ValueError(f"{threshold} of {shares} shares cannot be made: at least 2, at most {MOST_SHARES}")
    [words] = generate_mnemonics(1, [(threshold, shares)], root)
    for some in (words[:threshold], secrets.SystemRandom().sample(words, threshold)):
        if combine_mnemonics(some) != root:
            raise AssertionError("the shares do not give the root back")
    return Share.from_mnemonic(words[0]).identifier, words


def recover(entered: Sequence[Entered], wanted: Expected) -> bytes:
    """The root. ShareError names every share that is mistyped, foreign or given twice, and whether there are enough."""
    problems: list[str] = []
    good: dict[int, tuple[Entered, str]] = {}
    for one in entered:
        try:
            number, words = _checked(one, wanted)
        except ShareError as error:
            problems += error.problems
            continue
        if number in good:
            problems.append(f"{_who(one, number, wanted)} is given twice: it is also {good[number][0].name}")
        else:
            good[number] = (one, words)
    if len(good) < wanted.threshold:
        problems.append(f"too few shares: {len(good)} good ones of the {wanted.threshold} that are needed")
    if problems:
        raise ShareError(problems)
    return _combined([words for _, words in list(good.values())[: wanted.threshold]], wanted)


def _checked(one: Entered, wanted: Expected) -> tuple[int, str]:
    """(number of the share, its words)."""
    told = _CLUSTER_LINE.search(one.text)
    if told is not None and told["uuid"] != wanted.cluster_uuid:
        raise ShareError([f"{one.name} is foreign: it is a share of cluster {told['name']} ({told['uuid']})"])
    words = words_of(one)
    unknown = [number for number, word in enumerate(words, 1) if word not in WORDLIST]
    if len(words) != WORDS_IN_A_SHARE:
        raise ShareError([f"{one.name} is mistyped: it has {len(words)} words, a share has {WORDS_IN_A_SHARE}"])
    if unknown:
        places = ", ".join(map(str, unknown))
        raise ShareError([f"{one.name} is mistyped: not a word that shares are made of, at number {places}"])
    try:
        share = Share.from_mnemonic(" ".join(words))
    except MnemonicError:
        # Its text quotes words.
        raise ShareError(
            [f"{one.name} is mistyped: its checksum is wrong; compare every word with the sheet"]
        ) from None
    number = share.index + 1
    if (share.identifier, share.member_threshold) != (wanted.identifier, wanted.threshold):
        raise ShareError([f"{one.name} is foreign: it is a share of another root than cluster {wanted.cluster_uuid}'s"])
    return number, " ".join(words)


def words_of(one: Entered) -> list[str]:
    """Those of a sheet, where they are numbered, or all there are."""
    numbered = _NUMBERED.findall(one.text)
    if numbered:
        return [word for _, word in sorted((int(number), word) for number, word in numbered)]
    return one.text.lower().split()


def _combined(words: Sequence[str], wanted: Expected) -> bytes:
    try:
        root = combine_mnemonics(words)
    except MnemonicError:
        root = b""
    if len(root) != ROOT_BYTES or root_fingerprint(root, wanted.cluster_uuid) != wanted.root_fingerprint:
        raise ShareError(
            [f"these shares are each in order, but do not make up the root of cluster {wanted.cluster_uuid}"]
        )
    return bytes(root)


def _who(one: Entered, number: int, wanted: Expected) -> str:
    custodian = wanted.custodians.get(number)
    return f"{one.name} (share {number}" + (f", {custodian}'s)" if custodian else ")")
