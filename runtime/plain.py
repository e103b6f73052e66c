"""A model in one plain session, for whoever wants fault-free runs and nothing else."""

from collections.abc import Collection, Mapping
from typing import Any

import onnx
from numpy.typing import NDArray

from ftonnx.errors import ModelError
from ftonnx.runtime.model_inputs import ModelInputs
from ftonnx.runtime.session_model import session_model
from ftonnx.samples import Samples, count_of
from ftonnx.sessions import SessionOptions, open_session, padded, run_session, unpadded

__all__ = ["PlainSession"]


class PlainSession:
    """Runs a model without faults, a batch filled up to the size that the model insists on.

    Attributes:
        outputs: names of the model's outputs.
    """

    def __init__(self, model: onnx.ModelProto, *, extra: Mapping[str, NDArray[Any]] | None = None) -> None:
        """Open the session.

        Args:
            model: the model.
            extra: values of inputs that take no data, by name.

        Raises:
            ModelError: ONNX Runtime refuses the model, or it has no tensor input.
        """
        self._extra = dict(extra or {})
        self._inputs = ModelInputs.of(model, besides=self._extra)
        self._session = open_session(session_model(model), SessionOptions())
        self.outputs = tuple(value.name for value in model.graph.output)

    def run(self, samples: Samples, outputs: Collection[str] | None = None) -> dict[str, Any]:
        """Return outputs by name, without the rows of what the batch was filled up with.

        Args:
            samples: images (batch, ...), or arrays by the inputs' names.
            outputs: names; all of them by default.

        Raises:
            DataError: the model refuses the batch.
        """
        names = list(self.outputs if outputs is None else outputs)
        feeds = self._inputs.feeds(padded(samples, self._inputs.batch_size)) | self._extra
        try:
            values = run_session(self._session, feeds, names=names)
        except ModelError as error:
            raise self._inputs.refused(feeds, error) from error
        own = count_of(samples)
        return {name: unpadded(value, own, self._inputs.batch_size) for name, value in zip(names, values, strict=True)}
