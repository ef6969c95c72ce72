from __future__ import annotations

import pytest

from keyfold.custody.pins import check_pin
from keyfold.errors import KeyfoldError


@pytest.mark.parametrize("pin", ["12345678", "x" * 255, "pin with spaces", "пароль-8"])
def test_a_good_pin_passes(pin: str) -> None:
    check_pin(pin, "the user PIN")


@pytest.mark.parametrize(
    "pin", ["", "1234567", "x" * 256, "é" * 128, "new\nline1", "nul\0nul\0", "bell\x07bell", "\udcff-surrogate"]
)
def test_a_bad_pin_is_named_but_never_repeated(pin: str) -> None:
    with pytest.raises(KeyfoldError) as caught:
        check_pin(pin, "the user PIN")
    assert caught.value.code == "invalid"
    assert "the user PIN" in caught.value.what
    assert not pin or pin not in str(caught.value)
