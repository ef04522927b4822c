"""A Slurm of one node on this machine for the tests: Debian's slurm-wlm and munge, started and stopped by whoever is root.

Everything is in one folder, with ports and a key of its own, so that it meets no other Slurm of the machine.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

COMMANDS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "sinfo")
# Time that controller and node have to answer [s].
PATIENCE = 30.0


def missing() -> str:
    """Why there can be no Slurm here; empty where there can."""
    os.environ["PATH"] += ":/usr/sbin"
    absent = [c for c in COMMANDS if shutil.which(c) is None]
    if absent:
        return f"no Slurm here ({', '.join(absent)} missing): as root, .ci/run installs it"
    if os.geteuid() != 0:
        return "Slurm is started by root only"
    try:
        import submitit  # noqa: F401
    except ImportError:
        return "submitit is not installed (extra slurm)"
    return ""


class OneNode:
    """A controller, a node and a munge, in a folder; `start` and `stop`."""

    def __init__(self, folder: Path, tasks: int = 2):
        self.folder, self.tasks = folder, tasks
        self.processes: list[subprocess.Popen] = []
        self.node = socket.gethostname().split(".")[0]

    def start(self) -> None:
        for name in ("state", "spool"):
            (self.folder / name).mkdir(parents=True)
        # Munge wants nobody else to be able to write above its socket.
        run = Path(f"/run/phdenoise-{os.getpid()}")
        run.mkdir(mode=0o755)
        self.run = run
        key = run / "key"
        key.write_bytes(os.urandom(64))
        key.chmod(0o400)
        self._spawn(
            "munged", "--foreground", "--force", f"--key-file={key}", f"--socket={run}/socket",
            f"--pid-file={run}/pid", f"--log-file={run}/log", f"--seed-file={run}/seed",
        )  # fmt: skip
        _until(lambda: (run / "socket").exists(), "munged")
        conf = self.folder / "slurm.conf"
        conf.write_text(self._conf())
        os.environ["SLURM_CONF"] = str(conf)
        self._spawn("slurmctld", "-D", "-f", str(conf))
        self._spawn("slurmd", "-D", "-f", str(conf))
        _until(lambda: self.says("sinfo", "-h", "-o", "%T").strip() == "idle", "the node")

    def stop(self) -> None:
        self.says("scancel", "--user=root")
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        os.environ.pop("SLURM_CONF", None)
        shutil.rmtree(self.run, ignore_errors=True)

    def says(self, *command: str) -> str:
        """What a command of Slurm prints."""
        return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout

    def sends(self, *command: str) -> None:
        """Run a command that asks again and again where a job is about to change, for some seconds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(command, capture_output=True, timeout=5)

    def _spawn(self, *command: str) -> None:
        log = (self.folder / f"{command[0]}.log").open("wb")
        self.processes.append(subprocess.Popen(command, stdout=log, stderr=log))

    def _conf(self) -> str:
        controller, node = _free_ports(2)
        return "\n".join(
            [
                "ClusterName=tests",
                f"SlurmctldHost={self.node}(127.0.0.1)",
                f"SlurmctldPort={controller}",
                f"SlurmdPort={node}",
                "SlurmUser=root",
                "AuthType=auth/munge",
                f"AuthInfo=socket={self.run}/socket",
                "ProctrackType=proctrack/linuxproc",
                "TaskPlugin=task/none",
                "SelectType=select/cons_tres",
                "SelectTypeParameters=CR_Core",
                "JobAcctGatherType=jobacct_gather/none",
                "AccountingStorageType=accounting_storage/none",
                "MpiDefault=none",
                "ReturnToService=2",
                "SchedulerParameters=sched_interval=2,batch_sched_delay=1",
                "MinJobAge=30",
                # A requeued task may start again at once.
                "KillWait=5",
                f"StateSaveLocation={self.folder}/state",
                f"SlurmdSpoolDir={self.folder}/spool",
                f"SlurmctldPidFile={self.folder}/slurmctld.pid",
                f"SlurmdPidFile={self.folder}/slurmd.pid",
                f"NodeName={self.node} NodeAddr=127.0.0.1 CPUs={self.tasks} RealMemory=2000 State=UNKNOWN",
                f"PartitionName=tests Nodes={self.node} Default=YES MaxTime=INFINITE State=UP",
                "",
            ]
        )


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def _until(condition, what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not start")
        time.sleep(0.2)
