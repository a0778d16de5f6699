#!/usr/bin/env python3
"""schemas.py OUT KUBERNETES_MODULE CRD_DIRECTORY…: strict JSON schemas for kubeconform.

From swagger.json of the module k8s.io/kubernetes, and from the CustomResourceDefinitions in the directories. Strict: a
property that a schema does not name is a mistake. Each has the definitions that it needs and no others: kubeconform reads
all that a schema refers to, for each kind again, and with one file of all definitions that is what its time goes to.
"""

import json
import sys
from pathlib import Path

import yaml


Loader = type("Loader", (getattr(yaml, "CSafeLoader", yaml.SafeLoader),), {})
Loader.add_constructor("tag:yaml.org,2002:value", lambda loader, node: node.value)  # A bare "=".


def strict(node):
    if isinstance(node, list):
        return [strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: strict(value) for key, value in node.items()
            if not key.startswith("x-kubernetes") or key == "x-kubernetes-int-or-string"}
    if node.get("x-kubernetes-int-or-string") is True:  # It is also the name of a property.
        return {"oneOf": [{"type": "string"}, {"type": "integer"}]}
    if isinstance(node.get("properties"), dict) and node.get("type", "object") == "object":
        node.setdefault("additionalProperties", False)
    return node


def write(out, kind, group, version, schema):
    name = "-".join(part.lower() for part in (kind, group.split(".")[0], version) if part)
    (out / f"{name}.json").write_text(json.dumps(schema))


def references(node):
    """The names of definitions that a schema refers to."""
    if isinstance(node, list):
        return set().union(*map(references, node))
    if not isinstance(node, dict):
        return set()
    own = node.get("$ref")
    found = {own.removeprefix("#/definitions/")} if isinstance(own, str) else set()
    return found.union(*map(references, node.values()))


def needs(definitions, schema):
    """The names of definitions that a schema refers to, directly or by others."""
    found, open_ends = set(), list(references(schema))
    while open_ends:
        if (at := open_ends.pop()) not in found:
            found.add(at)
            open_ends += references(definitions[at])
    return found


def kubernetes(out, module):
    definitions = json.loads((module / "api/openapi-spec/swagger.json").read_text())["definitions"]
    made = {name: strict(schema) for name, schema in definitions.items()}
    for name in made:
        if name.endswith(".IntOrString"):
            made[name] = {"oneOf": [{"type": "string"}, {"type": "integer"}]}
        if name.endswith(".Quantity"):
            made[name] = {"oneOf": [{"type": "string"}, {"type": "number"}]}
    for name, schema in definitions.items():
        for known in schema.get("x-kubernetes-group-version-kind", []):
            used = {it: made[it] for it in sorted(needs(made, made[name]))}
            write(out, known["kind"], known["group"], known["version"], dict(made[name], definitions=used))


def resources(out, directory):
    for path in sorted(directory.glob("*.yaml")):
        for document in yaml.load_all(path.read_text(), Loader):
            if not document or document.get("kind") != "CustomResourceDefinition":
                continue
            spec = document["spec"]
            for version in spec["versions"]:
                schema = strict(version["schema"]["openAPIV3Schema"])
                schema["properties"].update({"metadata": {"type": "object"}})
                write(out, spec["names"]["kind"], spec["group"], version["name"], schema)


def main():
    out, module, *directories = map(Path, sys.argv[1:])
    out.mkdir(parents=True, exist_ok=True)
    kubernetes(out, module)
    for directory in directories:
        resources(out, directory)
    print(f"schemas.py: {len(list(out.iterdir()))} schemas in {out}")


main()
