"""Where results come from: versions, processor, and the header that a campaign's folder begins with."""

import platform
from importlib import metadata

import numpy as np
import onnx
import onnxruntime

from ftonnx.campaign.plan.schedule import Schedule
from ftonnx.campaign.store.header import DataInfo, EngineInfo, Header, ModelInfo, SpaceInfo, TensorInfo
from ftonnx.campaign.store.identity import Identity
from ftonnx.campaign.store.subject import Subject
from ftonnx.datasets import Dataset
from ftonnx.files import cpu_name
from ftonnx.inject import OnnxModel
from ftonnx.runtime import FaultySession
from ftonnx.tasks import Task

__all__ = ["header_of", "identity_of", "subject_of", "versions"]


def identity_of(model: OnnxModel, data: Dataset, schedule: Schedule, task: Task) -> Identity:
    """Return what decides the counts."""
    return Identity(
        model=model.sha256,
        data=data.fingerprint,
        fault_space=schedule.space.fingerprint,
        faults=schedule.faults,
        task=task,
        settings=schedule.settings,
        versions=versions(),
    )


def subject_of(model: OnnxModel, data: Dataset, identity: Identity) -> Subject:
    """Return what a campaign is about."""
    return Subject(
        identity=identity,
        model=ModelInfo(
            name=model.name,
            path=None if model.path is None else str(model.path),
            sha256=identity.model,
        ),
        data=DataInfo(
            name=data.name,
            split=data.split,
            samples=len(data),
            classes=data.classes,
            sha256=identity.data,
            source=dict(data.source),
        ),
    )


def header_of(
    model: OnnxModel, data: Dataset, schedule: Schedule, identity: Identity, session: FaultySession
) -> Header:
    """Return what a results folder says about a campaign."""
    space = schedule.space
    subject = subject_of(model, data, identity)
    return Header(
        identity=identity,
        model=subject.model,
        data=subject.data,
        space=SpaceInfo(
            bits=space.bits,
            elements=space.elements,
            formats=space.formats,
            sha256=identity.fault_space,
            tensors=tuple(TensorInfo.from_dict(target.to_dict()) for target in space.targets),
            coverage=space.coverage,
        ),
        levels=schedule.levels,
        engine=EngineInfo(
            strategy=session.strategy,
            fallback=session.fallback,
            providers=tuple(session.options.providers),
            threads=identity.settings.threads,
            onnxruntime=onnxruntime.__version__,
            saturating=session.saturating,
        ),
        machine={
            "python": platform.python_version(),
            "onnx": onnx.__version__,
            "platform": platform.platform(),
            "cpu": cpu_name(),
            "host": platform.node(),
        },
    )


def versions() -> dict[str, str]:
    """Return the versions of what decides results; onnxruntime's own, whichever of its wheels is installed."""
    return {
        "ftonnx": metadata.version("ftonnx"),
        "onnxruntime": onnxruntime.__version__,
        "numpy": np.__version__,
    }
