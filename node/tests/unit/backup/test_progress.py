from __future__ import annotations

import io

from keyfold.backup.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_person_sees_how_far_it_is_and_a_line_is_drawn_once_per_percent() -> None:
    screen = Terminal()
    with Progress("uploading", 1000, screen) as bar:
        for _ in range(1000):
            bar.advance(1)
    text = screen.getvalue()
    assert text.count("\r") == 101
    assert text.endswith("100 %\n")


def test_a_log_sees_nothing() -> None:
    log = io.StringIO()
    with Progress("uploading", 10, log) as bar:
        bar.advance(10)
    assert log.getvalue() == ""


def test_more_than_announced_or_nothing_at_all_is_drawn_too() -> None:
    for total, done in ((10, 25), (0, 0), (0, 1)):
        screen = Terminal()
        with Progress("sealing", total, screen) as bar:
            bar.advance(done)
        assert screen.getvalue().endswith("%\n")
