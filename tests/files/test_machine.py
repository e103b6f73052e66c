"""What the system says about the processor, where it says anything."""

import platform

import pytest

from ftonnx.files import cpu_name, processor_facts

INTEL = (
    "processor\t: 0\nmodel name\t: Xeon: Gold  \nflags\t\t: fpu avx2\n\nmodel name\t: Xeon: Gold\nflags\t\t: fpu avx2\n"
)
ARM = "processor\t: 0\nFeatures\t: fp asimd\nCPU part\t: 0xd0c\n"


@pytest.mark.parametrize(
    ("text", "name", "facts"),
    [
        (INTEL, "Xeon: Gold", ["Xeon: Gold  ", "fpu avx2", "Xeon: Gold"]),
        (ARM, platform.machine(), ["fp asimd", "0xd0c"]),
    ],
)
def test_names_and_vector_units_are_read_from_the_systems_file(tmp_path, monkeypatch, text, name, facts):
    """Two kinds of processors name themselves in two ways."""
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr("ftonnx.files.machine._CPU_INFO", tmp_path / "cpuinfo")
    assert cpu_name() == name
    assert processor_facts() == [platform.machine(), *facts]


def test_a_system_without_that_file_names_the_machine(tmp_path, monkeypatch):
    """As macOS and Windows do."""
    monkeypatch.setattr("ftonnx.files.machine._CPU_INFO", tmp_path / "missing")
    assert cpu_name() == (platform.processor() or platform.machine())
    assert processor_facts() == [platform.machine()]
