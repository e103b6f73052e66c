"""Files as every room uses them: written whole, locked, run as a user's code; and what the machine's files say of it.

Not aware of what is in a file.
"""

from ftonnx.files.digests import digest_of
from ftonnx.files.documents import read_document, require_plain
from ftonnx.files.locks import try_lock
from ftonnx.files.machine import cpu_name, processor_facts
from ftonnx.files.scratch import remove_left, scratch_folder
from ftonnx.files.targets import check_not_overwritten, check_target, reason_of, reason_unread
from ftonnx.files.temporary import settle_temporary_root, temporary_root
from ftonnx.files.user_code import UserFunction
from ftonnx.files.whole import PART, whole_file, write_file, write_whole

__all__ = [
    "PART",
    "UserFunction",
    "check_not_overwritten",
    "check_target",
    "cpu_name",
    "digest_of",
    "processor_facts",
    "read_document",
    "reason_of",
    "reason_unread",
    "remove_left",
    "require_plain",
    "scratch_folder",
    "settle_temporary_root",
    "temporary_root",
    "try_lock",
    "whole_file",
    "write_file",
    "write_whole",
]
