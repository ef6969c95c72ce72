"""Archives are uploaded beside the sealing of the next ones, in order."""

from __future__ import annotations

import threading

import pytest

from keyfold.backup.upload import Uploads


def test_sealing_does_not_wait_for_uploads_and_they_keep_their_order() -> None:
    go = threading.Event()

    def upload(one: str) -> str:
        assert go.wait(10)
        return one.upper()

    with Uploads(upload) as uploads:
        for one in ("a", "b", "c"):
            uploads.begin(one)
        go.set()
        assert uploads.ended() == ["A", "B", "C"]


def test_an_upload_that_failed_ends_the_run_and_nothing_more_is_uploaded() -> None:
    failed, asked = threading.Event(), []

    def upload(one: str) -> str:
        asked.append(one)
        failed.set()
        raise ValueError(one)

    def run() -> None:
        with Uploads(upload) as uploads:
            uploads.begin("a")
            assert failed.wait(10)
            for _ in range(100):
                uploads.begin("b")
            uploads.ended()

    with pytest.raises(ValueError, match="a"):
        run()
    assert asked[0] == "a"
    assert len(asked) < 101
