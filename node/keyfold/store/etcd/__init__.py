"""etcd over its v3 JSON gateway, https://etcd.io/docs/v3.5/dev-guide/api_grpc_gateway/.

Plain HTTP/1.1 over `http.client`, not a larger HTTP library, because a commit's answer rests on knowing whether a
request can have left this machine, and on a deadline over the whole call.

`transport` moves bytes, `faults` reads what etcd's errors mean, `endpoints` decides whom to ask, `calls` joins the
three into one call with failover, `codec` translates, `stream` and `watch` follow changes, `client` is the store.
"""

from keyfold.store.etcd.client import EtcdStore

__all__ = ["EtcdStore"]
