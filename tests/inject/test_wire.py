"""The fields of a model's bytes are counted exactly, whatever the bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import ModelProto
from onnx_zoo import model_of, small_cnn
from runtime_kit import branch_net, function_cnn, int4_net, node, old_net

from ftonnx.errors import ModelError
from ftonnx.inject import load_model
from ftonnx.inject.wire import check_fields
from ftonnx.limits import FIELDS

MODELS = {"float": small_cnn, "branch": branch_net, "functions": function_cnn, "int4": int4_net, "ir3": old_net}
WHOLE = small_cnn().SerializeToString()


def field_count(message):
    """Count a message's fields by protobuf's own reading of them; packed numbers are one field."""
    count = 0
    for field, value in message.ListFields():
        values = value if field.is_repeated else [value]
        is_message = field.message_type is not None
        is_packed = field.is_repeated and field.has_options and field.GetOptions().packed
        count += 1 if is_packed else len(values)
        if is_message:
            count += sum(field_count(each) for each in values)
    return count


@pytest.mark.parametrize("kind", MODELS)
def test_as_many_fields_as_are_allowed_are_read_and_one_more_is_refused(kind, monkeypatch):
    """Counted in every message of the model, subgraphs and functions included."""
    model = MODELS[kind]()
    data = model.SerializeToString()
    fields = field_count(ModelProto.FromString(data))
    monkeypatch.setenv(FIELDS.variable, str(fields))
    check_fields(data)
    monkeypatch.setenv(FIELDS.variable, str(fields - 1))
    with pytest.raises(ModelError, match=f"it has over {fields - 1:,} fields: the limit is"):
        check_fields(data)


@pytest.mark.parametrize("field", ["node", "initializer", "value_info", "input"])
def test_empty_messages_are_refused_before_they_are_made(field, tmp_path, monkeypatch):
    """Four megabytes of two million would be hundreds of megabytes in memory."""
    monkeypatch.setenv(FIELDS.variable, "1000")
    number = ModelProto().graph.DESCRIPTOR.fields_by_name[field].number
    empty = bytes([number << 3 | 2, 0]) * 1000
    many = model_of([node("Relu", ["x"], ["y"])]).SerializeToString() + b"\x3a" + varint(len(empty)) + empty
    path = tmp_path / "many.onnx"
    path.write_bytes(many)
    with pytest.raises(ModelError, match=r"many.onnx: it has over 1,000 fields: .* FTONNX_LIMIT_FIELDS=N"):
        load_model(path)


def varint(number):
    """Return a number as protobuf writes it."""
    written = b""
    while number > 0x7F:
        written += bytes([number & 0x7F | 0x80])
        number >>= 7
    return written + bytes([number])


@given(st.binary(max_size=300))
def test_any_bytes_come_to_an_end(data):
    """What is wrong with them is said by whoever reads them."""
    check_fields(data)


@given(st.integers(0, 2**31), st.integers(0, 255))
def test_models_of_which_a_byte_changed_come_to_an_end(place, value):
    """Sizes that lead beyond the end, into the middle of others, wire types that there are not."""
    data = bytearray(WHOLE)
    data[place % len(data)] = value
    check_fields(bytes(data))
