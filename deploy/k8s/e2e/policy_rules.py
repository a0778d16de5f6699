"""What a NetworkPolicy says, as rules of nftables: of pods that it selects, only what it names may begin a connection to them.
Pods, policies and namespaces are Kubernetes' objects."""

BEGINS = "tcp flags & (syn | ack) == syn"


def selects(selector, labels):
    if set(selector) - {"matchLabels"}:
        raise RuntimeError(f"a selector of a kind that this does not know: {selector}")
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def sources(peer, namespace, pods, namespaces):
    """The addresses that an entry of `from` means."""
    if "ipBlock" in peer:
        return [peer["ipBlock"]["cidr"]]
    there = [it["metadata"]["name"] for it in namespaces if selects(peer["namespaceSelector"], it["metadata"]["labels"])
             ] if "namespaceSelector" in peer else [namespace]
    return [pod["status"]["podIP"] for pod in pods if pod["metadata"]["namespace"] in there
            and selects(peer.get("podSelector", {}), pod["metadata"].get("labels", {}))]


def port_number(port, pod):
    if isinstance(port, int):
        return port
    return next(it["containerPort"] for container in pod["spec"]["containers"] for it in container.get("ports", [])
                if it.get("name") == port)


def rules(policy, pod, pods, namespaces, refuse):
    """For what begins at others and ends at this pod."""
    to = f"ip daddr {pod['status']['podIP']}"
    for rule in policy["spec"].get("ingress", []):
        ports = ", ".join(str(port_number(entry["port"], pod)) for entry in rule["ports"])
        peers = [address for peer in rule.get("from", [])
                 for address in sources(peer, policy["metadata"]["namespace"], pods, namespaces)]
        if rule.get("from") and not peers:
            continue
        source = f"ip saddr {{ {', '.join(peers)} }} " if peers else ""
        yield f"{to} {source}tcp dport {{ {ports} }} {BEGINS} accept"
    yield f"{to} {BEGINS} {refuse}"


def tables(policies, pods, namespaces):
    """All of it, for `nft -f -` on each machine, in place of what was there: for what is routed to a pod, which is refused, and
    for what stays on a machine's bridge, where nothing can be refused, but only lost."""
    text = ""
    for family, refuse in (("inet", "reject with tcp reset"), ("bridge", "drop")):
        text += f"table {family} policies\ndelete table {family} policies\ntable {family} policies {{\nchain between {{\n"
        text += "type filter hook forward priority 10; policy accept;\n"
        for policy in policies:
            for pod in pods:
                if (pod["metadata"]["namespace"] == policy["metadata"]["namespace"]
                        and selects(policy["spec"]["podSelector"], pod["metadata"].get("labels", {}))):
                    text += "".join(f"{line}\n" for line in rules(policy, pod, pods, namespaces, refuse))
        text += "}\n}\n"
    return text
