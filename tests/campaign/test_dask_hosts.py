"""Dask over two hosts: network namespaces of their own, joined by a virtual cable."""

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager

import pytest
from campaign_kit import counts, environment, finish, wait_for_units
from dask_kit import Cluster

pytest.importorskip("distributed")

HERE, THERE = "10.77.0.1", "10.77.0.2"
CAMPAIGN = ("inject", "digits", "--data", "digits", "--rate", "1e-4", "--repeats", "40", "--threads", "1")


def ip(*words):
    """Run ``ip``."""
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextmanager
def hosts():
    """Make two hosts and the cable; yield the names of their namespaces, and that of the second one's socket."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2")
    names = [f"ftonnx-{os.getpid()}-{number}" for number in (1, 2)]
    sockets = [f"ft{os.getpid()}-{number}" for number in (1, 2)]
    made = []
    try:
        for name in names:
            try:
                ip("netns", "add", name)
            except subprocess.CalledProcessError as error:
                pytest.skip(f"no network namespace can be made here: {error.stderr.decode().strip()}")
            made.append(name)
        ip("link", "add", sockets[0], "type", "veth", "peer", "name", sockets[1])
        for name, socket, address in zip(names, sockets, (HERE, THERE), strict=True):
            ip("link", "set", socket, "netns", name)
            ip("-n", name, "addr", "add", f"{address}/24", "dev", socket)
            ip("-n", name, "link", "set", socket, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names, sockets[1]
    finally:
        for name in made:
            ip("netns", "delete", name)


def within(name):
    """Return the words before a command that is run on a host."""
    return ("ip", "netns", "exec", name)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The counts of one process."""
    folder = tmp_path_factory.mktemp("alone")
    command = [sys.executable, "-m", "ftonnx", *CAMPAIGN, "--results", folder / "r"]
    started = subprocess.run(command, check=False, capture_output=True, text=True)
    assert started.returncode == 0, started.stderr
    return counts(folder / "r")


@pytest.mark.slow
@pytest.mark.parametrize("cable", ["stays", "is pulled for some seconds"])
def test_a_campaign_over_two_hosts(tmp_path, alone, cable):
    """The counts of one process, every unit once, also where a host is out of reach for a while."""
    with hosts() as ((first, second), socket):
        cluster = Cluster(tmp_path, host=HERE, within=within(first))
        try:
            cluster.start_worker(within=within(first), host=HERE)
            cluster.start_worker(within=within(second), host=THERE)
            command = [*within(first), sys.executable, "-m", "ftonnx", *CAMPAIGN]
            command += ["--results", tmp_path / "r", "--engine", "dask", "--scheduler", cluster.file]
            client = subprocess.Popen(
                list(map(str, command)),
                cwd=tmp_path,
                env=environment(tmp_path),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            wait_for_units(tmp_path / "r", client)
            if cable != "stays":
                ip("-n", second, "link", "set", socket, "down")
                with pytest.raises(subprocess.TimeoutExpired):
                    client.wait(4)
                ip("-n", second, "link", "set", socket, "up")
            found = finish(client)
            assert found.code == 0, found.err
            log = (tmp_path / "log.txt").read_text()
            assert HERE in log
            assert THERE in log
        finally:
            cluster.end()
    assert counts(tmp_path / "r") == alone
