"""The script that trains and exports the embedded model."""

import numpy as np
import pytest
from models_kit import logits, split


@pytest.mark.slow
def test_training_and_export_agree_between_torch_and_onnx_runtime(tmp_path):
    """Two epochs learn something, and the exported file gives torch's logits."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    from ftonnx.models.train_digits import accuracy, export, read_split, train

    net = train(read_split("train"), epochs=2, seed=1)
    test = read_split("test")
    assert accuracy(net, test) > 0.5
    export(net, tmp_path / "new.onnx")
    with torch.no_grad():
        expected = net(test.images).numpy()
    np.testing.assert_allclose(logits(tmp_path / "new.onnx", test.images.numpy()), expected, atol=1e-4)


def test_training_is_reproducible_and_reads_the_same_digits():
    """One epoch twice gives equal weights; the script's images are those of the data set."""
    torch = pytest.importorskip("torch")
    from ftonnx.models.train_digits import read_split, train

    first, second = (train(read_split("val"), epochs=1, seed=3).state_dict() for _ in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)
    images, labels = split("val")
    np.testing.assert_array_equal(read_split("val").images.numpy(), images)
    np.testing.assert_array_equal(read_split("val").labels.numpy(), labels)
