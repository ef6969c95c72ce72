"""Whom the client asks next."""

from __future__ import annotations

from keyfold.store.etcd.endpoints import HOME_AFTER_SECONDS, EndpointOrder


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_first_listed_endpoint_is_asked_first() -> None:
    assert EndpointOrder(3).order() == [0, 1, 2]


def test_a_failed_endpoint_is_left_for_the_next() -> None:
    order = EndpointOrder(3)
    order.failed(0)
    assert order.order() == [1, 0, 2]
    order.failed(1)
    order.failed(2)
    assert order.order() == [0, 1, 2]


def test_a_late_report_about_an_endpoint_that_was_left_changes_nothing() -> None:
    order = EndpointOrder(3)
    order.failed(0)
    order.failed(0)
    assert order.order()[0] == 1


def test_the_client_stays_with_what_answered() -> None:
    order = EndpointOrder(3)
    order.answered(2)
    assert order.order() == [2, 0, 1]


def test_home_is_due_after_a_while_for_one_caller_at_a_time() -> None:
    clock = Clock()
    order = EndpointOrder(2, clock)
    assert not order.home_due()
    order.failed(0)
    assert not order.home_due()
    clock.now += HOME_AFTER_SECONDS
    assert order.home_due()
    assert not order.home_due()
    clock.now += HOME_AFTER_SECONDS
    assert order.home_due()
    order.answered(0)
    clock.now += HOME_AFTER_SECONDS
    assert not order.home_due()


def test_moving_on_while_away_does_not_put_off_coming_home() -> None:
    clock = Clock()
    order = EndpointOrder(3, clock)
    order.failed(0)
    clock.now += HOME_AFTER_SECONDS
    order.failed(1)
    assert order.home_due()
