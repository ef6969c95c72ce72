#!/usr/bin/python
# Copyright: the Keyfold authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible module: Keyfold's certification authority in a directory on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: keyfold_pki
short_description: Keep the cluster's certification authority, its certificates and its revocation list
description:
  - Makes the authority and, below it, the one of etcd (subscribers hold certificates of the first, so etcd must not
    trust it), issues every certificate of the list that is missing, about to end, revoked or different from what is
    asked for, and signs the revocation list, in one call.
  - Meant for the controller (C(delegate_to=localhost)); keys never leave its directory and are in no result.
  - A certificate that is no longer on the list is kept as it is; revoke it to make it useless.
options:
  directory:
    description: The authority's directory, made if it is missing, readable by its owner only.
    type: path
    required: true
  passphrase:
    description: Opens the authority's private key. At least 12 characters.
    type: str
    required: true
  ca_common_name:
    description: Common name of the authority. It cannot be changed later.
    type: str
    required: true
  ca_days:
    description: Lifetime of the authority's certificate, in days.
    type: int
    default: 3650
  ca_renew_before_days:
    description: Sign the authority's certificate again, with the same key, this many days before it ends.
    type: int
    default: 730
  renew_before_days:
    description: Replace a certificate, and its key, this many days before it ends.
    type: int
    default: 60
  crl_days:
    description: Time until the revocation list wants its next update, in days.
    type: int
    default: 180
  crl_renew_before_days:
    description: Sign the revocation list again this many days before its next update is due.
    type: int
    default: 90
  certificates:
    description: The leaf certificates to have.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Names the certificate's directory below C(issued/).
        type: str
        required: true
      profile:
        description: What the certificate is for; decides the organizational unit and the extended key usage.
        type: str
        required: true
        choices: [etcd, etcd_client, access, store_server, partition, store]
      common_name:
        description: Common name of the subject. Required, but for the two profiles of etcd, which have none.
        type: str
      sans:
        description: DNS names and IP addresses. Servers need at least one.
        type: list
        elements: str
        default: []
      days:
        description: Lifetime in days; the authority's own end cuts it short.
        type: int
        required: true
  revoked:
    description:
      - Serials (40 hex digits) and names of certificates that are no longer good.
      - A revoked serial's certificate is replaced. A revoked name gets none while it is on the list, and everything
        ever issued under it is revoked.
      - What is in the revocation list stays there when it is taken off this list.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    support: full
    description: Answers what would be done and writes nothing.
  diff_mode:
    support: full
    description: Shows names, serials, dates and revocations, never keys.
requirements:
  - cryptography >= 42
author:
  - the Keyfold authors
"""

EXAMPLES = r"""
- name: Keep the cluster's certificates
  delegate_to: localhost
  run_once: true
  keyfold_pki:
    directory: "{{ playbook_dir }}/../.keyfold/example/pki"
    passphrase: "{{ pki_passphrase }}"
    ca_common_name: Keyfold example
    certificates:
      - {name: etcd-hsm1, profile: etcd, sans: [hsm1, localhost, 127.0.0.1], days: 397}
      - {name: partition-acme, profile: partition, common_name: acme, days: 397}
    revoked: [partition-globex]
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, in order.
  returned: always
  type: list
  elements: dict
  contains:
    what:
      description: C(authority), C(certificate) or C(revocations).
      type: str
    name:
      description: Name of the certificate; C(ca) or C(etcd-ca); C(crl.pem).
      type: str
    reason:
      description: Why.
      type: str
  sample: [{what: certificate, name: etcd-hsm1, reason: "ends 2027-01-24"}]
certificates:
  description: The certificates that are given out, by name.
  returned: always
  type: dict
  sample: {partition-acme: {serial: "0b3c…", not_after: "2027-12-25T10:00:00Z"}}
revoked:
  description: The serials in the revocation list.
  returned: always
  type: list
  elements: str
newly_revoked:
  description: Names whose certificates this run added to the revocation list; connections made with them are still up.
  returned: always
  type: list
  elements: str
  sample: [partition-globex]
"""

import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from ansible.module_utils.keyfold_pki_directory import AuthorityDirectory
except ImportError:
    _CRYPTOGRAPHY_ERROR: str | None = traceback.format_exc()
else:
    _CRYPTOGRAPHY_ERROR = None
from ansible.module_utils.keyfold_pki import (
    PROFILES,
    Action,
    Issue,
    Issued,
    PkiError,
    Policy,
    PublishRevocations,
    SignAuthority,
    State,
    Wanted,
    plan,
)

_MINIMUM_PASSPHRASE = 12
_NEW = "(new)"


def main() -> None:
    """Read the arguments, plan, carry the plan out unless in check mode, answer with a diff."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "passphrase": {"type": "str", "required": True, "no_log": True},
            "ca_common_name": {"type": "str", "required": True},
            "ca_days": {"type": "int", "default": 3650},
            "ca_renew_before_days": {"type": "int", "default": 730},
            "renew_before_days": {"type": "int", "default": 60},
            "crl_days": {"type": "int", "default": 180},
            "crl_renew_before_days": {"type": "int", "default": 90},
            "certificates": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "profile": {"type": "str", "required": True, "choices": list(PROFILES)},
                    "common_name": {"type": "str"},
                    "sans": {"type": "list", "elements": "str", "default": []},
                    "days": {"type": "int", "required": True},
                },
            },
            "revoked": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    if _CRYPTOGRAPHY_ERROR:
        module.fail_json(msg=missing_required_lib("cryptography"), exception=_CRYPTOGRAPHY_ERROR)
    try:
        module.exit_json(**_run(module.params, check_mode=module.check_mode))
    except PkiError as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(
            msg=f"{error}\nNot done: the authority's directory is not up to date; nothing in it is half-made"
            "\nNext: make the directory writable for you, with room on its disk, and run this again"
        )


def _run(params: dict[str, Any], *, check_mode: bool) -> dict[str, Any]:
    if len(params["passphrase"]) < _MINIMUM_PASSPHRASE:
        raise PkiError(
            f"the authority's passphrase has less than {_MINIMUM_PASSPHRASE} characters",
            not_done="no certificate and no revocation list was written",
            next_step="choose a longer pki_passphrase",
        )
    directory = AuthorityDirectory(Path(params["directory"]))
    policy = Policy(**{field: params[field] for field in Policy.__dataclass_fields__})
    wanted = tuple(Wanted(**{**leaf, "sans": frozenset(leaf["sans"])}) for leaf in params["certificates"])
    revoked = tuple(params["revoked"])
    now = datetime.now(UTC).replace(microsecond=0)

    if check_mode:
        before = directory.read()
        actions = plan(wanted, revoked, policy, before, now)
        return _result(before, actions, planned=True)
    with directory.locked():
        before = directory.read()
        actions = plan(wanted, revoked, policy, before, now)
        if actions:
            directory.execute(actions, params["passphrase"], now)
        return _result(directory.read() if actions else before, actions, planned=False)


def _result(after: State, actions: list[Action], *, planned: bool) -> dict[str, Any]:
    given_out = {leaf.name: leaf for leaf in after.issued if leaf.current}
    return {
        "changed": bool(actions),
        "actions": [_action_row(action) for action in actions],
        "certificates": {
            name: {"serial": leaf.serial, "not_after": _iso(leaf.not_after)} for name, leaf in given_out.items()
        },
        "revoked": sorted(after.revocations.serials if after.revocations else ()),
        "newly_revoked": sorted(_newly_revoked(after, actions)),
        "diff": {
            "before": {key: row for action in actions for key, row in _before(action).items()},
            "after": {key: row for action in actions for key, row in _after(action, given_out, planned).items()},
        },
    }


def _newly_revoked(state: State, actions: list[Action]) -> set[str]:
    serials: set[str] = set()
    for action in actions:
        if isinstance(action, PublishRevocations):
            serials |= action.serials - (action.before.serials if action.before else set())
    return {leaf.name for leaf in state.issued if leaf.serial in serials}


def _action_row(action: Action) -> dict[str, str]:
    if isinstance(action, SignAuthority):
        return {"what": "authority", "name": action.name, "reason": action.reason}
    if isinstance(action, Issue):
        return {"what": "certificate", "name": action.wanted.name, "reason": action.reason}
    return {"what": "revocations", "name": "crl.pem", "reason": action.reason}


def _before(action: Action) -> dict[str, Any]:
    if action.before is None:
        return {}
    if isinstance(action, SignAuthority):
        return {f"{action.name}.crt": {"not_after": _iso(action.before.not_after)}}
    if isinstance(action, Issue):
        return {action.wanted.name: _leaf_row(action.before)}
    return {"crl.pem": {"revoked": sorted(action.before.serials), "next_update": _iso(action.before.next_update)}}


def _after(action: Action, given_out: dict[str, Issued], planned: bool) -> dict[str, Any]:
    if isinstance(action, SignAuthority):
        return {f"{action.name}.crt": {"not_after": _iso(action.not_after)}}
    if isinstance(action, Issue):
        leaf = action.wanted
        row = {
            "serial": _NEW if planned else given_out[leaf.name].serial,
            "common_name": leaf.common_name,
            "sans": sorted(leaf.sans),
            "not_after": _iso(action.not_after),
        }
        return {leaf.name: row}
    return {"crl.pem": {"revoked": sorted(action.serials), "next_update": _iso(action.next_update)}}


def _leaf_row(leaf: Issued) -> dict[str, Any]:
    return {
        "serial": leaf.serial,
        "common_name": leaf.common_name,
        "sans": sorted(leaf.sans),
        "not_after": _iso(leaf.not_after),
    }


def _iso(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


if __name__ == "__main__":
    main()
