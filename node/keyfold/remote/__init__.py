"""The place backups go to: one small interface, WebDAV in production and memory in tests."""

from keyfold.remote.interface import Entry, ExpirableRemote, Remote

__all__ = ["Entry", "ExpirableRemote", "Remote"]
