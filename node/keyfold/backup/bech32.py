"""Bech32 (BIP 173), without its length limit, as age writes keys."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CHECKSUM_SYMBOLS = 6


def encode(prefix: str, data: bytes) -> str:
    """`prefix` "1" data checksum, all in lower case."""
    symbols = _regroup(data, 8, 5, pad=True)
    polymod = _polymod([*_expanded(prefix), *symbols, *[0] * _CHECKSUM_SYMBOLS]) ^ 1
    checksum = [polymod >> 5 * (5 - position) & 31 for position in range(_CHECKSUM_SYMBOLS)]
    return prefix + "1" + "".join(_ALPHABET[symbol] for symbol in [*symbols, *checksum])


def decode(text: str) -> tuple[str, bytes]:
    """(prefix in lower case, data); ValueError if it is no Bech32 or its checksum is wrong."""
    if text not in (text.lower(), text.upper()):
        raise ValueError("mixed case")
    prefix, separator, rest = text.lower().rpartition("1")
    if not separator or not prefix or len(rest) < _CHECKSUM_SYMBOLS:
        raise ValueError("no separator, or too short")
    symbols = [_ALPHABET.find(character) for character in rest]
    if -1 in symbols or not all(33 <= ord(character) <= 126 for character in prefix):
        raise ValueError("a character that Bech32 does not have")
    if _polymod([*_expanded(prefix), *symbols]) != 1:
        raise ValueError("wrong checksum")
    return prefix, bytes(_regroup(symbols[:-_CHECKSUM_SYMBOLS], 5, 8, pad=False))


def _expanded(prefix: str) -> list[int]:
    return [ord(character) >> 5 for character in prefix] + [0] + [ord(character) & 31 for character in prefix]


def _polymod(symbols: Iterable[int]) -> int:
    checksum = 1
    for symbol in symbols:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ symbol
        for bit, generator in enumerate(_GENERATOR):
            checksum ^= generator if top >> bit & 1 else 0
    return checksum


def _regroup(groups: Sequence[int] | bytes, wide: int, narrow: int, *, pad: bool) -> list[int]:
    """The same bits in groups of another width; leftover bits must be zero where they are not padded."""
    collected, bits, result = 0, 0, []
    for group in groups:
        collected = collected << wide | group
        bits += wide
        while bits >= narrow:
            bits -= narrow
            result.append(collected >> bits)
            collected &= (1 << bits) - 1
    if pad and bits:
        result.append(collected << (narrow - bits))
    elif not pad and (bits >= wide or collected):
        raise ValueError("padding is not zero")
    return result
