"""Object files of SoftHSM 2.6.1 (data/, made by data/make.py) and made-up ones."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfold.token.object_file import (
    CKA_OS_TOKENFLAGS,
    CKF_SO_PIN_COUNT_LOW,
    CKF_USER_PIN_COUNT_LOW,
    Description,
    TornFile,
    check,
    describe,
    identity,
    local_generation,
    parse,
    with_generation,
)

DATA = Path(__file__).parent / "data"
GOLDEN = {path.name: path.read_bytes() for path in DATA.glob("*.object")}
CKA_WRAP_TEMPLATE, CKA_ALLOWED_MECHANISMS = 0x40000211, 0x40000600
CKM_AES_CBC, CKM_AES_GCM = 0x1082, 0x1087
CKF_USER_PIN_LOCKED = 0x40000


def word(number: int) -> bytes:
    return struct.pack(">Q", number)


def file(*attributes: bytes, generation: int = 1) -> bytes:
    return word(generation) + b"".join(attributes)


def boolean(type_: int, value: bool) -> bytes:
    return word(type_) + word(1) + (b"\xff" if value else b"\0")


def number(type_: int, value: int) -> bytes:
    return word(type_) + word(2) + word(value)


def octets(type_: int, value: bytes) -> bytes:
    return word(type_) + word(3) + word(len(value)) + value


def mapping(type_: int, *attributes: bytes) -> bytes:
    content = b"".join(attributes)
    return word(type_) + word(4) + word(len(content)) + content


def mechanisms(type_: int, *types: int) -> bytes:
    return word(type_) + word(5) + word(len(types)) + b"".join(map(word, types))


def token_object(flags: int, pin: bytes = b"sealed") -> bytes:
    return file(octets(0x80005349, b"acme".ljust(32)), number(CKA_OS_TOKENFLAGS, flags), octets(0x8000534D, pin))


# Below the vendor-defined types: no made-up attribute is a token's flags by chance.
WORDS = st.integers(0, 2**31 - 1)
SIMPLE = st.one_of(
    st.builds(boolean, WORDS, st.booleans()), st.builds(number, WORDS, WORDS), st.builds(octets, WORDS, st.binary())
)
ATTRIBUTE = st.one_of(
    SIMPLE,
    st.builds(lambda type_, inner: mapping(type_, *inner), WORDS, st.lists(SIMPLE, max_size=3)),
    st.builds(lambda type_, types: mechanisms(type_, *types), WORDS, st.lists(WORDS, max_size=3)),
)


def test_a_private_key_of_softhsm_shows_its_class_and_hides_its_label() -> None:
    expected = Description(object_class=3, key_type=3, label=None, id=None, private=True)
    assert describe(GOLDEN["p256-private.object"]) == expected


def test_a_public_key_of_softhsm_shows_label_and_id() -> None:
    expected = Description(object_class=2, key_type=3, label=b"golden key", id=b"\xbe\xef", private=False)
    assert describe(GOLDEN["p256-public.object"]) == expected


def test_templates_and_mechanism_sets_of_softhsm_are_read() -> None:
    attributes = parse(GOLDEN["aes-restricted.object"]).attributes
    assert attributes[CKA_WRAP_TEMPLATE] == {0x100: 31, 0x102: b"\1\2", 0x162: True}
    assert attributes[CKA_ALLOWED_MECHANISMS] == frozenset({CKM_AES_CBC, CKM_AES_GCM})


def test_token_object_has_flags_and_describes_as_nothing() -> None:
    assert parse(GOLDEN["token.object"]).attributes[CKA_OS_TOKENFLAGS] == 0x42D
    assert describe(GOLDEN["token.object"]) == Description(None, None, None, None, private=False)


@pytest.mark.parametrize("data", [b"", b"\0" * 7, word(1), word(1) + word(3)])
def test_a_file_without_a_whole_attribute_is_torn(data: bytes) -> None:
    with pytest.raises(TornFile):
        parse(data)


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_a_file_cut_anywhere_is_torn_or_cut_between_attributes(name: str) -> None:
    whole = GOLDEN[name]
    items = list(parse(whole).attributes.items())
    boundaries = 0
    for length in range(len(whole)):
        try:
            found = parse(whole[:length])
        except TornFile:
            continue
        boundaries += 1
        assert list(found.attributes.items()) == items[: len(found.attributes)]
    assert boundaries == len(items) - 1


def torn(examine: Callable[[bytes], object], data: bytes) -> bool:
    try:
        examine(data)
    except TornFile:
        return True
    return False


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_the_quick_check_finds_torn_what_the_parser_does(name: str) -> None:
    whole = GOLDEN[name]
    for length in range(len(whole) + 1):
        assert torn(check, whole[:length]) == torn(parse, whole[:length])


@given(st.binary(max_size=200))
def test_the_quick_check_judges_any_bytes_as_the_parser_does(data: bytes) -> None:
    assert torn(check, data) == torn(parse, data)


@given(st.binary(max_size=200))
def test_any_bytes_parse_or_are_torn(data: bytes) -> None:
    for examine in (parse, describe):
        with contextlib.suppress(TornFile):
            examine(data)


def test_maps_nested_a_thousand_deep_are_torn_not_a_crash() -> None:
    attribute = boolean(1, value=True)
    for _ in range(2000):
        attribute = mapping(1, attribute)
    with pytest.raises(TornFile):
        parse(file(attribute))


def test_an_attribute_that_reaches_over_its_map_is_torn() -> None:
    overlong = word(1) + word(4) + word(20) + octets(2, b"twelve bytes")
    with pytest.raises(TornFile):
        parse(file(overlong, boolean(3, value=True)))


@given(st.integers(0, 2**64 - 1), st.lists(ATTRIBUTE, min_size=1))
def test_the_generation_is_read_and_changes_nothing_else(generation: int, attributes: list[bytes]) -> None:
    data = file(*attributes)
    moved = with_generation(data, generation)
    assert parse(moved).generation == local_generation(moved) == generation
    assert parse(moved).attributes == parse(data).attributes
    assert identity(moved) == identity(data)


@given(st.lists(ATTRIBUTE, min_size=1), st.data())
def test_any_other_bit_changes_the_identity(attributes: list[bytes], choose: st.DataObject) -> None:
    data = bytearray(file(*attributes))
    position = choose.draw(st.integers(8, len(data) - 1))
    before = identity(bytes(data))
    data[position] ^= 1 << choose.draw(st.integers(0, 7))
    assert identity(bytes(data)) != before


@pytest.mark.parametrize("flag", [CKF_USER_PIN_COUNT_LOW, CKF_SO_PIN_COUNT_LOW])
def test_a_failed_login_does_not_change_a_tokens_identity(flag: int) -> None:
    assert identity(token_object(0x42D | flag)) == identity(token_object(0x42D))


def test_a_new_pin_changes_a_tokens_identity() -> None:
    assert identity(token_object(0x42D, b"another")) != identity(token_object(0x42D))


def test_a_locked_pin_changes_a_tokens_identity() -> None:
    assert identity(token_object(0x42D | CKF_USER_PIN_LOCKED)) != identity(token_object(0x42D))


def test_the_flags_number_inside_a_label_is_not_taken_for_flags() -> None:
    def labelled(flags: int) -> bytes:
        return file(number(0, 3), octets(3, number(CKA_OS_TOKENFLAGS, flags)))

    assert identity(labelled(0x42D | CKF_USER_PIN_COUNT_LOW)) != identity(labelled(0x42D))


def test_the_generation_of_a_torn_file_is_read_if_it_is_there() -> None:
    assert local_generation(word(7) + b"\0") == 7
    assert local_generation(b"\0" * 7) is None
