"""The sheet that a custodian prints: one page of plain text. What is sealed to the custodian is the sheet itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import Template
from typing import Any

# 72 columns and under 60 lines: one page of paper on any printer, A4 or letter.
_PAGE = Template(
    """\
========================================================================
  KEYFOLD   share $number of $shares           custodian: $custodian
========================================================================

  Cluster:      $cluster_name ($cluster_uuid)
  Needed:       any $threshold of the $shares shares
  Root:         $fingerprint
  Ceremony:     $created
  Share set:    $identifier

------------------------------------------------------------------------

$words

------------------------------------------------------------------------
  WHAT THIS IS
  Together with $others other shares these words give back the root of
  the cluster named above, and with it every backup and every key that
  the cluster uses for itself. Alone they give nothing away.

  WHAT TO DO WITH IT
  - Print it on a printer that keeps no copies. Check every word.
  - Put it, signed and dated on the back, in a sealed envelope in a safe
    that no other custodian can open. Then delete the file.
  - Tell the operators at once if it is lost, copied, or you leave.

  WHEN IT IS ASKED FOR
  Only for playbooks/rotate_backup_key.yml and playbooks/rebuild.yml.
  Compare the cluster that is to be rotated or rebuilt with the lines
  above. Hand in the decrypted file, or a file with the words, in order,
  in a directory that only the operator can read. Never by mail or chat.
  A mistyped word is noticed; the playbook says which file has it.
========================================================================
"""
)
_COLUMNS = 3


def sheet(custody: Mapping[str, Any], cluster_name: str, cluster_uuid: str, number: int, words: str) -> str:
    """The page of share `number` (1, 2, …) out of the ceremony's record and the share's words."""
    custodian = next(row["name"] for row in custody["custodians"] if row["number"] == number)
    fingerprint = custody["root_fingerprint"]
    return _PAGE.substitute(
        number=number,
        shares=custody["shares"],
        threshold=custody["threshold"],
        others=custody["threshold"] - 1,
        custodian=custodian,
        cluster_name=cluster_name,
        cluster_uuid=cluster_uuid,
        fingerprint=" ".join(fingerprint[at : at + 4] for at in range(0, 32, 4)),
        created=custody["created"],
        identifier=custody["identifier"],
        words=_table(words.split()),
    )


def _table(words: Sequence[str]) -> str:
    """Numbered, read down the columns."""
    rows = -(-len(words) // _COLUMNS)
    cells = [f"{number:>2}. {word}" for number, word in enumerate(words, 1)]
    lines = [cells[row::rows] for row in range(rows)]
    return "\n".join("      " + "".join(cell.ljust(21) for cell in line).rstrip() for line in lines)
