"""A model behind guards, against a copy of its bits that is coded, flipped and decoded word by word."""

import math
import pickle
from collections import Counter
from dataclasses import replace

import numpy as np
import onnx
import pytest
from guards_kit import Parity, Secded, check_places, verdict, words_of
from inject_kit import space_storing
from onnx import numpy_helper
from onnx_zoo import small_cnn

from ftonnx.errors import UsageError
from ftonnx.inject import (
    AsymmetricRates,
    BitFlipRates,
    Faults,
    FaultSpace,
    Guard,
    GuardedMemory,
    ProtectionPlan,
    StuckRates,
    ValueRates,
    faulty_model,
)
from ftonnx.inject.guards import cost_of

MODEL = small_cnn()
SPACE = FaultSpace.of(MODEL, format="ieee")
TENSORS = [target.tensor for target in SPACE.targets]


def plan(*guards, **more):
    """Return a plan."""
    return ProtectionPlan(guards, **more)


def memory_of(*guards, **more):
    """Return the small network behind guards."""
    return GuardedMemory(plan(*guards, **more), SPACE)


def flips_of(memory, faults):
    """Return the flips as {array: {(element, bit)}}."""
    found = {}
    for target, element, bit in zip(faults.target.tolist(), faults.element.tolist(), faults.bit.tolist(), strict=True):
        found.setdefault(memory.space.targets[target].tensor, set()).add((element, bit))
    return found


def stored_bits(model, tensor):
    """Return the 32 bits of every element, lowest first, as lists."""
    (found,) = (each for each in model.graph.initializer if each.name == tensor)
    words = numpy_helper.to_array(found).ravel().view(np.uint32).tolist()
    return [[word >> bit & 1 for bit in range(32)] for word in words]


def naively_decoded(textbook, name, bits, width, interleave, flips):
    """Return {tensor: bits of every element} and counts, of a code on some bits of all tensors; errors stay."""
    left, counts = {}, Counter()
    for tensor in TENSORS:
        golden = stored_bits(MODEL, tensor)
        faulty = [
            [one ^ ((element, bit) in flips.get(tensor, ())) for bit, one in enumerate(row)]
            for element, row in enumerate(golden)
        ]
        numbers = [(element, bit) for element in range(len(golden)) for bit in bits]
        words = words_of(len(numbers), width, interleave)
        beside = flips.get(f"{tensor} ({name})", set())
        for word, own in zip(words, check_places(words, textbook.checks, interleave), strict=True):
            places = [numbers[number] for number in word]
            before = [golden[element][bit] for element, bit in places]
            now = [faulty[element][bit] for element, bit in places]
            lie = [divmod(place, textbook.checks) for place in own]
            checks = [one ^ (place in beside) for one, place in zip(textbook.encode(before), lie, strict=True)]
            hit = now != before or checks != textbook.encode(before)
            after, said = textbook.decode(now, checks)
            for (element, bit), one in zip(places, after, strict=True):
                faulty[element][bit] = one
            counts[verdict(before, after, said)] += hit
        left[tensor] = faulty
    return left, counts


@pytest.mark.parametrize("name", ["secded", "parity"])
@pytest.mark.parametrize(
    ("chosen", "bits", "width", "interleave"),
    [("all", range(32), 64, 1), ("sign+exponent", range(23, 32), 32, 4), ([30, 5, 31], (5, 30, 31), 64, 2)],
)
def test_what_is_left_in_the_model_is_what_a_naive_decoder_leaves(name, chosen, bits, width, interleave):
    """At a rate at which most words are hit; the faulty file is compared bit for bit."""
    # what a guard that stops has found is left as it was
    memory = memory_of(Guard("*", name, chosen, "stop"), word_bits=width, interleave=interleave)
    textbook = Secded(width) if name == "secded" else Parity()
    faults = BitFlipRates(0.02).draw(memory.space, np.random.default_rng(width))
    decoded = memory.decode(faults)
    left, counts = naively_decoded(textbook, name, bits, width, interleave, flips_of(memory, faults))
    faulty = faulty_model(MODEL, SPACE, decoded.faults)
    for tensor in TENSORS:
        assert stored_bits(faulty, tensor) == left[tensor]
    counts.pop("unharmed", None)
    expected = {found: count for found, count in decoded.words.to_dict().items() if count}
    assert +counts == expected
    assert decoded.stopped


def decoded_values(memory, tensor, *flips):
    """Flip (array, element, bit)s, and return the tensor's values afterwards and what was decoded."""
    number = {target.tensor: place for place, target in enumerate(memory.space.targets)}
    columns = zip(*((number[name], element, bit) for name, element, bit in flips), strict=True)
    decoded = memory.decode(Faults(*(list(column) for column in columns)))
    faulty = faulty_model(MODEL, memory.stored, decoded.faults)
    return values_of(faulty, tensor), decoded


def values_of(model, tensor):
    """Return the values of a tensor, flat."""
    (found,) = (each for each in model.graph.initializer if each.name == tensor)
    return numpy_helper.to_array(found).ravel()


GOLDEN = values_of(MODEL, "w1")


@pytest.mark.parametrize("form", ["ieee", "q15.16"])
def test_elements_of_a_detected_word_are_zero(form):
    """Also those of its elements that were not hit, and flips outside of the guarded bits; no others."""
    memory = GuardedMemory(plan(Guard("w1", "parity", "24-31"), word_bits=32), FaultSpace.of(MODEL, format=form))
    # 8 bits of an element, so that a word has four elements
    values, decoded = decoded_values(memory, "w1", ("w1", 5, 25), ("w1", 6, 2))
    expected = GOLDEN.copy()
    expected[4:8] = 0
    assert values.tolist() == expected.tolist()
    assert decoded.words.detected == 1
    assert not decoded.stopped


def test_elements_of_a_detected_word_are_read_again():
    """Flips outside of the guarded bits are gone with them."""
    memory = memory_of(Guard("w1", "duplication", "24-31", "reload"), word_bits=32)
    values, decoded = decoded_values(
        memory, "w1", ("w1", 5, 25), ("w1", 6, 2), ("w1", 8, 1), ("w1 (duplication 2)", 9, 0)
    )
    assert values.tolist() == GOLDEN.tolist()
    assert (decoded.words.reloaded, decoded.words.detected) == (2, 0)
    assert not len(decoded.faults)


def test_of_two_codes_on_one_element_reading_again_wins():
    """A value that is right is not set to zero."""
    memory = memory_of(Guard("w1", "parity", [31]), Guard("w1", "parity", [30], "reload"))
    values, decoded = decoded_values(memory, "w1", ("w1", 0, 31), ("w1", 0, 30))
    # bit 31 of 64 elements is a word; so is bit 30, and these are read again
    assert values.tolist() == GOLDEN.tolist()
    assert (decoded.words.reloaded, decoded.words.detected) == (1, 1)


@pytest.mark.parametrize(("action", "expected"), [("zero", 0.0), ("clamp", GOLDEN.max()), ("reload", GOLDEN[3])])
def test_a_value_beyond_the_range_is_found(action, expected):
    """The exponent's highest bit makes it huge; a low bit is not seen."""
    memory = memory_of(Guard("w1", "range", on_detect=action))
    place = 3 if GOLDEN[3] > 0 else int(np.argmax(GOLDEN > 0))
    expected = GOLDEN[place] if action == "reload" else expected
    values, decoded = decoded_values(memory, "w1", ("w1", place, 30), ("w1", 7, 0))
    wanted = GOLDEN.copy()
    wanted[place] = expected
    wanted.view(np.uint32)[7] ^= 1
    assert values.tolist() == wanted.tolist()
    assert decoded.words.detected + decoded.words.reloaded == 1
    assert memory.space.bits == SPACE.bits


def test_what_has_ended_the_run_is_not_counted_again():
    """The word of elements 0 and 1 does by its parity; the range looks at the element behind them."""
    memory = memory_of(Guard("w1", "parity", on_detect="stop"), Guard("w1", "range", on_detect="zero"))
    _, once = decoded_values(memory, "w1", ("w1", 0, 30))
    assert (once.stopped, once.words.detected) == (True, 1)
    _, more = decoded_values(memory, "w1", ("w1", 0, 30), ("w1", 2, 30), ("w1", 2, 3))
    assert (more.words.detected, more.words.missed) == (2, 1)


def test_a_range_is_that_of_the_tensor_in_every_format():
    """Naive: the faulty value, as a run uses it, against the smallest and largest that a run without faults uses."""
    weights = [("w1", np.float16), ("w1", np.int8), ("w1", np.uint8), ("w1", np.float32)]
    for name, dtype in weights:
        model = onnx.ModelProto()
        model.CopyFrom(MODEL)
        (tensor,) = (each for each in model.graph.initializer if each.name == name)
        values = (GOLDEN * 40 + (100 if dtype == np.uint8 else 0)).astype(dtype).reshape(tensor.dims)
        tensor.CopyFrom(numpy_helper.from_array(values, name))
        for form in ("ieee", "q3.4"):
            space = FaultSpace.of(model, format=form, include=[name])
            memory = GuardedMemory(plan(Guard(name, "range", on_detect="reload")), space)
            bits = space.targets[0].format.bits
            for bit in range(bits):
                fault = Faults([0], [0], [bit])
                before = values_of(model, name)
                after = values_of(faulty_model(model, space, fault), name)[0]
                own = space.targets[0].format
                if form == "q3.4" and np.issubdtype(dtype, np.floating):
                    before = own.decode(own.encode(before))
                is_out = not before.min() <= after <= before.max()
                assert memory.decode(fault).words.reloaded == is_out, (dtype, form, bit)


@pytest.mark.parametrize("element", [0, 1])
def test_the_bounds_of_a_range_are_in_it(element):
    """Twos and threes only: bit 0 makes one of the other; bit 1 leaves the range."""
    model = onnx.ModelProto()
    model.CopyFrom(MODEL)
    values = np.full((16, 3, 3, 3), 2, np.int8)
    values.ravel()[1::2] = 3
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(values, "w1"))
    memory = GuardedMemory(plan(Guard("w1", "range")), FaultSpace.of(model, include=["w1"]))
    assert memory.decode(Faults([0], [element], [0])).words.detected == 0
    assert memory.decode(Faults([0], [element], [1])).words.detected == 1


@pytest.mark.parametrize("at_once", [7, 2**16])
def test_stored_check_bits_are_those_of_the_stored_data(at_once, monkeypatch):
    """What faults that depend on the stored bits see; coded word by word from the file, whatever is read at once."""
    monkeypatch.setattr("ftonnx.inject.guards.bank._AT_ONCE", at_once)
    for name, textbook in (("secded", Secded(64)), ("parity", Parity())):
        memory = memory_of(Guard("w2", name, "20-31"), interleave=3)
        number = len(SPACE.targets)
        golden = stored_bits(MODEL, "w2")
        numbers = [(element, bit) for element in range(len(golden)) for bit in range(20, 32)]
        words = words_of(len(numbers), 64, 3)
        wanted = [0] * (len(words) * textbook.checks)
        for word, own in zip(words, check_places(words, textbook.checks, 3), strict=True):
            data = [golden[numbers[place][0]][numbers[place][1]] for place in word]
            for place, one in zip(own, textbook.encode(data), strict=True):
                wanted[place] = one
        codes = memory.space.codes(number, np.arange(len(words))).tolist()
        assert [code >> bit & 1 for code in codes for bit in range(textbook.checks)] == wanted


@pytest.mark.parametrize("at_once", [7, 2**16])
def test_stored_copies_are_the_guarded_bits(at_once, monkeypatch):
    """Of each element, the lowest first."""
    monkeypatch.setattr("ftonnx.inject.guards.bank._AT_ONCE", at_once)
    memory = memory_of(Guard("w1", "tmr", [3, 31]))
    golden = stored_bits(MODEL, "w1")
    for copy in (1, 2):
        codes = memory.space.codes(len(SPACE.targets) + copy - 1, np.arange(len(golden))).tolist()
        assert codes == [row[3] + 2 * row[31] for row in golden]


def test_check_bits_and_copies_are_in_the_fault_space():
    """N and the cost, counted by hand; the model's own targets come first, unchanged."""
    guards = (Guard(["w1", "w2"], "secded", "sign+exponent"), Guard("w3", "tmr"), Guard("b*", "parity"))
    memory = memory_of(*guards, Guard("w*", "range"))
    elements = {target.tensor: target.elements for target in SPACE.targets}
    words = {name: -(-elements[name] * 9 // 64) for name in ("w1", "w2")}
    secded = 8 * sum(words.values())
    tmr = 2 * 32 * elements["w3"]
    parity = sum(-(-elements[name] * 32 // 64) for name in ("b1", "b2", "b3"))
    assert memory.space.bits == SPACE.bits + secded + tmr + parity
    assert memory.space.targets[: len(SPACE.targets)] == SPACE.targets
    cost = cost_of(memory.plan, SPACE)
    assert [guard.check_bits for guard in cost.guards] == [secded, tmr, parity, 0]
    assert [guard.tensors for guard in cost.guards] == [("w1", "w2"), ("w3",), ("b1", "b2", "b3"), ("w1", "w2", "w3")]
    assert cost.guards[0].guarded_bits == 9 * (elements["w1"] + elements["w2"])
    assert cost.share == (secded + tmr + parity) / SPACE.bits


def test_a_choice_of_bits_that_flip_does_not_change_the_words():
    """The guard's words are made of all its bits; only the chosen ones flip, and the check bits."""
    space = FaultSpace.of(MODEL, format="ieee", bits=[30])
    memory = GuardedMemory(plan(Guard("*", "secded")), space)
    whole = memory_of(Guard("*", "secded"))
    assert memory.space.bits - space.bits == whole.space.bits - SPACE.bits
    decoded = memory.decode(Faults([0, 0], [4, 5], [30, 30]))
    assert (decoded.words.detected, len(decoded.faults)) == (1, decoded.faults.element.size)
    assert cost_of(memory.plan, space).stored_bits == SPACE.bits


@pytest.mark.parametrize(
    ("faults", "seen"),
    [
        (StuckRates(1.0, 1), "detected"),
        (AsymmetricRates(rates_0to1=1.0), "detected"),
        (StuckRates(1.0, 0), "missed"),
        (AsymmetricRates(rates_1to0=1.0), "missed"),
        (ValueRates(1.0, "zero"), "missed"),
    ],
)
def test_a_decoder_sees_what_reads_wrong_whatever_made_it_so(faults, seen):
    """A word of 32 or 64 ones and a parity bit that reads 1 is odd, one of zeros is even; none is what was stored."""
    memory = memory_of(Guard("*", "parity"))
    words = sum(math.ceil(target.elements / 2) for target in SPACE.targets)
    drawn = faults.draw(memory.space, np.random.default_rng(0))
    counted = memory.decode(drawn).words.to_dict()
    assert counted == dict.fromkeys(counted, 0) | {seen: words}


def test_nothing_is_done_without_flips():
    """The empty pattern, as at the rate 0."""
    decoded = memory_of(Guard("*", "secded"), Guard("*", "range")).decode(Faults.none())
    assert not len(decoded.faults)
    assert not any(decoded.words.to_dict().values())


def test_a_memory_travels_to_other_processes():
    """It decodes there alike, and knows the stored bits."""
    memory = memory_of(Guard("*", "parity", "sign+exponent"))
    faults = BitFlipRates(1e-3).draw(memory.space, np.random.default_rng(5))
    again = pickle.loads(pickle.dumps(memory))
    one, other = memory.decode(faults), again.decode(faults)
    assert one.words == other.words
    assert one.faults.element.tolist() == other.faults.element.tolist()
    assert (again.space.is_set(faults) == memory.space.is_set(faults)).all()


@pytest.mark.parametrize(
    ("guards", "message"),
    [
        ([Guard("w9", "tmr")], "'w9' of a guard matches no tensor that can flip"),
        ([Guard("w1", "parity", [32])], "bit 32 does not exist in 'w1'"),
        ([Guard("w*", "parity"), Guard("w1", "secded", "sign")], "bit 31 of 'w1' is guarded twice"),
        ([Guard("w*", "range"), Guard("w1", "range")], "'w1' has two ranges"),
    ],
)
def test_guards_that_do_not_fit_a_model_are_refused(guards, message):
    """In one line that names the tensor."""
    with pytest.raises(UsageError, match=message):
        memory_of(*guards)


def test_a_name_with_brackets_is_offered_as_a_pattern():
    """As it is it would match another one."""
    space = space_storing(np.ones(4, np.float32))
    odd = FaultSpace((replace(space.targets[0], tensor="w[0]"),), (0,))
    with pytest.raises(UsageError, match=r"'w\[0\]' of a guard .*; did you mean w\[\[\]0\]"):
        GuardedMemory(plan(Guard("w[0]", "tmr")), odd)


def test_integers_have_no_exponent():
    """The message says what to give instead."""
    model = onnx.ModelProto()
    model.CopyFrom(MODEL)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.ones((16, 3, 3, 3), np.int8), "w1"))
    space = FaultSpace.of(model, include=["w1"])
    with pytest.raises(UsageError, match="'w1' has elements of int8, which have no exponent: numbers such as 4-7"):
        GuardedMemory(plan(Guard("*", "parity", "exponent")), space)
