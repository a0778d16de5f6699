"""Three mqttd processes that are one broker, each where the network puts it, with logs in files."""

import concurrent.futures
import os
import signal
import subprocess
import threading
import time

import e2e
from e2e import Lines, die_with_parent, run
from local_cluster import Node, free_ports

LIB = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib")
WAIT_S = 60.0


def pause(seconds):
    """Chaos has its own time; nothing is waited for here."""
    threading.Event().wait(max(seconds, 0.0))


def until(done, seconds, every=0.02):
    """How long it took until done() held; None if it does not within so many seconds."""
    began = time.monotonic()
    while not done():
        if time.monotonic() - began > seconds:
            return None
        pause(every)
    return time.monotonic() - began


class MachineWatch(threading.Thread):
    """Notices when nothing runs on this machine for a while: then no pause says anything about the nodes."""

    def __init__(self, tell):
        super().__init__(daemon=True)
        self.stood_still, self._tell, self._ending = [], tell, threading.Event()
        self.start()

    def run(self):
        last = time.monotonic()
        while not self._ending.wait(0.05):
            now = time.monotonic()
            if now - last > 0.5:
                self.stood_still.append((last, now))
                self._tell(f"the machine stood still, or had no time for this process, for {now - last:.1f} s")
            last = now

    def stop(self):
        self._ending.set()
        self.join()

    def overlaps(self, begin, end):
        return any(a < end and b > begin for a, b in self.stood_still)


class ChaosNode(Node):
    """A node that may be anywhere, whose disk may fail, and whose log is a file."""

    def __init__(self, number, ports, seeds, size, arguments, network, directory, library):
        self.directory = os.path.join(directory, f"node{number + 1}")
        os.makedirs(self.directory)
        super().__init__(number, ports, seeds, size, arguments, host=network.host(number))
        self.log_path = os.path.join(self.directory, "mqttd.log")
        self._fault = os.path.join(self.directory, "disk-fault")
        self._network, self._library, self._taken = network, library, None
        self.expected_down = True

    def spawn(self):
        enter = self._network.enter(self.number)

        def before():
            die_with_parent()
            if enter is not None:
                enter()
        environment = dict(os.environ)
        if self._library:
            environment |= {"LD_PRELOAD": self._library, "FAILING_DISK": self._fault}
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([str(part) for part in self._command], stdin=subprocess.DEVNULL,
                                            stdout=subprocess.PIPE, stderr=log, preexec_fn=before, env=environment,
                                            start_new_session=True)  # Processor time of its own, as on a machine of its own.
        self.out = Lines(self.process.stdout)
        self.expected_down = False

    def wait_ready(self):
        try:
            self.out.wait_for(r"^mqttd ready .*")
        except AssertionError as failure:
            raise AssertionError(f"node {self.number + 1}: {failure}; see {self.log_path}") from None

    def kill(self):
        self.expected_down = True
        self.process.kill()
        self.process.wait()

    def terminate(self):
        """SIGTERM; the exit status."""
        self.expected_down = True
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return "none: it did not end"

    def ended_by_itself(self):
        return self.process is not None and not self.expected_down and self.process.poll() is not None

    def stop(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def fail_disk(self, part, error=0, delay_ms=0):
        """What is written below that part of the data directory fails, or is late."""
        with open(self._fault + ".new", "w", encoding="ascii") as control:
            control.write(f"{error} {self.data_dir}/{part} {delay_ms}")
        os.rename(self._fault + ".new", self._fault)

    def heal_disk(self):
        try:
            os.unlink(self._fault)
        except FileNotFoundError:
            pass

    def state(self):
        """What /readyz says, with its status; or that it says nothing."""
        try:
            return self.readyz(timeout=1.0)
        except OSError as error:
            return 0, f"no answer: {error}"

    def metrics(self):
        """Series of /metrics by name with labels; empty without an answer."""
        try:
            status, text = self.get("/metrics", timeout=1.0)
        except OSError:
            return {}
        if status != 200:
            return {}
        pairs = (line.rsplit(" ", 1) for line in text.splitlines() if line and line[0] != "#")
        return {name: float(value) for name, value in pairs}

    @property
    def endpoint(self):
        return f"{self.host}:{self.port}"


class Cluster:
    """Founded and ready when the constructor returns."""

    def __init__(self, network, directory, size=3, arguments=(), disk_faults=True):
        self.network = network
        library = self._failing_disk(directory) if disk_faults else None
        if network.cuts:
            ports, cluster_port = [(1883, 9880)] * size, [9885] * size
            arguments = (*arguments, "--set", "cluster.allow_plaintext=true", "--allow-anonymous")
        else:
            free = free_ports(3 * size)
            ports, cluster_port = list(zip(free[:size], free[size:2 * size])), free[2 * size:]
            arguments = (*arguments, "--set", "cluster.allow_plaintext=true", "--allow-anonymous")
        seeds = [f"{network.host(number)}:{cluster_port[number]}" for number in range(size)]
        self.nodes = [ChaosNode(number, ports[number], seeds, size, arguments, network, directory, library)
                      for number in range(size)]
        self._pool = concurrent.futures.ThreadPoolExecutor(size)
        for node in self.nodes:
            node.spawn()
        for node in self.nodes:
            node.wait_ready()
        if until(self.whole, WAIT_S) is None:
            raise AssertionError(f"the cluster is never whole: {self.states()}")

    @staticmethod
    def _failing_disk(directory):
        library = os.path.join(directory, "failing_disk.so")
        run("cc", "-shared", "-fPIC", "-O1", "-o", library, os.path.join(LIB, "failing_disk.c"), "-ldl")
        return library

    def __getitem__(self, number):
        return self.nodes[number]

    def __len__(self):
        return len(self.nodes)

    def states(self):
        return list(self._pool.map(ChaosNode.state, self.nodes))

    def whole(self):
        return all(state == (200, "ready") for state in self.states())

    def led(self):
        """How many partitions are led, as the nodes that answer say of themselves; 0 if one of them knows of one that nobody leads."""
        told = [series for series in self._pool.map(ChaosNode.metrics, self.nodes) if series]
        if any(series.get("mqttd_cluster_partitions_without_leader", 1) for series in told):
            return 0
        return int(sum(series.get("mqttd_cluster_partitions_led", 0) for series in told))

    def endpoints(self):
        return [node.endpoint for node in self.nodes]

    def died(self):
        return [node for node in self.nodes if node.ended_by_itself()]

    def close(self):
        for node in self.nodes:
            if node.process is not None and node.process.poll() is None:
                node.process.kill()
                node.process.wait()
        self._pool.shutdown()
        self.network.close()


assert e2e.PATIENCE_S >= WAIT_S
