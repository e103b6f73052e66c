"""Campaigns of several seeds as one, in which all their fault patterns are repeats of the same batches."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ftonnx.campaign.store.header_file import require_one_campaign
from ftonnx.campaign.store.identity import Identity
from ftonnx.campaign.store.seeds import PooledSeeds, SeedRepeats
from ftonnx.campaign.store.subject import Subject
from ftonnx.errors import StoreError, UsageError

__all__ = ["pooled_identity"]


def pooled_identity(paths: Sequence[Path], subjects: Sequence[Subject]) -> Identity:
    """Return what decides the counts of campaigns that are the same but for the seed, in the order of the seeds.

    Seeds may have unequal repeats: each has all of its own on every batch, so that every batch meets equally many.

    Args:
        paths: of the campaigns' folders, one or more.
        subjects: what the campaigns are about; those of one seed are parts of one.

    Raises:
        UsageError: there is only one seed, or another one has the same patterns.
        StoreError: something else differs, or a folder holds several seeds already.
    """
    identities = [subject.identity for subject in subjects]
    for path, identity in zip(paths, identities, strict=True):
        if identity.pooled is not None:
            raise StoreError(f"{path} holds {identity.pooled} together already; name the folders that are pooled in it")
    require_one_campaign(paths, [_without_seed(subject) for subject in subjects])
    first = identities[0]
    if not first.faults.is_drawn:
        raise UsageError(f"the faults of {first.faults.name} are the same for every seed: there is nothing to pool")
    seeds = _seeds_of(paths, identities)
    if len(seeds) < 2:
        raise UsageError(f"`pool_seeds`: folders of two seeds or more were expected, all are of seed {seeds[0].seed}")
    per_tensor = first.faults.per_tensor
    groups = 1 if per_tensor is None else seeds[0].repeats // per_tensor
    pooled = PooledSeeds(seeds, groups)
    settings = replace(first.settings, seed=seeds[0].seed, repeats=pooled.repeats)
    return replace(first, settings=settings, pooled=pooled)


def _without_seed(subject: Subject) -> Subject:
    identity = subject.identity
    return replace(subject, identity=replace(identity, settings=replace(identity.settings, seed=0, repeats=None)))


def _seeds_of(paths: Sequence[Path], identities: Sequence[Identity]) -> tuple[SeedRepeats, ...]:
    """Return the seeds in ascending order, each once.

    Raises:
        StoreError: two folders of one seed have different numbers of repeats.
    """
    found: dict[int, tuple[SeedRepeats, Path]] = {}
    for path, identity in zip(paths, identities, strict=True):
        (own,) = identity.seeds
        known, where = found.setdefault(own.seed, (own, path))
        if own != known:
            raise StoreError(
                f"{path} has {own.repeats:,} repeats of seed {own.seed}, and {where} {known.repeats:,}: these have "
                "patterns in common; name one of them, or parts of one campaign"
            )
    return tuple(found[seed][0] for seed in sorted(found))
