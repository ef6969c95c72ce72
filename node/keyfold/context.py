"""What a command is given: the node's configuration, its agent and a clock."""

from __future__ import annotations

from dataclasses import dataclass

from keyfold.agent.client import AgentClient
from keyfold.clock import Clock
from keyfold.config import Config


@dataclass(frozen=True, slots=True)
class Context:
    config: Config
    agent: AgentClient
    clock: Clock
