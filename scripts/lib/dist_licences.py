"""Writes the licences of the crates that are linked into cgrun, and a list of these crates (CycloneDX 1.5).

Arguments: the target's triple and the directory to write to.
"""

import json
import subprocess
import sys
from pathlib import Path

# What the compiler links besides crates. Only the static build contains the C library.
OTHERS = """\
The Rust standard library: MIT OR Apache-2.0.
The GNU C Library, in the static build only: LGPL-2.1-or-later. To replace it with another version, build cgrun from its
source with scripts/dist.
"""


def metadata(triple):
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", triple]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def linked(graph):
    """The packages that the program contains: no dependencies of tests and build scripts, and no procedural macros."""
    packages = {it["id"]: it for it in graph["packages"]}
    nodes = {it["id"]: it for it in graph["resolve"]["nodes"]}
    found, waiting = {}, [graph["resolve"]["root"]]
    while waiting:
        id = waiting.pop()
        package = packages[id]
        if id in found or any("proc-macro" in target["kind"] for target in package["targets"]):
            continue
        found[id] = package
        for dependency in nodes[id]["deps"]:
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                waiting.append(dependency["pkg"])
    root = found.pop(graph["resolve"]["root"])
    return root, sorted(found.values(), key=lambda it: (it["name"], it["version"]))


def licence_files(package):
    directory = Path(package["manifest_path"]).parent
    words = ("license", "licence", "unlicense", "copying", "copyright", "notice")
    return sorted(it for it in directory.iterdir() if it.is_file() and it.name.lower().startswith(words))


def licences(packages):
    lines = ["cgrun is built from the following crates.", ""]
    lines += [f"{it['name']} {it['version']}: {it['license'] or 'see its licence file'}" for it in packages]
    texts = {}
    for package in packages:
        for file in licence_files(package):
            text = file.read_text(errors="replace").strip()
            texts.setdefault(text, []).append(f"{package['name']} ({file.name})")
    parts = ["\n".join(lines) + "\n", OTHERS]
    parts += [f"{', '.join(owners)}\n\n{text}\n" for text, owners in texts.items()]
    return f"\n{'=' * 80}\n\n".join(parts)


def component(package, kind="library"):
    name, version = package["name"], package["version"]
    fields = {"type": kind, "name": name, "version": version, "purl": f"pkg:cargo/{name}@{version}"}
    fields["bom-ref"] = fields["purl"]
    if package["license"]:
        # Older manifests separate alternatives with a slash.
        fields["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    return fields


def bill_of_materials(root, packages):
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": component(root, "application")},
        "components": [component(it) for it in packages],
    }


def main():
    triple, directory = sys.argv[1], Path(sys.argv[2])
    root, packages = linked(metadata(triple))
    (directory / "THIRD-PARTY-LICENCES.txt").write_text(licences(packages))
    file = directory / f"cgrun-{root['version']}.cdx.json"
    file.write_text(json.dumps(bill_of_materials(root, packages), indent=1) + "\n")
    print(f"    {len(packages)} crates")


if __name__ == "__main__":
    main()
