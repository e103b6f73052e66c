"""Checkpoints of torch and of safetensors, and the state of an interrupted training."""

import torch
from safetensors.torch import save_file

from ftonnx.models.checkpoint_about import read_about
from ftonnx.models.checkpoint_files import read_metadata, read_state_dict
from ftonnx.training.records import TrainingLog
from ftonnx.training.state import State, StateFile
from fuzz.target import Target

_IDENTITY = {"model": "digits", "epochs": 3}


def _tensors():
    generator = torch.Generator().manual_seed(1)
    return {
        "conv.weight": torch.randn(4, 3, 3, 3, generator=generator),
        "conv.bias": torch.randn(4, generator=generator).half(),
        "bn.num_batches_tracked": torch.tensor(7),
    }


class Checkpoints(Target):
    """What holds weights."""

    name = "checkpoint"

    def write_seeds(self, folder):
        """Write both formats, and torch's older one."""
        for name in ("plain", "wrapped", "old", "safe"):
            (folder / name).mkdir()
        about = {"ftonnx.architecture": "resnet18", "ftonnx.classes": "3", "ftonnx.input_shape": "[3, 8, 8]"}
        torch.save(_tensors(), folder / "plain" / "c.pth")
        torch.save({"state_dict": _tensors(), "epoch": 3, "metadata": about}, folder / "wrapped" / "c.pth")
        torch.save(_tensors(), folder / "old" / "c.pth", _use_new_zipfile_serialization=False)
        save_file(_tensors(), folder / "safe" / "c.safetensors", metadata=about)

    def read(self, folder):
        """Read tensors and what is said of them."""
        for file in sorted(folder.iterdir()):
            read_state_dict(file)
            read_metadata(file)
            read_about([file])


def _state_file(folder):
    return StateFile(folder / "net.pth", _IDENTITY, TrainingLog)


class Interrupted(Target):
    """The file by which a training goes on."""

    name = "training-state"

    def write_seeds(self, folder):
        """Write one after an epoch."""
        (folder / "state").mkdir()
        epoch = TrainingLog.entry(
            epoch=1, loss=0.5, accuracy=0.8, val_loss=0.6, val_accuracy=0.7, learning_rate=0.1, seconds=2.0
        )
        state = State(
            log=TrainingLog((epoch,)), network=_tensors(), result=_tensors(), rest={"optimizer": {"state": {}}}
        )
        _state_file(folder / "state").write(state)

    def read(self, folder):
        """Read it."""
        state = _state_file(folder).read()
        if state is not None:
            assert state.log.since_best >= 0
