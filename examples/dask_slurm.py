"""One campaign on workers that Slurm starts: this process reads the images and writes the results, they do the rest.

    pip install "ftonnx[dask]" dask-jobqueue
    bash examples/tls.sh ~/tls && . ~/tls/settings.sh  # other users of the cluster can reach the scheduler
    python examples/dask_slurm.py model.onnx npz:test.npz results

Jobs get the settings of the environment from sbatch. What was interrupted is continued by the same command.
"""

import sys

from dask_jobqueue import SLURMCluster

import ftonnx

JOBS = 4
CORES = 16  # of a job, each for a worker with one thread


def cluster() -> SLURMCluster:
    """Return a cluster that has no workers yet."""
    return SLURMCluster(
        cores=CORES,
        processes=CORES,
        memory="32GB",
        walltime="04:00:00",
        protocol="tls://",
        worker_extra_args=["--no-dashboard", "--dashboard-address", "127.0.0.1:0"],
        scheduler_options={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
    )


if __name__ == "__main__":
    model, data, results = sys.argv[1:]
    with cluster() as workers:
        workers.scale(jobs=JOBS)
        workers.wait_for_workers(1)  # however long the queue is
        place = {"engine": "dask", "scheduler": workers.scheduler_address}
        result = ftonnx.evaluate(model, data, rates=[1e-7, 1e-6, 1e-5], results=results, threads=1, **place)
    print(result)
