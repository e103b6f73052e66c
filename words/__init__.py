"""Words and numbers as people write and read them: per cent, durations, names that were probably meant, JSON.

Not aware of what a number measures.
"""

from ftonnx.words.bit_numbers import bit_positions, bits_text
from ftonnx.words.checked import file_path, of_kind, real_number, text, texts, whole_number
from ftonnx.words.digits import whole_of
from ftonnx.words.durations import HOURS_PER_DAY, HOURS_PER_YEAR, duration_text, parse_duration, time_text
from ftonnx.words.json_values import fields_of_json, json_fields, json_values
from ftonnx.words.names import did_you_mean, near, some_of, split_names, told_apart
from ftonnx.words.numbers import interval, is_number, nine_digits, number, percent, shape_text, share_digits
from ftonnx.words.parsed import parsed_json, parsed_toml
from ftonnx.words.strangers import as_cell, of_cell, printable
from ftonnx.words.toml_text import option_text, toml_line

__all__ = [
    "HOURS_PER_DAY",
    "HOURS_PER_YEAR",
    "as_cell",
    "bit_positions",
    "bits_text",
    "did_you_mean",
    "duration_text",
    "fields_of_json",
    "file_path",
    "interval",
    "is_number",
    "json_fields",
    "json_values",
    "near",
    "nine_digits",
    "number",
    "of_cell",
    "of_kind",
    "option_text",
    "parse_duration",
    "parsed_json",
    "parsed_toml",
    "percent",
    "printable",
    "real_number",
    "shape_text",
    "share_digits",
    "some_of",
    "split_names",
    "text",
    "texts",
    "time_text",
    "told_apart",
    "toml_line",
    "whole_number",
    "whole_of",
]
