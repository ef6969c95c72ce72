"""A subscriber's application in a process of its own: one logged-in session on SoftHSM, told what to do.

Run as a script it is the application; imported it is the test's end of the pipe.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keyfold
from keyfold.custody.softhsm import open_token, softhsm


class Application:
    """`find`, `sign`, … answer when the application has done it; `begin` and `finish` leave it running in between."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __call__(self, operation: str, *arguments: Any) -> Any:
        self.begin(operation, *arguments)
        return self.finish()

    def begin(self, operation: str, *arguments: Any) -> None:
        assert self._process.stdin is not None
        print(json.dumps([operation, *arguments]), file=self._process.stdin, flush=True)

    def finish(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


@contextmanager
def application(partition_dir: Path, label: str, pin: str) -> Iterator[Application]:
    node = Path(keyfold.__file__).parents[1]
    with subprocess.Popen(
        [sys.executable, __file__, str(partition_dir / "softhsm2.conf"), label],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(node)},
    ) as process:
        running = Application(process)
        running.begin(pin)
        assert running.finish() == "logged in"
        yield running
        assert process.stdin is not None
        process.stdin.close()


class _Operations:
    def __init__(self, session: Any) -> None:
        import PyKCS11

        self.p11 = PyKCS11
        self.session = session

    def _objects(self, label: str) -> Any:
        return self.session.findObjects([(self.p11.CKA_LABEL, label)])

    def find(self, label: str) -> int:
        return len(self._objects(label))

    def generate(self, label: str) -> None:
        p11 = self.p11
        common = [(p11.CKA_TOKEN, True), (p11.CKA_LABEL, label)]
        self.session.generateKeyPair(
            [*common, (p11.CKA_EC_PARAMS, bytes.fromhex("06082a8648ce3d030107"))],
            [*common, (p11.CKA_PRIVATE, True), (p11.CKA_SIGN, True)],
            mecha=p11.Mechanism(p11.CKM_EC_KEY_PAIR_GEN, None),
        )

    def sign(self, label: str) -> str:
        p11 = self.p11
        (key,) = self.session.findObjects([(p11.CKA_CLASS, p11.CKO_PRIVATE_KEY), (p11.CKA_LABEL, label)])
        return bytes(self.session.sign(key, bytes(32), p11.Mechanism(p11.CKM_ECDSA, None))).hex()

    def relabel(self, old: str, new: str) -> None:
        for found in self._objects(old):
            self.session.setAttributeValue(found, [(self.p11.CKA_LABEL, new)])

    def relabel_back_and_forth(self, one: str, other: str, times: int) -> None:
        for _ in range(times):
            self.relabel(one, other)
            self.relabel(other, one)

    def destroy(self, label: str) -> None:
        for found in self._objects(label):
            self.session.destroyObject(found)

    def change_pin(self, old: str, new: str) -> None:
        self.session.setPin(old, new)

    def login_again(self, *pins: str) -> list[str]:
        outcomes = []
        self.session.logout()
        for pin in pins:
            try:
                self.session.login(pin)
                outcomes.append("ok")
            except self.p11.PyKCS11Error as error:
                outcomes.append(error.to_string() if hasattr(error, "to_string") else str(error))
        return outcomes


def _serve(conf: str, label: str) -> None:
    def requests() -> Iterator[list[Any]]:
        for line in sys.stdin:
            yield json.loads(line)

    incoming = requests()
    (pin,) = next(incoming)
    with softhsm(Path(conf)) as library:
        operations = _Operations(open_token(library, label, pin))
        print(json.dumps("logged in"), flush=True)
        for operation, *arguments in incoming:
            print(json.dumps(getattr(operations, operation)(*arguments)), flush=True)


if __name__ == "__main__":
    _serve(*sys.argv[1:])
