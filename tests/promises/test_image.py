"""The Dockerfile: what it says is well-formed, and its commands install what the image is for."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from fnmatch import fnmatch
from pathlib import Path

import pytest
from dockerfile_parse import DockerfileParser
from recipes_kit import ROOT, run

IMAGE = ROOT / "Dockerfile"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def instructions():
    """Return (instruction, value) of the Dockerfile, read by a parser that is not ours."""
    with IMAGE.open("rb") as file:
        return [(each["instruction"], each["value"]) for each in DockerfileParser(fileobj=file).structure]


def values(instruction):
    """Return the values of all instructions of a kind."""
    return [value for name, value in instructions() if name == instruction]


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    """What Docker is given: the repository without what .dockerignore names."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    anywhere = [line.removeprefix("**/") for line in lines if line.startswith("**/")]
    at_the_top = [line for line in lines if not line.startswith("**/")]
    folder = tmp_path_factory.mktemp("context")
    for path in ROOT.iterdir():
        if any(fnmatch(path.name, pattern) for pattern in (*at_the_top, *anywhere)):
            continue
        if path.is_dir():
            shutil.copytree(path, folder / path.name, ignore=shutil.ignore_patterns(*anywhere))
        else:
            shutil.copy(path, folder)
    return folder


def test_the_image_is_small_and_runs_as_nobody_in_particular():
    """Two stages on slim images, a user by number, as Kubernetes wants it, and the command."""
    assert [value.split()[0] for value in values("FROM")] == ["python:${PYTHON}-slim"] * 2
    names = [name for name, _ in instructions()]
    assert names.index("USER") > max(index for index, name in enumerate(names) if name == "RUN")
    assert values("USER") == ["1000"]
    assert values("ENTRYPOINT") == ['["ftonnx"]']
    (python, extras) = values("ARG")
    least = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert tuple(map(int, python.removeprefix("PYTHON=").split("."))) >= tuple(map(int, least.split(".")))
    assert extras.removeprefix("EXTRAS=") in PROJECT["project"]["optional-dependencies"]


@pytest.mark.slow
def test_the_images_commands_install_the_command(tmp_path, context):
    """Replayed one after the other, where all that they would download is there already."""
    pip, environment = fresh(tmp_path)
    extras = next(value for value in values("ARG") if value.startswith("EXTRAS="))
    for command in values("RUN"):
        if command.startswith("pip "):
            done = replayed(command, pip, context, environment | dict([extras.split("=")]))
            assert done.returncode == 0, done.stderr
            assert "does not provide the extra" not in done.stderr
    (wheel,) = (tmp_path / "wheels").iterdir()
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == files_of_packages()
    installed = run(tmp_path / "venv" / "bin" / "ftonnx", "--version", folder=tmp_path, environment=environment)
    assert PROJECT["project"]["version"] in installed.stdout
    where = "import ftonnx; print(ftonnx.__file__)"
    found = run(tmp_path / "venv" / "bin" / "python", "-c", where, folder=tmp_path, environment=environment)
    assert Path(found.stdout.strip()).is_relative_to(tmp_path)


@pytest.mark.slow
def test_the_image_is_built_where_docker_runs(tmp_path):
    """And its command says what it is."""
    if shutil.which("docker") is None or run("docker", "info", folder=tmp_path, environment=os.environ).returncode:
        pytest.skip("no Docker daemon answers here")
    built = run("docker", "build", "--quiet", ROOT, folder=tmp_path, environment=os.environ)
    assert built.returncode == 0, built.stderr
    image = built.stdout.strip()
    said = run("docker", "run", "--rm", "--user", "1234", image, "--version", folder=tmp_path, environment=os.environ)
    assert PROJECT["project"]["version"] in said.stdout


def fresh(folder):
    """Make a virtual environment with all that is installed here but ftonnx; return its pip, and variables for it."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    (folder / "installed").mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if "ftonnx" not in path.name:
            (folder / "installed" / path.name).symlink_to(path)
    (packages,) = (folder / "venv").glob("lib/python*/site-packages")
    (packages / "installed.pth").write_text(f"{folder / 'installed'}\n")
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return f"{folder / 'venv' / 'bin' / 'python'} -m pip", variables | {"PIP_NO_INDEX": "1"}


def replayed(command, pip, context, environment):
    """Run a command of the Dockerfile in the context, with its folder of wheels beside the virtual environment."""
    wheels = Path(pip.split()[0]).parents[2] / "wheels"
    here = command.replace("/wheels", str(wheels)).replace("pip install", f"{pip} install")
    here = here.replace("pip wheel", f"{pip} wheel --no-build-isolation")
    return run("sh", "-c", here, folder=context, environment=environment)


def files_of_packages():
    """Return the files that pyproject.toml says are in the wheel."""
    settings = PROJECT["tool"]["setuptools"]
    found = set()
    for package in settings["packages"]:
        folder = ROOT.joinpath(*package.split(".")[1:])
        for pattern in ("*.py", *settings["package-data"].get(package, [])):
            found |= {f"{package.replace('.', '/')}/{path.relative_to(folder)}" for path in folder.glob(pattern)}
    return found
