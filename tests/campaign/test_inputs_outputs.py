"""Models of any input and any output: what they are fed, what is judged, and that the flips arrive all the same."""

import numpy as np
import onnx
import pytest
from campaign_kit import cli, cli_json, session
from onnx import TensorProto, helper, numpy_helper
from onnx_zoo import model_of, random_floats

from ftonnx import FaultSpace, Settings, evaluate, load_model, replay
from ftonnx.campaign.inputs import open_data
from ftonnx.campaign.plan.feeds import Feed
from ftonnx.datasets import load_dataset
from ftonnx.errors import DataError, ModelError, UsageError
from ftonnx.tasks import Binary, ClassNumbers, MultiLabel, Regression

node = helper.make_node
FLOAT = TensorProto.FLOAT
ROWS = 24
TABLE = random_floats(ROWS, 8, seed=1)
OPTIONS = {"rates": [2e-3], "repeats": 3, "batch_size": 8, "threads": 1}


def linear(*more, outputs, weights=()):
    """Return a model whose first node makes ``y`` (N, 5) of a table (N, 8)."""
    return model_of(
        [node("MatMul", ["x", "w"], ["y"]), *more],
        [("w", random_floats(8, 5, seed=2)), *weights],
        inputs={"x": (None, 8)},
        outputs=outputs,
    )


def scores(model, feeds, output):
    """Return one output of a plain session."""
    return session(model).run([output], feeds)[0]


def golden_labels():
    """Return the classes that the linear model gives, every fourth one wrong."""
    labels = (TABLE @ random_floats(8, 5, seed=2)).argmax(axis=1)
    labels[::4] = (labels[::4] + 1) % 5
    return labels


def require_recorded_harm(result, model, feeds, output, labels):
    """Run units of the first batch again: their flips written into the file by numpy, in a plain session."""
    file = result.results / "model.onnx"
    onnx.save(model, file)
    for repeat in range(2):
        unit = replay(result.results, rate=result.rates[0].rate, repeat=repeat, batch=0, model=file)
        flipped = onnx.ModelProto()
        flipped.CopyFrom(model)
        for fault in unit.list():
            (stored,) = (each for each in flipped.graph.initializer if each.name == fault.tensor)
            values = numpy_helper.to_array(stored).copy()
            values.reshape(-1)[fault.index] = fault.after
            stored.CopyFrom(numpy_helper.from_array(values, fault.tensor))
        first = {name: array[:8] for name, array in feeds.items()}
        golden = scores(model, first, output)
        faulty = scores(flipped, first, output)
        assert result.task.count(faulty, golden, labels[:8]) == unit.record.outcomes


class TestOutputs:
    """Which one is judged."""

    MODEL = linear(
        node("Relu", ["y"], ["features"]),
        node("MatMul", ["y", "v"], ["logits"]),
        weights=[("v", np.eye(5, dtype=np.float32))],
        outputs={"features": (None, 5), "logits": (None, 5)},
    )
    DATA = ((TABLE, golden_labels()),)

    def test_where_several_fit_all_are_listed(self):
        """Nobody knows which one is meant."""
        with pytest.raises(ModelError, match=r"'features': float32 of shape \(24, 5\); 'logits': float32"):
            evaluate(self.MODEL, self.DATA, **OPTIONS)

    def test_the_named_one_is_judged_and_recorded(self):
        """Three of four labels are right, and the recorded outcomes are those of a plain session."""
        result = evaluate(self.MODEL, self.DATA, output="logits", **OPTIONS)
        assert result.clean == 0.75
        assert result.settings.output == "logits"
        require_recorded_harm(result, self.MODEL, {"x": TABLE}, "logits", golden_labels())

    def test_another_output_is_another_campaign(self, tmp_path):
        """It decides the counts."""
        evaluate(self.MODEL, self.DATA, output="logits", results=tmp_path / "r", **OPTIONS)
        with pytest.raises(Exception, match="output"):
            evaluate(self.MODEL, self.DATA, output="features", results=tmp_path / "r", **OPTIONS)

    def test_a_name_that_is_none_is_refused_with_the_near_one(self):
        """With all that there are."""
        with pytest.raises(UsageError, match="features, logits; did you mean logits"):
            evaluate(self.MODEL, self.DATA, output="logit", **OPTIONS)

    def test_the_only_one_that_fits_is_taken(self):
        """Two columns cannot be scores of five classes."""
        model = linear(
            node("Slice", ["y", "from", "to", "axis"], ["features"]),
            weights=[("from", np.array([0])), ("to", np.array([2])), ("axis", np.array([1]))],
            outputs={"features": (None, 2), "y": (None, 5)},
        )
        result = evaluate(model, self.DATA, **OPTIONS)
        assert (result.clean, result.settings.output) == (0.75, "y")

    def test_with_several_processes_the_counts_are_the_same(self):
        """Workers are told which output is judged."""
        alone = evaluate(self.MODEL, self.DATA, output="logits", **OPTIONS)
        together = evaluate(self.MODEL, self.DATA, output="logits", jobs=2, **OPTIONS)
        assert alone.rates == together.rates


class TestTasksByLooks:
    """What outputs and labels look like."""

    @pytest.mark.parametrize("end", ["logit", "sigmoid"])
    def test_one_score_per_image_is_binary(self, end):
        """Of logits the threshold is 0, of probabilities 0.5."""
        more = [node("MatMul", ["y", "v"], ["logit"])]
        more += [node("Sigmoid", ["logit"], ["sigmoid"])] if end == "sigmoid" else []
        model = linear(*more, weights=[("v", random_floats(5, 1, seed=3))], outputs={end: (None, 1)})
        labels = (scores(model, {"x": TABLE}, end)[:, 0] > (0.5 if end == "sigmoid" else 0)).astype(np.int64)
        result = evaluate(model, [(TABLE, labels)], **OPTIONS)
        assert result.task == Binary(threshold=0.5 if end == "sigmoid" else 0.0)
        assert result.clean == 1
        assert {"sensitivity", "specificity", "auroc"} == set(result.rates[0].figures)
        require_recorded_harm(result, model, {"x": TABLE}, end, labels)

    def test_one_column_of_class_0_alone_is_not_always_right(self):
        """An argmax over one column would be."""
        model = linear(
            node("MatMul", ["y", "v"], ["p"]), weights=[("v", random_floats(5, 1))], outputs={"p": (None, 1)}
        )
        result = evaluate(model, [(TABLE, np.zeros(ROWS, np.int64))], **OPTIONS)
        assert result.clean == (scores(model, {"x": TABLE}, "p") <= 0).mean()

    def test_class_numbers_behind_an_argmax(self):
        """Only the first choice is known."""
        model = linear(node("ArgMax", ["y"], ["c"], axis=1, keepdims=0), outputs={"c": (None,)})
        model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
        result = evaluate(model, [(TABLE, golden_labels())], **OPTIONS)
        assert (result.task, result.clean) == (ClassNumbers(), 0.75)

    def test_several_labels_per_image(self):
        """A table of zeros and ones."""
        model = linear(outputs={"y": (None, 5)})
        labels = (scores(model, {"x": TABLE}, "y") > 0).astype(np.int64)
        result = evaluate(model, [(TABLE, labels)], **OPTIONS)
        assert (result.task, result.clean) == (MultiLabel(threshold=0.0), 1)

    def test_numbers_need_a_tolerance(self):
        """And are judged by it."""
        model = linear(outputs={"y": (None, 5)})
        labels = scores(model, {"x": TABLE}, "y").astype(np.float64)
        labels[:6] += 1
        with pytest.raises(UsageError, match="tolerance"):
            evaluate(model, [(TABLE, labels)], **OPTIONS)
        result = evaluate(model, [(TABLE, labels)], task=Regression(tolerance=0.1), **OPTIONS)
        assert result.clean == 0.75
        assert result.to_dict()["rates"][0]["figures"].keys() == {"MAE", "RMSE"}
        require_recorded_harm(result, model, {"x": TABLE}, "y", labels)

    def test_an_output_that_no_task_fits_says_how_to_go_on(self):
        """Maps of a segmentation, say."""
        model = linear(
            node("Reshape", ["y", "s"], ["z"]), weights=[("s", np.array([-1, 5, 2, 2]))], outputs={"z": (None, 5, 2, 2)}
        )
        model.graph.initializer[0].CopyFrom(numpy_helper.from_array(random_floats(8, 20, seed=2), "w"))
        with pytest.raises(ModelError, match=r"float32 of shape \(24, 5, 2, 2\).*name another `output` or `task`"):
            evaluate(model, [(TABLE, golden_labels())], **OPTIONS)

    def test_scores_with_further_axes_of_size_1(self):
        """As global pooling leaves them."""
        shape = np.array([-1, 5, 1, 1])
        model = linear(node("Reshape", ["y", "s"], ["z"]), weights=[("s", shape)], outputs={"z": (None, 5, 1, 1)})
        plain = linear(outputs={"y": (None, 5)})
        data = [(TABLE, golden_labels())]
        assert evaluate(model, data, **OPTIONS).rates == evaluate(plain, data, **OPTIONS).rates


class TestInputs:
    """What models are fed."""

    TWO = model_of(
        [
            node("Gather", ["e", "tokens"], ["g"]),
            node("ReduceMean", ["g"], ["m"], axes=[1], keepdims=0),
            node("Concat", ["m", "x"], ["c"], axis=1),
            node("MatMul", ["c", "w"], ["y"]),
        ],
        [("e", random_floats(10, 4, seed=5)), ("w", random_floats(12, 5, seed=6))],
        inputs={"x": (None, 8), "tokens": (None, 3)},
        outputs={"y": (None, 5)},
        opset=13,
    )
    TWO.graph.input[1].type.tensor_type.elem_type = TensorProto.INT64
    TOKENS = np.random.default_rng(7).integers(0, 10, (ROWS, 3))

    def arrays(self):
        """Return what the model of two inputs is fed, and labels that are all right."""
        feeds = {"x": TABLE, "tokens": self.TOKENS}
        return feeds, scores(self.TWO, feeds, "y").argmax(axis=1)

    def test_arrays_are_fed_by_the_names_of_the_inputs(self, tmp_path):
        """From Python, from an archive, and in several processes."""
        feeds, labels = self.arrays()
        result = evaluate(self.TWO, [(feeds, labels)], **OPTIONS)
        assert result.clean == 1
        require_recorded_harm(result, self.TWO, feeds, "y", labels)
        np.savez(tmp_path / "two.npz", labels=labels, **feeds)
        again = evaluate(self.TWO, f"npz:{tmp_path / 'two.npz'}", jobs=2, **OPTIONS)
        assert again.rates == result.rates

    @pytest.mark.parametrize("left_out", ["x", "tokens"])
    def test_missing_arrays_are_named(self, left_out):
        """With what the model takes."""
        feeds, labels = self.arrays()
        del feeds[left_out]
        with pytest.raises(DataError, match=r"takes 2 inputs: 'x', 'tokens'; the data gives 1 input"):
            evaluate(self.TWO, [(feeds, labels)], **OPTIONS)

    def test_an_array_of_another_type_is_refused_with_the_way_on(self):
        """Tokens are whole numbers, and nobody rounds."""
        feeds, labels = self.arrays()
        with pytest.raises(DataError, match="'tokens' as int64, the data gives float32"):
            evaluate(self.TWO, [(feeds | {"tokens": self.TOKENS.astype(float)}, labels)], **OPTIONS)

    @pytest.mark.parametrize("shape", [(ROWS, 8), (ROWS, 1, 8), (ROWS, 2, 2, 2, 1)])
    def test_samples_have_any_rank(self, shape):
        """Tables, signals, volumes: the counts are those of the same numbers in a table."""
        model = linear(outputs={"y": (None, 5)})
        model.graph.node.insert(0, node("Flatten", ["s"], ["x"]))
        model.graph.input[0].CopyFrom(helper.make_tensor_value_info("s", FLOAT, [None, *shape[1:]]))
        result = evaluate(model, [(TABLE.reshape(shape), golden_labels())], **OPTIONS)
        assert result.clean == 0.75
        plain = evaluate(linear(outputs={"y": (None, 5)}), [(TABLE, golden_labels())], **OPTIONS)
        assert result.rates == plain.rates

    def test_images_are_turned_for_a_model_that_takes_channels_last(self, tmp_path):
        """A flat network of the same numbers gives the same answers for both layouts."""
        pixels = np.random.default_rng(3).integers(0, 256, (ROWS, 3, 4, 6), np.uint8)
        first = _flat_net((3, 4, 6))
        last = _flat_net((4, 6, 3), turned=True)
        labels = scores(first, {"x": (pixels / np.float32(255)).astype(np.float32)}, "y").argmax(axis=1)
        np.savez(tmp_path / "first.npz", images=pixels, labels=labels)
        expected = evaluate(first, f"npz:{tmp_path / 'first.npz'}", **OPTIONS)
        turned = evaluate(last, f"npz:{tmp_path / 'first.npz'}", **OPTIONS)
        assert (turned.clean, expected.clean) == (1, 1)

    def test_images_stored_with_channels_last_are_seen_by_their_shape(self, tmp_path):
        """And are prepared as images: a mean per channel, a crop of pixels."""
        pixels = np.random.default_rng(3).integers(0, 256, (ROWS, 9, 6, 3), np.uint8)
        np.savez(tmp_path / "last.npz", images=pixels, labels=np.zeros(ROWS, int))
        found = load_dataset(f"npz:{tmp_path / 'last.npz'}")
        assert found.sample_shape == (3, 9, 6)
        images, _ = next(found.batches(ROWS))
        np.testing.assert_array_equal(images, (pixels * np.float32(1 / 255)).transpose(0, 3, 1, 2))

    def test_a_model_of_bytes_is_fed_pixels(self, tmp_path):
        """It scales them by itself; a scale that was given contradicts it."""
        pixels = np.random.default_rng(4).integers(0, 256, (ROWS, 3, 4, 6), np.uint8)
        model = _flat_net((3, 4, 6), from_bytes=True)
        labels = scores(model, {"x": pixels}, "y").argmax(axis=1)
        np.savez(tmp_path / "bytes.npz", images=pixels, labels=labels)
        spec = f"npz:{tmp_path / 'bytes.npz'}"
        images, _ = next(open_data(spec, load_model(model)).batches(ROWS))
        np.testing.assert_array_equal(images, pixels)
        assert evaluate(model, spec, **OPTIONS).clean == 1
        (tmp_path / "bytes.toml").write_text("scale = 0.5\n")
        with pytest.raises(DataError, match="scale was given: leave it out"):
            open_data(spec, load_model(model))

    @pytest.mark.parametrize("jobs", [1, 2])
    def test_a_batch_size_written_into_the_graph(self, jobs):
        """Nothing declares it, and runs of fewer samples fail."""
        model = linear(
            node("Reshape", ["y", "s"], ["z"]),
            weights=[("s", np.array([8, 5, 1]))],
            outputs={"z": (None, 5, 1)},
        )
        result = evaluate(model, [(TABLE, golden_labels())], jobs=jobs, **OPTIONS)
        assert result.clean == 0.75
        plain = evaluate(linear(outputs={"y": (None, 5)}), [(TABLE, golden_labels())], **OPTIONS)
        assert result.rates == plain.rates


class TestFeeds:
    """Constants for inputs that take no data."""

    MODEL = model_of(
        [node("MatMul", ["x", "w"], ["m"]), node("Mul", ["m", "gain"], ["g"]), node("Add", ["g", "state"], ["y"])],
        [("w", random_floats(8, 5, seed=2))],
        inputs={"x": ("batch", 8), "gain": (), "state": ("batch", 5)},
        outputs={"y": ("batch", 5)},
    )

    def test_numbers_fill_the_inputs(self):
        """A scalar, and a state with a row for every sample; the last batch is filled up to the state's size."""
        labels = golden_labels()[:21]
        result = evaluate(self.MODEL, [(TABLE[:21], labels)], feeds={"gain": 2, "state": 0}, **OPTIONS)
        plain = evaluate(linear(outputs={"y": (None, 5)}), [(TABLE[:21], labels)], **OPTIONS)
        assert (result.clean, result.rates[0].top1.mean) == (plain.clean, plain.rates[0].top1.mean)

    def test_a_file_holds_an_array(self, tmp_path):
        """Its content belongs to the campaign; workers get it too."""
        state = np.zeros((8, 5), np.float32)
        state[:, 1] = 100
        np.save(tmp_path / "state.npy", state)
        feeds = ["gain=1", f"state={tmp_path / 'state.npy'}"]
        result = evaluate(self.MODEL, [(TABLE, np.ones(ROWS, int))], feeds=feeds, jobs=2, **OPTIONS)
        assert result.clean == 1
        again = Settings.from_dict(result.settings.to_dict())
        assert again.to_dict() == result.settings.to_dict()
        np.save(tmp_path / "state.npy", np.zeros((8, 5), np.float32))
        with pytest.raises(DataError, match="has changed"):
            evaluate(self.MODEL, [(TABLE, np.ones(ROWS, int))], rates=[1e-3], settings=again)

    @pytest.mark.parametrize(
        ("feeds", "message"),
        [
            ({"gian": 2, "state": 0}, "did you mean gain"),
            (["gain=2", "gain=3", "state=0"], "'gain' is given twice"),
            (["gain"], "NAME=VALUE"),
            (["gain=much"], "a number or a file"),
            ({"gain": 2}, "takes 2 inputs: 'x', 'state'"),
            ({"gain": 1e39, "state": 0}, r"'gain' takes float32, got 1e\+39"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, feeds, message):
        """In one line."""
        with pytest.raises((UsageError, DataError), match=message):
            evaluate(self.MODEL, [(TABLE, golden_labels())], feeds=feeds, **OPTIONS)

    @pytest.mark.parametrize(
        ("kind", "number"),
        [
            (TensorProto.INT64, 16000.5),
            (TensorProto.INT64, float("nan")),
            (TensorProto.INT64, 1e30),
            (TensorProto.INT64, 2**53 + 1),
            (TensorProto.UINT8, 256),
            (TensorProto.UINT8, -1),
            (TensorProto.BOOL, 2),
            (TensorProto.FLOAT16, 1e5),
            (TensorProto.STRING, 1),
        ],
    )
    def test_a_number_that_the_input_cannot_hold_is_refused(self, kind, number):
        """A cast would make another number of it."""
        value = helper.make_tensor_value_info("sr", kind, [])
        with pytest.raises(UsageError, match="`feeds`: input 'sr' takes"):
            Feed.several({"sr": number})[0].array(value, 1, {})

    @pytest.mark.parametrize(
        ("kind", "text", "expected"),
        [
            (TensorProto.INT64, "16000", np.int64(16000)),
            (TensorProto.UINT8, "255", np.uint8(255)),
            (TensorProto.BOOL, "1", np.True_),
            (TensorProto.FLOAT, "0.1", np.float32(0.1)),
            (TensorProto.FLOAT, "-inf", np.float32(-np.inf)),
        ],
    )
    def test_numbers_that_it_holds(self, kind, text, expected):
        """In the input's type."""
        fed = Feed.parse(f"sr={text}").array(helper.make_tensor_value_info("sr", kind, []), 1, {})
        assert (fed.dtype, fed.item()) == (expected.dtype, expected.item())

    @pytest.mark.parametrize("text", ["sr=1234567", "sr=0.1", "sr=-3", "sr=123456.789", "sr=1e+30"])
    def test_a_feed_is_written_as_it_was_read(self, text):
        """The report's command repeats the campaign to the last digit."""
        assert Feed.parse(text).text == text

    def test_floats_in_a_file_are_converted_as_data_are(self, tmp_path):
        """Numpy makes float64 of everything; what float32 does not hold is refused."""
        file = tmp_path / "state.npy"
        np.save(file, np.full((8, 5), 0.25))
        double = evaluate(self.MODEL, [(TABLE, golden_labels())], feeds=["gain=1", f"state={file}"], **OPTIONS)
        np.save(file, np.full((8, 5), 0.25, np.float32))
        single = evaluate(self.MODEL, [(TABLE, golden_labels())], feeds=["gain=1", f"state={file}"], **OPTIONS)
        assert double.rates == single.rates
        for wrong in (np.full((8, 5), 1e300), np.zeros((8, 5), np.int64)):
            np.save(file, wrong)
            with pytest.raises(DataError, match="'state' takes float32 of shape"):
                evaluate(self.MODEL, [(TABLE, golden_labels())], feeds=["gain=1", f"state={file}"], **OPTIONS)

    def test_a_state_in_a_file_says_the_batch_size(self, tmp_path):
        """Its free size has the batch's name; a larger batch is refused, as there are no rows for it."""
        np.save(tmp_path / "state.npy", np.zeros((6, 5), np.float32))
        feeds = ["gain=1", f"state={tmp_path / 'state.npy'}"]
        result = evaluate(self.MODEL, [(TABLE, golden_labels())], feeds=feeds, **OPTIONS | {"batch_size": None})
        assert (result.settings.batch_size, result.clean) == (6, 0.75)
        smaller = evaluate(self.MODEL, [(TABLE, golden_labels())], feeds=feeds, **OPTIONS | {"batch_size": 4})
        assert smaller.clean == 0.75
        with pytest.raises(UsageError, match="have rows for batches of 6 images, got `batch_size=8`"):
            evaluate(self.MODEL, [(TABLE, golden_labels())], feeds=feeds, **OPTIONS)

    @pytest.mark.parametrize("jobs", [1, 2])
    def test_an_input_before_the_data_does_not_say_the_batch_size(self, jobs):
        """The first size of a state (2, batch, 5) is no number of images."""
        model = model_of(
            [
                node("Gather", ["state", "first"], ["s"], axis=0),
                node("MatMul", ["x", "w"], ["m"]),
                node("Add", ["m", "s"], ["y"]),
            ],
            [("w", random_floats(8, 5, seed=2)), ("first", np.int64(0))],
            inputs={"state": (2, "batch", 5), "x": ("batch", 8)},
            outputs={"y": ("batch", 5)},
        )
        result = evaluate(model, [(TABLE, golden_labels())], feeds={"state": 0}, jobs=jobs, **OPTIONS)
        plain = evaluate(linear(outputs={"y": (None, 5)}), [(TABLE, golden_labels())], **OPTIONS)
        assert (result.settings.batch_size, result.rates) == (8, plain.rates)

    def test_a_number_fills_the_sizes_that_the_data_gives(self):
        """A mask (batch, tokens) beside tokens (batch, tokens): its second size is not the batch's."""
        model = model_of(
            [
                node("Gather", ["table", "tokens"], ["e"], axis=0),
                node("Unsqueeze", ["mask", "last"], ["m"]),
                node("Mul", ["e", "m"], ["masked"]),
                node("ReduceMean", ["masked", "second"], ["y"], keepdims=0),
            ],
            [("table", random_floats(9, 5, seed=2)), ("last", np.array([2])), ("second", np.array([1]))],
            inputs={"tokens": ("batch", "length"), "mask": ("batch", "length")},
            outputs={"y": ("batch", 5)},
        )
        model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
        tokens = np.random.default_rng(3).integers(0, 9, (ROWS, 3))
        mask = np.full((ROWS, 3), 0.5, np.float32)
        labels = scores(model, {"tokens": tokens, "mask": mask}, "y").argmax(axis=1)
        fed = evaluate(model, [(tokens, labels)], feeds={"mask": 0.5}, **OPTIONS)
        given = evaluate(model, [({"tokens": tokens, "mask": mask}, labels)], **OPTIONS)
        assert (fed.clean, fed.rates) == (1, given.rates)

    def test_images_beside_a_constant_are_turned_as_without_it(self, tmp_path):
        """Channels last, as the model's input shape has them."""
        pixels = np.random.default_rng(4).integers(0, 256, (ROWS, 3, 6, 8), np.uint8)
        model = _flat_net((6, 8, 3), turned=True)
        with_gain = _flat_net((6, 8, 3), turned=True)
        with_gain.graph.node[-1].output[0] = "unscaled"
        with_gain.graph.node.append(node("Mul", ["unscaled", "gain"], ["y"]))
        with_gain.graph.input.insert(0, helper.make_tensor_value_info("gain", FLOAT, []))
        np.savez(tmp_path / "images.npz", images=pixels, labels=np.arange(ROWS) % 5)
        spec = f"npz:{tmp_path / 'images.npz'}"
        plain = evaluate(model, spec, **OPTIONS)
        assert evaluate(with_gain, spec, feeds={"gain": 1}, **OPTIONS).rates == plain.rates

    def test_a_refused_run_names_the_constants(self):
        """Their shapes may be what is wrong."""
        model = model_of(
            [node("MatMul", ["x", "w"], ["m"]), node("Add", ["m", "state"], ["y"])],
            [("w", random_floats(8, 5, seed=2))],
            inputs={"x": (None, 8), "state": (None, None)},
            outputs={"y": (None, 5)},
        )
        with pytest.raises(DataError, match=r"the data gives \(8, 8\) float32, `feeds` 'state' \(8, 8\) float32: "):
            evaluate(model, [(TABLE, golden_labels())], feeds={"state": 0}, **OPTIONS)


def _flat_net(shape, *, turned=False, from_bytes=False):
    """Return a linear classifier of images; with ``turned`` its weights are those for channels first."""
    size = int(np.prod(shape))
    weight = random_floats(size, 5, seed=8)
    if turned:
        height, width, channels = shape
        weight = weight.reshape(channels, height, width, 5).transpose(1, 2, 0, 3).reshape(size, 5)
    nodes = [node("Flatten", ["p"], ["f"]), node("MatMul", ["f", "w"], ["y"])]
    before = [node("Cast", ["x"], ["c"], to=FLOAT), node("Div", ["c", "by"], ["p"])]
    constants = [("w", np.ascontiguousarray(weight))]
    if from_bytes:
        nodes = before + nodes
        constants.append(("by", np.float32(255)))
    else:
        nodes.insert(0, node("Identity", ["x"], ["p"]))
    model = model_of(nodes, constants, inputs={"x": (None, *shape)}, outputs={"y": (None, 5)})
    if from_bytes:
        model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    return model


class TestCommandLine:
    """The same by options."""

    def test_output_feed_and_task(self, tmp_path):
        """And the report's command repeats them."""
        model = linear(node("Mul", ["y", "gain"], ["z"]), outputs={"y": (None, 5), "z": (None, 5)})
        model.graph.input.append(helper.make_tensor_value_info("gain", FLOAT, []))
        onnx.save(model, tmp_path / "m.onnx")
        np.savez(tmp_path / "d.npz", x=TABLE, labels=golden_labels())
        spec = f"npz:{tmp_path / 'd.npz'}"
        arguments = ("inject", tmp_path / "m.onnx", "--data", spec, "--rate", "2e-3", "--repeats", "3")
        refused = cli(*arguments, "--feed", "gain=2")
        assert (refused.code, "name one as --output" in refused.err) == (4, True)
        found = cli_json(*arguments, "--batch-size", "8", "--feed", "gain=2", "--output", "z", "--threads", "1")
        assert found["golden"]["top1"] == 0.75
        assert found["settings"]["output"] == "z"

    @pytest.mark.parametrize("jobs", [1, 2])
    def test_a_task_of_ones_own(self, tmp_path, jobs):
        """Named by its file and class; workers run the file again."""
        (tmp_path / "mine.py").write_text(
            "from dataclasses import dataclass\n"
            "from ftonnx.tasks import Regression\n\n\n"
            "@dataclass(frozen=True, kw_only=True)\n"
            "class Mine(Regression):\n"
            "    name = 'mine'\n"
        )
        model = linear(outputs={"y": (None, 5)})
        onnx.save(model, tmp_path / "m.onnx")
        labels = scores(model, {"x": TABLE}, "y")
        np.savez(tmp_path / "d.npz", x=TABLE, labels=labels)
        finished = cli(
            "inject", tmp_path / "m.onnx", "--data", f"npz:{tmp_path / 'd.npz'}", "--rate", "1e-3", "--repeats", "2",
            "--task", f"{tmp_path / 'mine.py'}:Mine:tolerance=0.5", "--jobs", jobs, "--report", tmp_path / "r.html",
        )  # fmt: skip
        assert finished.code == 0, finished.err
        assert "fault-free within tolerance 100.00 %" in finished.out
        assert "MAE" in finished.out
        assert "MAE" in (tmp_path / "r.html").read_text()


def test_the_fault_space_does_not_depend_on_the_output():
    """All that is stored can flip, also what feeds an output that nobody judges."""
    space = FaultSpace.of(TestOutputs.MODEL)
    assert [target.tensor for target in space.targets] == ["w", "v"]
