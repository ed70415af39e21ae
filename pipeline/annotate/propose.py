"""Proposes anchor points for a mesh of either kind."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.annotate.eyeglasses import propose_glasses
from pipeline.annotate.heads import propose_head
from pipeline.annotate.proposal import Proposal
from pipeline.catalog.piece import Piece
from pipeline.errors import Unsure

#: Proposals of less confidence are not acted on.
LEAST_CONFIDENCE = 0.5
#: A proposal of so much needs no other to be compared with.
_SURE = 0.9
#: The quicker one first.
_PROPOSERS = {"glasses": propose_glasses, "head": propose_head}


def propose(pieces: Sequence[Piece], kind: str | None = None) -> Proposal:
    """Anchor points for a mesh of `kind` 'head' or 'glasses', or of the likelier one.

    Points are in the pieces' own coordinates, (3,) float64 each; any axes, unit and place will do.
    Raises Unsure, in one line, where no proposal reaches LEAST_CONFIDENCE, and KeyError for an
    unknown kind.
    """
    best: Proposal | None = None
    reasons = []
    for name in _PROPOSERS if kind is None else (kind,):
        try:
            proposal = _PROPOSERS[name](pieces)
        except Unsure as fault:
            reasons.append(f"as {name}: {fault}")
            continue
        reasons.append(f"as {name}: confidence {proposal.confidence:.2f}, {proposal.reason}")
        if best is None or proposal.confidence > best.confidence:
            best = proposal
        if best.confidence >= _SURE:
            break
    # A confidence that is no number is none either.
    if best is None or not best.confidence >= LEAST_CONFIDENCE:
        raise Unsure("; ".join(reasons))
    return best
