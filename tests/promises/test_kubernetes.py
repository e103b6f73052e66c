"""The files for Kubernetes: resources by its schemas, which fit each other, and scripts that do their work."""

import re

import kubernetes_validate
import pytest
import yaml
from campaign_kit import counts
from recipes_kit import EXAMPLES, model_and_images, run, stand_ins

import ftonnx

FOLDER = EXAMPLES / "kubernetes"
OLDEST = "1.29"


def resources(*names):
    """Return the resources of files; of all by default."""
    files = [FOLDER / name for name in names] or sorted(FOLDER.iterdir())
    return [each for file in files for each in yaml.safe_load_all(file.read_text()) if each is not None]


def named(kind, name):
    """Return one resource."""
    (found,) = (each for each in resources() if (each["kind"], each["metadata"]["name"]) == (kind, name))
    return found


def has_pods(resource):
    """Say whether a resource starts pods."""
    return "template" in resource.get("spec", {})


def pods(*files):
    """Return the pod templates of files, of all by default, by the names of what starts them."""
    return {each["metadata"]["name"]: each["spec"]["template"] for each in resources(*files) if has_pods(each)}


def label(resource):
    """Return a resource's name for the list of tests."""
    return f"{resource['kind']}-{resource['metadata']['name']}"


every_pod = pytest.mark.parametrize("pod", pods().values(), ids=pods().keys())


@pytest.mark.parametrize("resource", resources(), ids=label)
@pytest.mark.parametrize("version", [OLDEST, kubernetes_validate.latest_version()])
def test_every_resource_is_what_the_schema_says(resource, version):
    """Strictly: a field that Kubernetes does not know is a mistake."""
    kubernetes_validate.validate(resource, version, strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(resource | {"specification": {}}, version, strict=True)


@every_pod
def test_every_pod_may_do_as_little_as_it_can(pod):
    """The restricted standard of Kubernetes, a root file system that is not written, and no token of its own."""
    spec = pod["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in spec["containers"]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert {"requests", "limits"} == container["resources"].keys()


@every_pod
def test_every_pod_has_the_volumes_that_it_mounts(pod):
    """And the claims are those of volumes.yaml."""
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    mounted = {mount["name"] for container in pod["spec"]["containers"] for mount in container["volumeMounts"]}
    assert mounted == volumes.keys()
    there = {each["metadata"]["name"] for each in resources("volumes.yaml")}
    claims = [volume["persistentVolumeClaim"] for volume in volumes.values() if "persistentVolumeClaim" in volume]
    assert {claim["claimName"] for claim in claims} <= there


def test_all_pods_run_one_image():
    """Since only equal versions compute together."""
    assert len({container["image"] for pod in pods().values() for container in pod["spec"]["containers"]}) == 1


def test_the_service_and_the_policy_find_their_pods():
    """By labels; every pod of the cluster is protected, and lets the others in."""
    scheduler = named("Deployment", "ftonnx-scheduler")["spec"]["template"]
    service = named("Service", "ftonnx-scheduler")["spec"]
    assert service["selector"].items() <= scheduler["metadata"]["labels"].items()
    ports = {port["name"]: port["containerPort"] for port in scheduler["spec"]["containers"][0]["ports"]}
    assert [ports[port["targetPort"]] for port in service["ports"]] == [8786]
    policy = named("NetworkPolicy", "ftonnx-dask")["spec"]
    protected = policy["podSelector"]["matchLabels"].items()
    admitted = policy["ingress"][0]["from"][0]["podSelector"]["matchLabels"].items()
    cluster = pods("dask.yaml")
    assert cluster.keys() == {"ftonnx-scheduler", "ftonnx-workers", "ftonnx-client"}
    for pod in cluster.values():
        assert protected <= pod["metadata"]["labels"].items()
        assert admitted <= pod["metadata"]["labels"].items()


def test_every_part_has_a_pod_and_every_worker_process_a_core():
    """Numbers that stand in several places are the same."""
    job = named("Job", "ftonnx-shards")["spec"]
    (container,) = job["template"]["spec"]["containers"]
    (script,) = container["args"]
    assert job["completions"] == int(re.search(r"--shards (\d+)", script)[1])
    assert container["resources"]["requests"]["cpu"] == re.search(r"--jobs (\d+)", script)[1]


@pytest.mark.slow
def test_the_jobs_scripts_do_a_campaign(tmp_path):
    """Two pods one after the other, one of them twice, as it happens; then the one that merges, twice as well."""
    model_and_images(tmp_path / "shared")
    environment = stand_ins(tmp_path)

    def pod(name, scratch, **variables):
        (script,) = named("Job", name)["spec"]["template"]["spec"]["containers"][0]["args"]
        (tmp_path / scratch).mkdir()
        for there, here in (("/tmp/", f"{tmp_path / scratch}/"), ("/shared", str(tmp_path / "shared"))):
            script = script.replace(there, here)
        script = script.replace("--shards 16 --jobs 4", "--shards 2 --jobs 1 --repeats 3 --strategy live")
        done = run("sh", "-euc", script, folder=tmp_path, environment=environment | variables)
        assert done.returncode == 0, done.stderr

    for number, index in enumerate((0, 1, 0)):
        pod("ftonnx-shards", f"shard-{number}", JOB_COMPLETION_INDEX=str(index))
    for attempt in range(2):
        pod("ftonnx-merge", f"merge-{attempt}")
    options = {"rates": [1e-6, 1e-5], "repeats": 3, "strategy": "live", "threads": 1}
    whole = ftonnx.evaluate(tmp_path / "shared" / "model.onnx", f"npz:{tmp_path / 'shared' / 'test.npz'}", **options)
    assert counts(tmp_path / "shared" / "all") == counts(whole.results)
    assert "<!doctype html>" in (tmp_path / "shared" / "report.html").read_text().lower()
