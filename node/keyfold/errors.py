"""The one exception of Keyfold: what happened, what was not done, what to run next.

Codes and exit statuses are the table in docs/interfaces.md §6.
"""

from __future__ import annotations

EXIT_CODES = {
    "internal": 1,
    "invalid": 2,
    "not_found": 3,
    "conflict": 4,
    "no_quorum": 5,
    "agent_down": 6,
    "store_error": 7,
    "refused": 8,
    "disk": 9,
    "certificate": 10,
    "denied": 11,
    "too_large": 12,
    "unapproved": 13,
    "quota": 14,
    "locked": 15,
    "held": 20,
    "clock": 21,
    "unfit": 22,
}


class KeyfoldError(Exception):
    """An error a person can act on.

    `code` is a key of EXIT_CODES. `not_done` names what did not happen because of it,
    `next_step` the command to run or the thing to correct.
    """

    def __init__(self, code: str, what: str, *, not_done: str, next_step: str) -> None:
        super().__init__(what)
        self.code = code
        self.what = what
        self.not_done = not_done
        self.next_step = next_step

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.code]

    def as_reply(self) -> dict[str, object]:
        """The error as a reply on the agent's socket and under --json; `ok` comes first."""
        return {
            "ok": False,
            "code": self.code,
            "exit_code": self.exit_code,
            "what": self.what,
            "not_done": self.not_done,
            "next": self.next_step,
        }

    @classmethod
    def from_reply(cls, reply: dict[str, object]) -> KeyfoldError:
        code = str(reply.get("code"))
        return cls(
            code if code in EXIT_CODES else "internal",
            str(reply.get("what", "the agent gave no reason")),
            not_done=str(reply.get("not_done", "")),
            next_step=str(reply.get("next", "")),
        )

    def __str__(self) -> str:
        return f"{self.what}\nNot done: {self.not_done}\nNext: {self.next_step}"
