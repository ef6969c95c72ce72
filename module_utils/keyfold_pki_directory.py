# Copyright: the Keyfold authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The authority's directory on the controller: reads its state, carries out the plan's actions.

    ca.key  ca.crt  crl.pem                 the authority and its CRL; the key is encrypted PKCS#8
    etcd-ca.key  etcd-ca.crt                the authority of etcd alone, signed by the other
    issued/<name>/<serial>/tls.crt          every certificate ever issued: what a revocation by name looks up
    issued/<name>/<serial>/tls.key          only beside the current one
    issued/<name>/current -> <serial>       the one that is given out

A certificate and its key appear together by one rename and take effect by another, so an interruption leaves
either the old pair or the new one.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from ansible.module_utils import keyfold_pki_x509 as x509
from ansible.module_utils.keyfold_pki import (
    AUTHORITIES,
    PROFILES,
    ROOT,
    Action,
    Issue,
    Issued,
    PkiError,
    SignAuthority,
    State,
)
from ansible.module_utils.keyfold_pki_io import UNFINISHED, replace_file, sync_directory


class AuthorityDirectory:
    """A certification authority in a directory that only its owner may enter."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._crl = path / "crl.pem"
        self._issued = path / "issued"

    def read(self) -> State:
        """Return what is there; an absent directory is an empty one. Raises PkiError on a file it cannot parse."""
        authorities, revocations = [], None
        for name in AUTHORITIES:
            if pem := _read(self._certificate(name)):
                with _parsing(self._certificate(name)):
                    authorities.append(x509.read_authority(name, pem))
        if pem := _read(self._crl):
            with _parsing(self._crl):
                revocations = x509.read_revocations(pem)
        keys = frozenset(name for name in AUTHORITIES if self._key(name).exists())
        return State(tuple(authorities), keys, tuple(self._read_issued()), revocations)

    def _certificate(self, authority: str) -> Path:
        return self._path / f"{authority}.crt"

    def _key(self, authority: str) -> Path:
        return self._path / f"{authority}.key"

    def _read_issued(self) -> Iterator[Issued]:
        for path in sorted(self._issued.glob("*/*/tls.crt")):
            pair = path.parent
            if pair.is_symlink() or pair.name.startswith(UNFINISHED):
                continue
            current = _target(pair.parent / "current") == pair.name
            key = _read(pair / "tls.key") if current else None
            with _parsing(path):
                yield x509.read_leaf(pair.parent.name, path.read_bytes(), key, current=current)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other run out of the directory, which is made if it is missing."""
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def execute(self, actions: list[Action], passphrase: str, now: datetime) -> None:
        """Carry out the actions of a plan, in order. Run it again after an interruption; it needs the lock."""
        self._tidy()
        signers = {name: self._signer(name, passphrase) for name in AUTHORITIES}
        for action in actions:
            if isinstance(action, SignAuthority):
                key = signers[action.name].key
                pem = x509.sign_authority(signers[ROOT], key, action.common_name, now, action.not_after)
                replace_file(self._certificate(action.name), pem, 0o644)
                signers[action.name] = x509.Signer(pem, key)
            elif isinstance(action, Issue):
                key = x509.new_key()
                signer = signers[PROFILES[action.wanted.profile].authority]
                serial, pem = x509.sign_leaf(signer, key.public_key(), action.wanted, now, action.not_after)
                self._give_out(action.wanted.name, serial, pem, x509.dump_key(key))
            else:
                pem = x509.sign_revocations(signers[ROOT], action.serials, _read(self._crl), now, action.next_update)
                replace_file(self._crl, pem, 0o644)

    def _signer(self, name: str, passphrase: str) -> x509.Signer:
        path = self._key(name)
        if not path.exists():
            replace_file(path, x509.dump_key(x509.new_key(), passphrase), 0o600)
        key = x509.load_authority_key(name, path.read_bytes(), passphrase)
        return x509.Signer(_read(self._certificate(name)), key)

    def _give_out(self, name: str, serial: str, certificate: bytes, key: bytes) -> None:
        home = self._issued / name
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=home))
        replace_file(unfinished / "tls.key", key, 0o600)
        replace_file(unfinished / "tls.crt", certificate, 0o644)
        unfinished.rename(home / serial)
        link = home / f"{UNFINISHED}current"
        link.symlink_to(serial)
        replaced = _target(home / "current")
        link.replace(home / "current")
        sync_directory(home)
        if replaced:
            (home / replaced / "tls.key").unlink(missing_ok=True)

    def _tidy(self) -> None:
        """Remove what an interrupted run left: pairs that never got their name, keys that are not given out."""
        for leftover in self._issued.glob(f"*/{UNFINISHED}*"):
            if leftover.is_symlink():
                leftover.unlink()
            else:
                shutil.rmtree(leftover)
        for key in self._issued.glob("*/*/tls.key"):
            pair = key.parent
            if not pair.is_symlink() and _target(pair.parent / "current") != pair.name:
                key.unlink()


@contextmanager
def _parsing(path: Path) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise PkiError(
            f"{path} cannot be read: {error}",
            not_done="no certificate and no revocation list was written",
            next_step="bring the file back from the copy of pki_directory",
        ) from error


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _target(link: Path) -> str | None:
    try:
        return str(link.readlink())
    except FileNotFoundError:
        return None
