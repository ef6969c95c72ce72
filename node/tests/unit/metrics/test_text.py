from __future__ import annotations

from keyfold.metrics.text import Family, Sample, each, one, render


def test_figures_are_in_the_text_format() -> None:
    text = render([one("up", "Whether it is up.", True), each("lag", "Lag.", "node", [("hsm1", 0), ("hsm2", 1.5)])])
    assert text == (
        "# HELP keyfold_up Whether it is up.\n# TYPE keyfold_up gauge\nkeyfold_up 1\n"
        "# HELP keyfold_lag Lag.\n# TYPE keyfold_lag gauge\n"
        'keyfold_lag{node="hsm1"} 0\nkeyfold_lag{node="hsm2"} 1.5\n'
    )


def test_what_has_no_samples_is_left_out() -> None:
    assert render([Family("none", "Nothing.", ())]) == ""


def test_a_time_keeps_its_digits() -> None:
    assert "keyfold_at 1764028800.25\n" in render([one("at", "When.", 1764028800.25)])
    assert "keyfold_at 1764028800\n" in render([one("at", "When.", 1764028800.0)])


def test_labels_cannot_break_out() -> None:
    text = render([Family("x", "X.", (Sample(1, {"name": 'a"b\\c\nd'}),))])
    assert 'keyfold_x{name="a\\"b\\\\c\\nd"} 1\n' in text
    assert len(text.splitlines()) == 3
