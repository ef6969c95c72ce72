# Copyright: the Keyfold authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible filters: which certificates an inventory, and a subscriber's machine, needs (docs/interfaces.md §1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

Host = Mapping[str, Any]


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "keyfold_pki_certificates": certificates,
            "keyfold_pki_partition_files": partition_files,
        }


def certificates(
    hsm_hosts: Iterable[Host], store_hosts: Iterable[Host], partitions: Iterable[Mapping[str, Any]], days: int
) -> list[dict[str, Any]]:
    """Return the list that the module keyfold_pki takes, from host variables and the declared partitions.

    A host is a mapping with inventory_hostname, ansible_host if it has one and, for HSM nodes, keyfold_site_role.
    """
    rows = [*_of_stores(store_hosts), *_of_partitions(partitions)]
    for host in hsm_hosts:
        rows.extend(_of_hsm(host))
    return [{**row, "days": days} for row in rows]


def partition_files(partitions: Iterable[str]) -> list[dict[str, Any]]:
    """Return what a subscriber's machine installs for these partitions, as pki_install_files takes it.

    Each key belongs to the partition's user there, so that the applications, which share its group, cannot read it.
    """
    rows: list[dict[str, Any]] = [{"name": name, "mode": "0644", "sources": [name]} for name in ("ca.crt", "crl.pem")]
    for name in partitions:
        pair = f"issued/partition-{name}/current"
        rows.append({"name": f"{name}.crt", "mode": "0644", "sources": [f"{pair}/tls.crt"]})
        rows.append({"name": f"{name}.key", "mode": "0600", "owner": f"kf-{name}", "sources": [f"{pair}/tls.key"]})
    return rows


def _of_hsm(host: Host) -> Iterator[dict[str, Any]]:
    name = host["inventory_hostname"]
    yield {"name": f"etcd-{name}", "profile": "etcd", "sans": [*_names(host), "localhost", "127.0.0.1"]}
    yield {"name": f"etcd-client-{name}", "profile": "etcd_client", "sans": [name]}
    if host["keyfold_site_role"] == "primary":
        yield {"name": f"access-{name}", "profile": "access", "common_name": name, "sans": _names(host)}
    else:
        for identity in ("writer", "reader"):
            yield {"name": f"store-{identity}-{name}", "profile": "store", "common_name": identity}


def _of_stores(hosts: Iterable[Host]) -> Iterator[dict[str, Any]]:
    for host in hosts:
        name = host["inventory_hostname"]
        yield {"name": f"store-{name}", "profile": "store_server", "common_name": name, "sans": _names(host)}
        yield {"name": f"store-expirer-{name}", "profile": "store", "common_name": "expirer"}


def _of_partitions(partitions: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for partition in partitions:
        name = partition["name"]
        yield {"name": f"partition-{name}", "profile": "partition", "common_name": name}


def _names(host: Host) -> list[str]:
    return sorted({host["inventory_hostname"], host.get("ansible_host", host["inventory_hostname"])})
