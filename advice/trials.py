"""Tries protections by campaigns: a gate decides about each, with fault patterns of its own."""

import hashlib
from dataclasses import dataclass, field, replace
from typing import Final

from ftonnx.advice.result import Compared
from ftonnx.advice.subject import Subject
from ftonnx.gates import Goal, gate
from ftonnx.inject import OnnxModel
from ftonnx.inject.guards import ProtectionPlan, cost_of

__all__ = ["Trials"]

_SEEDS: Final = 9
"""Which seeds are those of trials; measurements have others."""


@dataclass(slots=True, kw_only=True)
class Trials:
    """What was tried.

    Attributes:
        subject: the model and its data.
        goal: what each protection has to reach.
        tried: all of it, in order.
    """

    subject: Subject
    goal: Goal
    tried: list[Compared] = field(default_factory=list)

    def add(
        self,
        name: str,
        plan: ProtectionPlan | None,
        *,
        predicted: float | None = None,
        model: OnnxModel | None = None,
    ) -> Compared:
        """Try a plan, or a model as it is.

        The seed and the folder follow from what is tried, so that a run that goes on finds what was tried before.

        Args:
            name: for people.
            plan: of the protection; None for none.
            predicted: accuracy to expect.
            model: another one than the subject's.

        Raises:
            FtonnxError: as ``gate``.
        """
        subject = self.subject
        tried = subject.model if model is None else model
        told = f"{tried.sha256} {None if plan is None else plan.to_dict()}"
        digest = hashlib.sha256(told.encode()).hexdigest()[:12]
        seed = subject.seed(_SEEDS, int(digest, 16))
        found = gate(
            tried,
            subject.data,
            [self.goal],
            task=subject.task,
            settings=replace(subject.settings, seed=seed, protection=plan, budget=subject.budget),
            results=subject.folder / f"trial-{digest}",
            progress=subject.told(name),
        )
        cost = None if plan is None else cost_of(plan, subject.space)
        compared = Compared.of(name, found, cost=cost, predicted=predicted, seed=seed)
        self.tried.append(compared)
        return compared
