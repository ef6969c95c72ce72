"""Prometheus' text exposition format 0.0.4, as node_exporter's textfile collector reads it. Gauges only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

PREFIX = "keyfold_"


@dataclass(frozen=True, slots=True)
class Sample:
    value: float
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric; `name` without the prefix."""

    name: str
    help: str
    samples: tuple[Sample, ...]


def one(name: str, help_text: str, value: float) -> Family:
    return Family(name, help_text, (Sample(value, {}),))


def each(name: str, help_text: str, label: str, values: Iterable[tuple[str, float]]) -> Family:
    return Family(name, help_text, tuple(Sample(value, {label: of}) for of, value in values))


def render(families: Iterable[Family]) -> str:
    """Families without samples are left out."""
    return "".join(_family(family) for family in families if family.samples)


def _family(family: Family) -> str:
    name = PREFIX + family.name
    lines = [f"# HELP {name} {_escaped(family.help)}", f"# TYPE {name} gauge"]
    lines += [f"{name}{_labels(sample.labels)} {_number(sample.value)}" for sample in family.samples]
    return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    quoted = [f'{key}="{_escaped(value)}"'.replace("\n", r"\n") for key, value in labels.items()]
    return "{" + ",".join(quoted) + "}" if quoted else ""


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    # repr: a time in seconds must not be rounded to six digits.
    return str(int(value)) if float(value).is_integer() else repr(float(value))
