"""What goes wrong in the middle of a rollout, and a rollout in which it does.

    with faults.Scene(faults.FAULTS["leader killed"], ...) as scene:
        result = scene.run()

All nodes pull at once; when 40 % of the image have left upstream, the fault strikes whoever leads,
arbitrates or feeds others at that moment. Pulls that fail are tried again, as the kubelet does.
"""

import time

from . import Lab, LabError, images, rollout
from .registry import Registry
from .spegel import REGISTRY_PORT
from .villain import Corrupter, Refuser

STRIKES_AT = 0.4
HEAD_START_S = 0.25  # of the one that is to lead
ATTEMPTS = 6  # without cold rollouts each layer that is wrong costs one
HEAL_S = 40.0


class Scene:
    """A lab for one fault. cold=False: the same without the feature, and then the first node stands
    for the leader, the second for the arbiter."""

    def __init__(self, fault, nodes, image, upstream_mbit, node_mbit, cold=True):
        self.fault, self.image, self.cold = fault, image, cold
        self.hurt, self.proxies, self.events, self.pulls = [], [], [], None
        args = () if cold else ("--cold-rollout=false",)
        self.node_mbit = node_mbit
        self.lab = Lab(nodes=nodes, upstream_mbit=upstream_mbit, node_mbit=node_mbit,
                       daemon_args=args)
        self.nodes, self.upstream = list(self.lab.nodes), self.lab.upstream

    def __enter__(self):
        self.lab.__enter__()
        try:
            self.reference = self.lab.push(self.image)
            self.ids = rollout.node_ids(self.nodes)
            self.lab.settle(lambda: all(n.daemon.metric("spegel_gossip_members", state="alive") ==
                                        len(self.nodes) - 1 for n in self.nodes),
                            10, "the daemons to know each other")
        except BaseException as e:
            self.lab.__exit__(type(e), e, None)
            raise
        return self

    def __exit__(self, *raised):
        for proxy in self.proxies:
            proxy.close()
        return self.lab.__exit__(*raised)

    # --- who is who ---

    def leaders(self):
        """{digest: (leader, bytes it has)} of the layers that are on their way."""
        found = {}
        layers = [layer["digest"] for layer in self.image.layers]
        for node in self.nodes:
            for digest, flight in rollout.flights(node).items():
                leads = digest in layers and int(flight["parent"], 16) == 0
                if leads and flight["bytes"] > found.get(digest, (None, 0))[1]:
                    found[digest] = (node, flight["bytes"])
        return found

    def leader(self):
        """Who leads a layer that is still on its way, the one with the most bytes."""
        if not self.cold:
            return self.nodes[0]
        leaders = self.leaders()
        if not leaders:
            raise LabError("nobody leads")
        return max(leaders.values(), key=lambda l: l[1])[0]

    def arbiter(self):
        """Who arbitrates such a layer, and leads none if there is one like that."""
        if not self.cold:
            return self.nodes[1]
        leaders = self.leaders()
        found = [rollout.arbiters(self.ids, d)[0] for d in leaders]
        if not found:
            raise LabError("nobody leads")
        apart = [n for n in found if n not in [l[0] for l in leaders.values()]]
        return (apart or found)[0]

    def feeder(self):
        """A follower that feeds others."""
        if self.cold:
            for layer in self.image.layers:
                node = rollout.feeder(self.nodes, layer["digest"])
                if node:
                    return node
        return self.nodes[2]

    def hit(self, node):
        self.hurt.append(node)
        self.events.append(f"hit {node.name}")
        return node

    # --- the story ---

    def run(self):
        """All of it; a dict of what was measured. Raises LabError when something hangs."""
        fault = self.fault
        outflow = rollout.Outflow(self.upstream)
        if fault.before:
            fault.before(self)
        self.pulls = pulls = rollout.Crowd([(n, self.reference) for n in self.first(fault)],
                                           fault.timeout_s, self.attempts(fault))
        if fault.head_start:
            time.sleep(HEAD_START_S)
            pulls.add([(n, self.reference) for n in self.nodes[1:]])
        if fault.blow:
            self.wait_progress(outflow, pulls)
            fault.blow(self, pulls)
        well = [p for p in pulls.pulls if p.node not in self.hurt]
        for pull in well:
            pull.join()
        result = {
            "others_s": max((p.seconds for p in well), default=0.0),
            "failed": sorted(p.node.name for p in well if p.error),
            "tries": sum(p.tries for p in well) - len(well),
            "upstream": outflow.link_bytes / self.image.size_bytes,
            "events": self.events,
        }
        self.heal(pulls)
        result["wrong"] = {n.name: w for n in self.lab.nodes
                           if (w := rollout.wrong_blobs(n, self.image))}
        return result

    def first(self, fault):
        return self.nodes[:1] if fault.head_start else self.nodes

    @staticmethod
    def attempts(fault):
        return 1 if fault.ends_in_failure else ATTEMPTS

    def wait_progress(self, outflow, pulls):
        """Until STRIKES_AT of what will leave upstream has left."""
        share = STRIKES_AT * self.image.size_bytes * (1 if self.cold else len(self.nodes))
        deadline = time.monotonic() + 30
        while outflow.link_bytes < share:
            if not pulls.running or time.monotonic() > deadline:
                raise LabError(f"only {outflow.link_bytes} bytes left upstream")
            time.sleep(0.01)

    def heal(self, pulls):
        """Puts right what was hurt; then even those nodes' pulls must end well, if need be with one
        more try."""
        for proxy in self.proxies:
            proxy.close()
        self.upstream.restore()
        if not self.upstream.alive:
            self.upstream.start()
        for node in self.lab.nodes:
            node.link.restore()
            node.daemon.thaw()
            for process in node.processes:
                if not process.alive:
                    process.start()
        for pull in pulls.pulls:
            pull.join(HEAL_S)
            if pull.is_alive():
                raise LabError(f"the pull of {pull.node.name} hangs: {self.events}")
            if pull.error:
                again = rollout.Pull(pull.node, self.reference, HEAL_S, ATTEMPTS)
                again.start()
                again.join()
                if again.error:
                    raise LabError(f"{pull.node.name} cannot pull any more: {again.error}")


# --- what strikes ---

class Fault:
    """before(scene): ahead of the pulls. blow(scene, pulls): at 40 %. head_start: the first node
    begins a moment earlier, and so leads. ends_in_failure: no pull can end well. upstream: at most
    so many times the image may leave upstream. timeout_s: how long each try may take."""

    def __init__(self, blow=None, before=None, head_start=False, ends_in_failure=False,
                 upstream=2.0, timeout_s=90.0):
        self.blow, self.before, self.head_start = blow, before, head_start
        self.ends_in_failure, self.upstream = ends_in_failure, upstream
        self.timeout_s = timeout_s


def kill_leader(scene, _pulls):
    scene.hit(scene.leader()).daemon.kill()


def freeze_leader(scene, _pulls):
    scene.hit(scene.leader()).daemon.freeze()


def unplug_leader(scene, _pulls):
    scene.hit(scene.leader()).link.cut()


def kill_leaders_containerd(scene, _pulls):
    scene.hit(scene.leader()).containerd.kill()


def kill_arbiter(scene, _pulls):
    scene.hit(scene.arbiter()).daemon.kill()


def freeze_arbiter(scene, _pulls):
    scene.hit(scene.arbiter()).daemon.freeze()


def part_arbiter(scene, _pulls):
    scene.hit(scene.arbiter()).link.cut()


def freeze_first_arbiter(scene):
    """Before anybody has asked anything, and before anybody notices."""
    layer = max(scene.image.layers, key=lambda layer: layer["size"])
    scene.hit(rollout.arbiters(scene.ids, layer["digest"])[0]).daemon.freeze()


def freeze_feeder(scene, _pulls):
    scene.hit(scene.feeder()).daemon.freeze()


def corrupt_layer(scene):
    layer = scene.image.layers[-1]["digest"]
    scene.proxies.append(Corrupter(scene.nodes[0].host, REGISTRY_PORT, layer))


def corrupt_all(scene):
    scene.proxies.append(Corrupter(scene.nodes[0].host, REGISTRY_PORT))


def cut_upstream_for_a_while(scene, _pulls):
    scene.upstream.cut()
    time.sleep(5)
    scene.upstream.restore()


def unplug_upstream(scene, _pulls):
    scene.upstream.cut()


def kill_upstream(scene, _pulls):
    scene.upstream.kill()


def refuse_leader(scene):
    scene.hit(scene.nodes[0])
    scene.proxies.append(Refuser(scene.upstream.host, Registry.PORT, scene.nodes[0].ip))


def join(scene, pulls):
    node = scene.lab.add_node()
    scene.events.append(f"{node.name} joined")
    pulls.add([(node, scene.reference)])


def slow_down(scene):
    scene.hit(scene.nodes[1]).link.shape(scene.node_mbit / 10)


def lose_gossip(scene):
    for node in scene.nodes:
        node.link.lose(0.3, "udp")


FAULTS = {
    "nothing": Fault(),
    "leader's daemon killed": Fault(kill_leader),
    "leader's daemon frozen": Fault(freeze_leader),
    "leader unplugged": Fault(unplug_leader),
    "leader's containerd killed": Fault(kill_leaders_containerd),
    "arbiter killed": Fault(kill_arbiter),
    "arbiter frozen": Fault(freeze_arbiter),
    "arbiter frozen at first": Fault(before=freeze_first_arbiter),
    "arbiter partitioned": Fault(part_arbiter),
    "feeder frozen": Fault(freeze_feeder),
    "leader corrupts a layer": Fault(before=corrupt_layer, head_start=True),
    "leader corrupts all": Fault(before=corrupt_all, head_start=True),
    "upstream away for 5 s": Fault(cut_upstream_for_a_while),
    "upstream gone": Fault(kill_upstream, ends_in_failure=True),
    # containerd waits for ever, as without all this; the kubelet loses patience.
    "upstream unplugged": Fault(unplug_upstream, ends_in_failure=True, timeout_s=10.0),
    "leader refused": Fault(before=refuse_leader, head_start=True),
    "a node joins": Fault(join),
    "a slow node": Fault(before=slow_down),
    "gossip loses 30 %": Fault(before=lose_gossip),
}


def image(layers, total_mb):
    return images.image(layers=layers, layer_mb=total_mb * 1e6 / layers / images.MEGABYTE)
