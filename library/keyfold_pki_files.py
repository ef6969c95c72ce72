#!/usr/bin/python
# Copyright: the Keyfold authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible module: install certificates, keys and revocation lists on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: keyfold_pki_files
short_description: Install certificates, keys and revocation lists on a host
description:
  - Writes all PEM files that a host needs in one call, each in one step, so that no reader meets half a file and
    nobody else ever sees a key.
  - Files that are in the directory but not on the list are left alone.
options:
  directory:
    description: Where the files go. Made, with its parents, as root's with mode 0755 if it is missing.
    type: path
    required: true
  files:
    description: The files to have.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the file in the directory.
        type: str
        required: true
      pem:
        description:
          - The file's content, certificates before keys. Empty means that it is not issued yet, which is an error
            outside check mode.
        type: str
        required: true
      owner:
        description: Name of the owner.
        type: str
        default: root
      group:
        description: Name of the group.
        type: str
        default: root
      mode:
        description: Permissions as octal digits.
        type: str
        required: true
attributes:
  check_mode:
    support: full
    description: Answers what would change, also while owner and group do not exist yet.
  diff_mode:
    support: full
    description: Shows owners, modes and the SHA-256 fingerprints of certificates, never keys.
author:
  - the Keyfold authors
"""

EXAMPLES = r"""
- name: Install etcd's certificate and key
  keyfold_pki_files:
    directory: /etc/etcd/pki
    files:
      - name: server.crt
        pem: "{{ lookup('ansible.builtin.file', 'pki/issued/etcd-hsm1/current/tls.crt') }}"
        mode: "0644"
      - name: server.key
        pem: "{{ lookup('ansible.builtin.file', 'pki/issued/etcd-hsm1/current/tls.key') }}"
        group: etcd
        mode: "0640"
"""

RETURN = r"""
installed:
  description: The paths that were written or got another owner or mode; in check mode those that would.
  returned: always
  type: list
  elements: str
  sample: [/etc/etcd/pki/server.crt]
"""

import base64
import binascii
import grp
import hashlib
import pwd
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.keyfold_pki import PkiError
from ansible.module_utils.keyfold_pki_io import replace_file

_PUBLIC_BLOCK = re.compile(r"-----BEGIN (CERTIFICATE|X509 CRL)-----(.*?)-----END \1-----", re.DOTALL)
_OCTAL = re.compile(r"^0?[0-7]{3}$")


@dataclass(frozen=True)
class PemFile:
    """A file as it is or as it should be. Owner and group are names, or ids in digits that have no name."""

    path: Path
    pem: str
    owner: str
    group: str
    mode: int

    def described(self) -> dict[str, str]:
        """What may be shown of it."""
        return {
            "owner": self.owner,
            "group": self.group,
            "mode": f"{self.mode:04o}",
            "content": _fingerprint(self.pem),
        }


def main() -> None:
    """Compare every file with what is there, install those that differ unless in check mode."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "pem": {"type": "str", "required": True, "no_log": True},
                    "owner": {"type": "str", "default": "root"},
                    "group": {"type": "str", "default": "root"},
                    "mode": {"type": "str", "required": True},
                },
            },
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**_run(Path(module.params["directory"]), module.params["files"], module.check_mode))
    except PkiError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(
            msg=f"{error}\nNot done: not every file is up to date; none is half-written"
            "\nNext: see to the disk and the permissions of the directory, and run this again"
        )


def _run(directory: Path, rows: list[dict[str, Any]], check_mode: bool) -> dict[str, Any]:
    wanted = [_wanted(directory, row) for row in rows]
    missing = [str(file.path) for file in wanted if not file.pem]
    if missing and not check_mode:
        raise PkiError(
            f"these have not been issued: {', '.join(missing)}",
            not_done="no file on this host was changed",
            next_step="run the role pki's main entry point for this inventory first",
        )
    changes = [(present, file) for file in wanted if (present := _present(file.path)) != file]
    if not check_mode:
        owners = [_ids(file) for _, file in changes]
        directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        for (_, file), owner in zip(changes, owners, strict=True):
            replace_file(file.path, file.pem.encode(), file.mode, owner)
    return {
        "changed": bool(changes),
        "installed": [str(file.path) for _, file in changes],
        "diff": {
            "before": {str(file.path): present.described() for present, file in changes if present},
            "after": {str(file.path): file.described() for _, file in changes},
        },
    }


def _wanted(directory: Path, row: dict[str, Any]) -> PemFile:
    def refuse(what: str, next_step: str) -> PkiError:
        return PkiError(what, not_done="no file on this host was changed", next_step=next_step)

    if "/" in row["name"] or row["name"] in {"", ".", ".."}:
        raise refuse(f"{row['name']!r} is not the name of a file", "give a name without a directory")
    if not _OCTAL.fullmatch(row["mode"]):
        raise refuse(f"{row['mode']!r} is not a mode for {row['name']}", "write it as in '0640', in quotes")
    pem = row["pem"].strip()
    return PemFile(directory / row["name"], f"{pem}\n" if pem else "", row["owner"], row["group"], int(row["mode"], 8))


def _present(path: Path) -> PemFile | None:
    try:
        status = path.lstat()
        pem = path.read_text(encoding="ascii", errors="replace") if stat.S_ISREG(status.st_mode) else ""
    except FileNotFoundError:
        return None
    return PemFile(path, pem, _user_name(status.st_uid), _group_name(status.st_gid), stat.S_IMODE(status.st_mode))


def _ids(file: PemFile) -> tuple[int, int]:
    try:
        return pwd.getpwnam(file.owner).pw_uid, grp.getgrnam(file.group).gr_gid
    except KeyError as error:
        raise PkiError(
            f"{file.path} should belong to {file.owner}:{file.group}, but {error.args[0]}",
            not_done="no file on this host was changed",
            next_step="install the package that makes the user and group first",
        ) from None


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _fingerprint(pem: str) -> str:
    if not pem:
        return "not issued yet"
    public = _PUBLIC_BLOCK.search(pem)
    if not public:
        return "a private key"
    try:
        der = base64.b64decode(public.group(2))
    except binascii.Error:
        return "damaged"
    return f"{public.group(1)} sha256:{hashlib.sha256(der).hexdigest()}"


if __name__ == "__main__":
    main()
