"""ONNX models: read as ``ftonnx inspect`` does, and run with faults."""

import shutil
from abc import ABC

import numpy as np
import onnx
from campaign_kit import DIGITS

import ftonnx
from ftonnx.campaign.inputs import open_model
from ftonnx.inject import FaultSpace
from ftonnx.sessions import Declared, free_inputs
from fuzz.target import Target
from fuzz.targets.commands import run_command
from fuzz.targets.seed_models import data_for, save_with_external_data, small_models

_FILE = "m.onnx"
_DATA = "d.npz"
_SCORES_AXES = 2
_MOST_SECONDS = 2.0


class _Models(Target, ABC):
    """Small models of many forms, one with its tensors in another file, and the embedded one."""

    mutable = (_FILE, "weights.bin")

    def write_seeds(self, folder):
        """Write them beside data that they take."""
        models = small_models()
        for name, model in models.items():
            place = folder / name
            place.mkdir()
            onnx.save(model, place / _FILE)
            np.savez(place / _DATA, **data_for(model))
        for name in ("cnn", "qdq"):
            place = folder / f"{name} in two files"
            place.mkdir()
            save_with_external_data(models[name], place)
            np.savez(place / _DATA, **data_for(models[name]))


class Inspect(_Models):
    """What is stored, and what can flip."""

    name = "inspect"

    def write_seeds(self, folder):
        """Write the embedded model too, which is larger."""
        super().write_seeds(folder)
        (folder / "digits").mkdir()
        (folder / "digits" / _FILE).write_bytes(DIGITS.read_bytes())

    def read(self, folder):
        """Find all that ``ftonnx inspect`` prints."""
        model = open_model(_FILE)
        space = FaultSpace.of(model)
        for value in (*free_inputs(model.structure), *model.structure.graph.output):
            assert Declared.of(value).text
        assert space.to_dict()


class InspectCommand(_Models):
    """The same, printed."""

    name = "inspect-command"

    def read(self, folder):
        """Run the command."""
        run_command("inspect", _FILE)


class Inject(_Models):
    """A campaign of two fault patterns."""

    name = "inject"

    def write_seeds(self, folder):
        """Leave out what gives no scores of classes."""
        super().write_seeds(folder)
        for place in folder.iterdir():
            output = onnx.load(place / _FILE, load_external_data=False).graph.output[0]
            if len(output.type.tensor_type.shape.dim) != _SCORES_AXES:
                shutil.rmtree(place)

    def read(self, folder):
        """Run it; a model that computes for long, as a loop may, is refused by its time."""
        options = {"repeats": 2, "threads": 1, "unit_timeout": _MOST_SECONDS}
        ftonnx.evaluate(_FILE, f"npz:{_DATA}", rates=[1e-3], results="r", **options)
