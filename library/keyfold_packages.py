#!/usr/bin/python
"""Ansible module: Debian packages, without python3-apt.

`ansible.builtin.apt` needs python3-apt on the host, and where that is missing its check mode fails instead of telling
what would change; asking dpkg also takes 20 ms where opening apt's cache takes a second.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: keyfold_packages
short_description: Have Debian packages installed
description:
  - Installs the packages that are missing, in one call of apt-get, without recommended packages. Configuration files
    that were changed on the host are kept.
  - A package that is installed is not upgraded, but for those given as files, whose version is the one to have.
options:
  names:
    description: Packages of the host's own repositories.
    type: list
    elements: str
    default: []
  files:
    description: C(.deb) files on the host.
    type: list
    elements: path
    default: []
attributes:
  check_mode:
    support: full
    description: Asks dpkg only. A file that is not on the host yet counts as a change.
  diff_mode:
    support: full
    description: The versions, before and after.
author: Keyfold
"""

EXAMPLES = r"""
- name: Install the load balancer
  keyfold_packages:
    names: [haproxy]

- name: Install the node's package
  keyfold_packages:
    files: [/var/cache/keyfold/keyfold-node.deb]
"""

RETURN = r"""
installed:
  description: What was installed, or in check mode would be.
  returned: success
  type: list
  elements: str
  sample: [haproxy]
"""

ARGUMENT_SPEC: dict[str, Any] = {
    "names": {"type": "list", "elements": "str", "default": []},
    "files": {"type": "list", "elements": "path", "default": []},
}

_ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
_INSTALL = ("apt-get", "install", "--yes", "--quiet", "--no-install-recommends", "--allow-downgrades")
_KEEP_CONFIGURATION = ("--option", "Dpkg::Options::=--force-confdef", "--option", "Dpkg::Options::=--force-confold")


def parse_installed(listing: str) -> dict[str, str]:
    """Versions by package, of those that dpkg-query says are installed in full (`ii`)."""
    rows = (line.split("\t") for line in listing.splitlines())
    return {name: version for name, version, status in rows if status.strip() == "ii"}


def missing(
    names: Iterable[str], files: Mapping[str, tuple[str, str] | None], installed: Mapping[str, str]
) -> dict[str, tuple[str, str, str]]:
    """What apt-get has to be given, each with package, version now and version then.

    `files` has package and version by path; None for a file that is not there (yet).
    """
    wanted = {name: (name, "", "any") for name in names if name not in installed}
    for path, content in files.items():
        package, version = content or (Path(path).stem, "(not copied yet)")
        if installed.get(package) != version:
            wanted[path] = (package, installed.get(package, ""), version)
    return wanted


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    _, listing, _ = module.run_command(
        ["dpkg-query", "--show", "--showformat=${Package}\t${Version}\t${db:Status-Abbrev}\n"], check_rc=True
    )
    files = {path: _read(module, path) for path in module.params["files"]}
    wanted = missing(module.params["names"], files, parse_installed(listing))
    if wanted and not module.check_mode:
        _install(module, list(wanted))
    before = {package: now for package, now, _ in wanted.values() if now}
    after = {package: then for package, _, then in wanted.values()}
    module.exit_json(changed=bool(wanted), installed=list(after), diff={"before": before, "after": after})


def _read(module: AnsibleModule, path: str) -> tuple[str, str] | None:
    if module.check_mode and not Path(path).exists():
        return None
    _, fields, _ = module.run_command(
        ["dpkg-deb", "--show", "--showformat=${Package}\t${Version}", path], check_rc=True
    )
    package, version = fields.split("\t")
    return package, version


def _install(module: AnsibleModule, wanted: list[str]) -> None:
    command = [*_INSTALL, *_KEEP_CONFIGURATION, *wanted]
    code, _, first = module.run_command(command, environ_update=_ENVIRONMENT)
    if code == 0:
        return
    # The lists may be older than the repositories: read them once, then try again.
    update, _, second = module.run_command(["apt-get", "update", "--quiet"], environ_update=_ENVIRONMENT)
    if update == 0:
        code, _, second = module.run_command(command, environ_update=_ENVIRONMENT)
    if code != 0:
        module.fail_json(
            msg=f"apt-get could not install {', '.join(wanted)}: {(second or first).strip()}\n"
            "Not done: the packages are not installed, and what needs them was not begun\n"
            "Next: apt-get update && apt-get install on this host, then run the playbook again"
        )


if __name__ == "__main__":
    main()
