"""Random histories on three nodes: after healing they are equal, and nothing acknowledged is lost."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support.memory_cluster import TORN, Node, committed, object_file

from keyfold.errors import KeyfoldError
from keyfold.store.memory import Fate, MemoryEtcd

NODES = st.integers(0, 2)
FILES = st.sampled_from([f"{name}.object" for name in "abcd"])
FATES = st.sampled_from([None, None, None, *Fate])


class Cluster(RuleBasedStateMachine):
    """`acknowledged`: what a subscriber was told is committed, as each object was told last."""

    @initialize()
    def begin(self) -> None:
        self.tmp = tempfile.TemporaryDirectory()
        self.etcd = MemoryEtcd()
        self.nodes = [Node(f"hsm{number}", self.etcd, Path(self.tmp.name)) for number in range(3)]
        self.acknowledged: dict[str, bytes | None] = {}
        self.doubtful: set[str] = set()
        self.counter = 0

    def _fresh(self) -> bytes:
        self.counter += 1
        return object_file(b"%d" % self.counter)

    def _attempt(self, number: int, file: str, fate: Fate | None, data: bytes | None) -> None:
        node = self.nodes[number]
        there = file in node.content()
        if data is None and not there:
            return
        if fate is not None:
            node.store.next_txns(fate)
        try:
            if data is None:
                node.destroy(file)
            elif there:
                node.update(file, data)
            else:
                node.create(file, data)
        except KeyfoldError:
            # Error: it may or may not be there. Fates that were not used up must not hit somebody else.
            self.doubtful.add(file)
        else:
            self.acknowledged[file] = None if data is None else data[8:]
            self.doubtful.discard(file)
        node.store._fates.clear()

    @rule(number=NODES, file=FILES, fate=FATES)
    def write(self, number: int, file: str, fate: Fate | None) -> None:
        self._attempt(number, file, fate, self._fresh())

    @rule(number=NODES, file=FILES, fate=FATES)
    def destroy(self, number: int, file: str, fate: Fate | None) -> None:
        self._attempt(number, file, fate, None)

    @rule(number=NODES)
    def follow(self, number: int) -> None:
        self.nodes[number].catch_up()

    @rule(number=NODES)
    def restart(self, number: int) -> None:
        self.nodes[number].start()

    @rule(number=NODES, file=FILES)
    def tear(self, number: int, file: str) -> None:
        node = self.nodes[number]
        if file in node.content():
            node.directory.put(file, TORN)
            node.start()

    @rule(number=NODES, file=FILES)
    def lose_a_file(self, number: int, file: str) -> None:
        node = self.nodes[number]
        node.directory.remove(file)
        node.start()

    @rule(number=NODES)
    def late_transactions_arrive(self, number: int) -> None:
        self.nodes[number].store.deliver_late()

    @precondition(lambda self: hasattr(self, "nodes"))
    @invariant()
    def etcd_has_everything_acknowledged(self) -> None:
        there = committed(self.nodes[0].store)
        for file, content in self.acknowledged.items():
            if file not in self.doubtful:
                assert there.get(file) == content, file

    def teardown(self) -> None:
        for node in self.nodes:
            node.store.deliver_late()
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.catch_up()
            node.settle()
        for node in self.nodes:
            node.catch_up()
            assert node.content() == committed(node.store)
        self.tmp.cleanup()


TestConvergence = Cluster.TestCase
TestConvergence.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
