"""Who runs a command."""

from __future__ import annotations

import os
import pwd


def caller() -> str:
    """For the record: the person behind sudo, else the account this runs under."""
    return os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
