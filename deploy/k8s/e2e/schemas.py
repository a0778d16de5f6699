#!/usr/bin/env python3
"""schemas.py OUT KUBERNETES_MODULE CRD_DIRECTORY…: strict JSON schemas for kubeconform.

From swagger.json of the module k8s.io/kubernetes, and from the CustomResourceDefinitions in the directories. Strict: a
property that a schema does not name is a mistake.
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


def kubernetes(out, module):
    definitions = json.loads((module / "api/openapi-spec/swagger.json").read_text())["definitions"]
    made = {name: strict(schema) for name, schema in definitions.items()}
    for name in made:
        if name.endswith(".IntOrString"):
            made[name] = {"oneOf": [{"type": "string"}, {"type": "integer"}]}
        if name.endswith(".Quantity"):
            made[name] = {"oneOf": [{"type": "string"}, {"type": "number"}]}
    (out / "_definitions.json").write_text(json.dumps({"definitions": made}))
    for name, schema in definitions.items():
        for known in schema.get("x-kubernetes-group-version-kind", []):
            text = json.dumps(made[name]).replace('"#/definitions', '"_definitions.json#/definitions')
            write(out, known["kind"], known["group"], known["version"], json.loads(text))


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
    print(f"schemas.py: {len(list(out.iterdir())) - 1} schemas in {out}")


main()
