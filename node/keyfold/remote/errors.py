"""The errors of a remote store, the same words from every implementation."""

from __future__ import annotations

from keyfold.errors import KeyfoldError

_NOT_DONE = "the request was not carried out; no backup set was published or changed by it"


def taken(name: str) -> KeyfoldError:
    return KeyfoldError(
        "conflict",
        f"the store already has {name}",
        not_done="it was not overwritten and nothing was stored",
        next_step="run the backup again: every run uses new names",
    )


def absent(name: str) -> KeyfoldError:
    return KeyfoldError(
        "not_found",
        f"the store has no {name}",
        not_done="nothing was read",
        next_step="keyfold backup list",
    )


def not_allowed(reason: str) -> KeyfoldError:
    return KeyfoldError(
        "certificate",
        reason,
        not_done=_NOT_DONE,
        next_step="check /etc/keyfold/pki/store-*.crt (openssl x509 -noout -dates -subject -in …), "
        "then ansible-playbook playbooks/site.yml",
    )


def full(name: str) -> KeyfoldError:
    return KeyfoldError(
        "store_error",
        f"the store is full: {name} did not fit",
        not_done="the backup set was not published",
        next_step="free space on the store's disk, then run: keyfold backup run",
    )


def failed(reason: str) -> KeyfoldError:
    return KeyfoldError(
        "store_error",
        reason,
        not_done=_NOT_DONE,
        next_step="check the store (on it: systemctl status apache2; df -h), then run the command again",
    )
