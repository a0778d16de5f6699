"""What lies between the nodes: a network namespace for each of them on a bridge, or else loopback.

In a namespace a node drops what comes from the addresses of a set: `cut(a, b)` is that b hears nothing
of a any more, and nobody is told.
"""

import ctypes
import os
import shutil
import subprocess

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_RULES = """
table ip chaos {
  set cut { type ipv4_addr; }
  set lossy { type ipv4_addr; }
  chain input {
    type filter hook input priority 0;
    ip saddr @cut drop
    ip saddr @lossy numgen random mod 100 < %d drop
  }
}
"""


def _run(*command, stdin=None):
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


class Loopback:
    """127.0.0.1, .2, …: nothing can be cut there."""

    cuts = delays = False

    def __init__(self, why):
        self.why = why

    def host(self, number):
        return f"127.0.0.{number + 1}"

    def enter(self, _number):
        return None

    def close(self):
        pass


class Namespaces:
    """One for each node, and this process stands at the bridge, as its clients do."""

    cuts = True
    LOSS_PERCENT = 20

    def __init__(self, size):
        self._net = f"198.18.{os.getpid() % 250}"
        self._bridge = f"mqbr{os.getpid()}"
        self._names = [f"mqttd-chaos-{os.getpid()}-{number + 1}" for number in range(size)]
        self._descriptors = []
        self.delays = False
        try:
            self._make()
        except Exception:
            self.close()
            raise

    def _make(self):
        _run("ip", "link", "add", self._bridge, "type", "bridge")
        _run("ip", "addr", "add", f"{self._net}.254/24", "dev", self._bridge)
        _run("ip", "link", "set", self._bridge, "up")
        for number, name in enumerate(self._names):
            outside = self._outside(number)
            _run("ip", "netns", "add", name)
            _run("ip", "link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", name)
            _run("ip", "link", "set", outside, "master", self._bridge, "up")
            _run("ip", "-n", name, "addr", "add", f"{self.host(number)}/24", "dev", "eth0")
            _run("ip", "-n", name, "link", "set", "eth0", "up")
            _run("ip", "-n", name, "link", "set", "lo", "up")
            self._in(number, "nft", "-f", "-", stdin=_RULES % self.LOSS_PERCENT)
            self._descriptors.append(os.open(f"/run/netns/{name}", os.O_RDONLY | os.O_CLOEXEC))
        try:
            self.delay(0, 1)
            self.delay(0, 0)
            self.delays = True
        except RuntimeError:
            pass  # A kernel without netem.

    def _outside(self, number):
        return f"mqv{os.getpid()}-{number + 1}"

    def _in(self, number, *command, stdin=None):
        return _run("ip", "netns", "exec", self._names[number], *command, stdin=stdin)

    def host(self, number):
        return f"{self._net}.{number + 1}"

    def enter(self, number):
        """What a child does between fork and exec to be that node."""
        descriptor = self._descriptors[number]

        def enter():
            if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        return enter

    def cut(self, source, target):
        """Nothing of node `source` comes to node `target` any more."""
        self._in(target, "nft", "add", "element", "ip", "chaos", "cut", f"{{ {self.host(source)} }}")

    def lose(self, number, others):
        """A part of what comes from the others does not come to that node."""
        hosts = ", ".join(map(self.host, others))
        self._in(number, "nft", "add", "element", "ip", "chaos", "lossy", f"{{ {hosts} }}")

    def heal(self):
        """All that was cut or lost comes again."""
        for number in range(len(self._names)):
            self._in(number, "nft", "flush", "set", "ip", "chaos", "cut")
            self._in(number, "nft", "flush", "set", "ip", "chaos", "lossy")

    def cable(self, number, plugged):
        """Out: neither nodes nor clients hear anything of it."""
        _run("ip", "link", "set", self._outside(number), "up" if plugged else "down")

    def delay(self, number, milliseconds):
        """What leaves a node comes so much later; 0: as always."""
        if milliseconds:
            self._in(number, "tc", "qdisc", "add", "dev", "eth0", "root", "netem", "delay", f"{milliseconds}ms",
                     f"{milliseconds // 4 + 1}ms")
        else:
            self._in(number, "tc", "qdisc", "del", "dev", "eth0", "root")

    def close(self):
        for descriptor in self._descriptors:
            os.close(descriptor)
        for name in self._names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
        subprocess.run(["ip", "link", "del", self._bridge], capture_output=True, check=False)


def make_network(size, wanted=True):
    """The best that can be had here; `why` says what is missing."""
    if not wanted:
        return Loopback("no network namespaces were asked for: no partitions, no loss")
    missing = [tool for tool in ("ip", "nft") if not shutil.which(tool)]
    if os.geteuid() != 0 or missing:
        why = "without root" if os.geteuid() != 0 else f"without {' and '.join(missing)}"
        return Loopback(f"{why} there are no network namespaces: no partitions, no loss; nodes on 127.0.0.1, .2, …")
    try:
        network = Namespaces(size)
    except (RuntimeError, OSError) as error:
        return Loopback(f"no network namespaces here ({error}): no partitions, no loss; nodes on 127.0.0.1, .2, …")
    network.why = "" if network.delays else "this kernel has no netem: no delay between nodes"
    return network
