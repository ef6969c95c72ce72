"""What the cluster's keys are called in their token. Labels carry the epoch, so keys rotate side by side."""

from __future__ import annotations


def backup_label(epoch: int | str) -> str:
    return f"keyfold-backup-{epoch}"


def medium_label(medium: str) -> str:
    """Of the key pair of the offline medium with this ID."""
    return f"keyfold-medium-{medium}"


def opens_archives(label: str) -> bool:
    """Whether it is the label of a key pair that archives are sealed to."""
    return label.startswith((backup_label(""), medium_label("")))


def data_label(epoch: int) -> str:
    return f"keyfold-data-{epoch}"


def manifest_label(epoch: int) -> str:
    return f"keyfold-manifest-{epoch}"


def audit_label(epoch: int) -> str:
    return f"keyfold-audit-{epoch}"
