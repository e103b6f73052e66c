"""The recipes for Dask clusters and for machines reached by SSH: run here, with stand-ins for SSH and Slurm."""

import os
import re
import ssl
import subprocess

import dask
import psutil
import pytest
import yaml
from campaign_kit import counts
from distributed.security import Security
from recipes_kit import EXAMPLES, ROOT, free_port, model_and_images, run, stand_ins

import ftonnx

REST = ("--rate", "1e-5", "--repeats", "3", "--strategy", "live")
SETTINGS = {"rates": [1e-5], "repeats": 3, "strategy": "live", "threads": 1}
ROLES = ("scheduler", "worker", "client")


def made(folder):
    """Make a key as the pages say; return the variables of the file with the settings."""
    subprocess.run(["bash", EXAMPLES / "tls.sh", folder], check=True, capture_output=True)
    script = f'. "{folder}/settings.sh"; env -0'
    lines = subprocess.run(["bash", "-c", script], check=True, capture_output=True, text=True).stdout.split("\0")
    return dict(line.split("=", 1) for line in lines if line.startswith("DASK_DISTRIBUTED__"))


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """Variables of a key, in a folder whose name a shell would take apart."""
    return made(tmp_path_factory.mktemp("key") / "of a cluster")


def security(variables):
    """Return what Dask makes of the variables."""
    with dask.config.set(dask.config.merge(dask.config.global_config, dask.config.collect_env(variables))):
        return Security()


def shake(client, server):
    """Let two contexts shake hands in memory, as strictly as Python 3.13 and newer do.

    Raises:
        ssl.SSLError: one of them declines.
    """
    for context in (client, server):
        context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(back, there), server.wrap_bio(there, back, server_side=True)]
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue


@pytest.mark.parametrize("role", ROLES)
def test_everybody_with_the_key_takes_part(tls, role):
    """Dask reads the settings, and a scheduler accepts each role by them."""
    found = security(tls)
    assert found.require_encryption is True
    shake(found.get_connection_args(role)["ssl_context"], found.get_listen_args("scheduler")["ssl_context"])


def test_nobody_without_the_key_takes_part(tls, tmp_path):
    """Neither with a key of his own nor with none, and nobody believes a scheduler with another one."""
    ours, theirs = security(tls), security(made(tmp_path / "other"))
    nameless = ssl.create_default_context(cafile=ours.tls_ca_file)
    nameless.check_hostname = False
    scheduler = ours.get_listen_args("scheduler")["ssl_context"]
    for client in (theirs.get_connection_args("client")["ssl_context"], nameless):
        with pytest.raises(ssl.SSLError):
            shake(client, scheduler)
    with pytest.raises(ssl.SSLError):
        shake(ours.get_connection_args("client")["ssl_context"], theirs.get_listen_args("scheduler")["ssl_context"])


def test_the_key_is_for_nobody_else_to_read(tls):
    """Neither the file nor its folder."""
    key = security(tls).tls_ca_file
    assert {os.stat(path).st_mode & 0o077 for path in (key, os.path.dirname(key))} == {0}


def test_the_pages_variables_are_those_of_the_key(tls):
    """And those of the pods."""
    page = (ROOT / "docs" / "how-to" / "machines.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(DASK_\w+)`", page)) - {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT"}
    assert named == tls.keys()
    documents = yaml.safe_load_all((EXAMPLES / "kubernetes" / "dask.yaml").read_text())
    (config,) = (each["data"] for each in documents if each["kind"] == "ConfigMap")
    assert config.keys() == tls.keys()
    assert config["DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION"] == tls["DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION"]


@pytest.mark.slow
def test_a_cluster_over_ssh_does_a_campaign_and_ends(tmp_path, tls):
    """On two hosts that know nothing of the environment but what the script sends."""
    model_and_images(tmp_path)
    log = tmp_path / "log"
    environment = stand_ins(
        tmp_path,
        ssh=f'echo "$2 begins" >>{log}; '
        'env -i PATH="$PATH" PYTHONPATH="${PYTHONPATH:-}" HOME="$HOME" bash -c "$3"; '
        f'echo "$2 ends" >>{log}',
    )
    environment |= tls | {"SCHEDULER": f"tls://127.0.0.1:{free_port()}", "HOSTS": "node1 node2", "WORKERS": "1"}
    command = ("inject", "model.onnx", "--data", "npz:test.npz", "--results", "results", *REST)
    done = run("bash", EXAMPLES / "dask_ssh.sh", *command, folder=tmp_path, environment=environment)
    assert done.returncode == 0, done.stderr
    assert sorted(log.read_text().splitlines()) == ["node1 begins", "node1 ends", "node2 begins", "node2 ends"]
    assert counts(tmp_path / "results") == counts(whole(tmp_path).results)


@pytest.mark.slow
def test_the_pods_of_a_cluster_do_a_campaign(tmp_path, tls):
    """Their commands, run here with the key where they expect it; nothing of the scheduler listens elsewhere."""
    model_and_images(tmp_path / "client")
    address = f"tls://127.0.0.1:{free_port()}"
    key = security(tls).tls_ca_file
    changed = {"tls://:8786": address, "tls://ftonnx-scheduler:8786": address, "/client": str(tmp_path / "client")}
    documents = [each for each in yaml.safe_load_all((EXAMPLES / "kubernetes" / "dask.yaml").read_text()) if each]
    (config,) = (each["data"] for each in documents if each["kind"] == "ConfigMap")
    environment = stand_ins(tmp_path) | {name: value.replace("/tls/dask.pem", key) for name, value in config.items()}

    def command(name, entry=()):
        (found,) = (each for each in documents if each["metadata"]["name"] == name and "template" in each["spec"])
        (container,) = found["spec"]["template"]["spec"]["containers"]
        words = [*container.get("command", entry), *container.get("args", [])]
        for there, here in changed.items():
            words = [word.replace(there, here) for word in words]
        return words

    started = []
    with (tmp_path / "log").open("wb") as log:
        try:
            for name in ("ftonnx-scheduler", "ftonnx-workers"):
                started.append(subprocess.Popen(command(name), env=environment, stdout=log, stderr=log, cwd=tmp_path))
            words = command("ftonnx-client", ["ftonnx"])
            done = run(*words, "--repeats", "3", "--strategy", "live", folder=tmp_path, environment=environment)
            listening = listens_at(started[0])
        finally:
            for process in reversed(started):
                process.terminate()
                process.wait(timeout=60)
    assert done.returncode == 0, done.stderr
    assert listening == {"127.0.0.1"}
    expected = whole(tmp_path / "client", rates=[1e-6, 1e-5])
    assert counts(tmp_path / "client" / "results") == counts(expected.results)


def listens_at(process):
    """Return the addresses of this machine at which a process listens."""
    connections = psutil.Process(process.pid).net_connections(kind="inet")
    return {each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN}


def whole(folder, **changed):
    """Run the campaign here, for comparison."""
    return ftonnx.evaluate(folder / "model.onnx", f"npz:{folder / 'test.npz'}", **(SETTINGS | changed))


def test_what_slurm_is_given_is_a_script(tmp_path, tls):
    """With a core for each of the worker processes, each with a thread, which speak TLS and have no dashboard."""
    program = f"import runpy; print(runpy.run_path({str(EXAMPLES / 'dask_slurm.py')!r})['cluster']().job_script())"
    environment = stand_ins(tmp_path) | tls
    script = run("python", "-W", "error", "-c", program, folder=tmp_path, environment=environment)
    assert script.returncode == 0, script.stderr
    subprocess.run(["bash", "-n"], input=script.stdout, text=True, check=True)
    assert "#SBATCH --cpus-per-task=16" in script.stdout.splitlines()
    (worker,) = (line.split() for line in script.stdout.splitlines() if "dask" in line and not line.startswith("#"))
    assert worker[worker.index("--nthreads") + 1] == "1"
    assert worker[worker.index("--nworkers") + 1] == "16"
    assert worker[worker.index("--dashboard-address") + 1] == "127.0.0.1:0"
    assert "--no-dashboard" in worker
    assert any(word.startswith("tls://") for word in worker)


@pytest.mark.slow
def test_workers_of_slurm_do_a_campaign(tmp_path, tls):
    """Submitted to a stand-in that starts each job at once; in small."""
    model_and_images(tmp_path)
    program = tmp_path / "small.py"
    text = (EXAMPLES / "dask_slurm.py").read_text()
    for large, small in (("JOBS = 4", "JOBS = 2"), ("CORES = 16", "CORES = 1"), ("threads=1", "threads=1, repeats=3")):
        assert large in text
        text = text.replace(large, small)
    program.write_text(text)
    environment = stand_ins(
        tmp_path,
        # the script is gone as soon as it is submitted
        sbatch=f'bash -c "$(cat "$1")" >>{tmp_path}/log 2>&1 & echo "Submitted batch job $!"',
        scancel='kill "$@" || true',
    )
    command = ("python", program, "model.onnx", "npz:test.npz", "results")
    done = run(*command, folder=tmp_path, environment=environment | tls)
    assert done.returncode == 0, done.stderr
    expected = whole(tmp_path, rates=[1e-7, 1e-6, 1e-5], strategy="auto")
    assert counts(tmp_path / "results") == counts(expected.results)


@pytest.mark.slow
def test_the_loop_over_hosts_does_a_campaign(tmp_path):
    """As the page has it, with folders in place of hosts."""
    page = (ROOT / "docs" / "how-to" / "machines.md").read_text(encoding="utf-8")
    (loop,) = re.findall(r"^```bash\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    for host in ("node1", "node2", "node3"):
        model_and_images(tmp_path / host)
    environment = stand_ins(
        tmp_path,
        ssh=f'cd "{tmp_path}/$2"; shift 2; "$@" {" ".join(REST)}',
        scp=f'cp -r "{tmp_path}/${{2/://}}" "$3"',
    )
    done = run("bash", "-euo", "pipefail", "-c", loop, folder=tmp_path, environment=environment)
    assert done.returncode == 0, done.stderr
    assert counts(tmp_path / "all") == counts(whole(tmp_path / "node1").results)
