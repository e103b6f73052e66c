"""A little of what ``python -m tests.chaos`` does: kills, interruptions and full disks lose and leave nothing."""

import signal
from random import Random

import pytest
from chaos.commands import CASES
from chaos.full_disk import can_mount, fill, limit, needed
from chaos.kills import interrupt, kill_some
from chaos.workplace import Violation, Workplace, finished

pytestmark = pytest.mark.usefixtures("interruptible")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A place for commands that read nothing but what comes with ftonnx."""
    return Workplace(tmp_path_factory.mktemp("chaos"), inputs=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["inject", "quantize", "study"])
def test_kills_lose_and_leave_nothing(place, name):
    """After the next run that ends by itself."""
    kill_some(place, CASES[name], 2, Random(1))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["inject-jobs", "protect-clipact", "study"])
def test_interruptions_end_every_command(place, name):
    """With 130, children included, and the same command goes on."""
    interrupt(place, CASES[name], Random(2))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["inject-jobs", "quantize"])
def test_full_disks_have_one_exit_code(place, name):
    """4, one line, and nothing half written; with room again the same command goes on."""
    case, random = CASES[name], Random(3)
    if can_mount(place.root):
        size = needed(place, case)
        codes = {fill(place, case, part * size // 4, random) for part in (0, 1, 3)}
    else:
        codes = {limit(place, case, size) for size in (0, 2**14)}
    assert 4 in codes


@pytest.mark.slow
def test_the_harness_notices_what_is_lost_written_in_part_or_left(place):
    """Else it would find nothing for the wrong reason."""
    case = CASES["inject"]
    expected = place.expected(case)
    folder = place.folder(case)
    assert finished(place.start(case, folder)).code == 0
    place.check_whole(case, folder)
    place.check_done(case, folder, {})
    lost = {key: (*row, "changed") for key, row in expected.counts.items()}
    with pytest.raises(Violation, match="units were lost"):
        place.check_done(case, folder, lost)
    (folder / "more").touch()
    with pytest.raises(Violation, match=r"left by it: \['more'\]"):
        place.check_done(case, folder, {})
    (folder / "more").unlink()
    (folder / "r.html").write_text("<html>")
    with pytest.raises(Violation, match=r"r\.html is half written"):
        place.check_whole(case, folder)
    (folder / ".q.onnx.1.part").touch()
    with pytest.raises(Violation, match="parts are left"):
        place.check_left_behind(case, folder)
    (folder / "tmp" / "ftonnx-scratch-1").mkdir()
    with pytest.raises(Violation, match="left in the folder for temporary files"):
        place.check_left_behind(case, folder)


@pytest.mark.slow
def test_older_files_lie_where_a_command_writes_but_not_where_it_reads(place):
    """Whatever lay there is replaced; what a run goes on from would be refused."""
    case = CASES["quantize-entropy"]
    folder = place.folder(case)
    place.write_older(case, folder, b"older")
    assert sorted(path.name for path in folder.iterdir()) == ["q.json", "q.onnx"]
    place.check_whole(case, folder, b"older")
    with pytest.raises(Violation, match="half written"):
        place.check_whole(case, folder)


def test_the_harness_ends_and_notices_processes_that_are_left(place, monkeypatch):
    """A child that no command waits for."""
    case = CASES["inspect"]
    folder = place.folder(case)
    running = place.start(CASES["bench"], folder)
    monkeypatch.setattr("chaos.workplace._CHILDREN_SECONDS", 0)
    with pytest.raises(Violation, match="1 processes are left"):
        place.check_left_behind(case, folder)
    assert running.wait() == -signal.SIGKILL
    finished(running)
