"""pod_of_job.py MANIFEST INDEX: the pod that Kubernetes makes of a Job, as JSON: the controller adds the index, and the
kubelet expands the variables that the pod itself declares."""

import json
import re
import sys

import yaml


def pod_of(job, index):
    name = f"{job['metadata']['name']}-{index}"
    spec = job["spec"]["template"]["spec"]
    for container in spec.get("initContainers", []) + spec["containers"]:
        env = container.setdefault("env", [])
        if job["spec"].get("completionMode") == "Indexed":
            env.append({"name": "JOB_COMPLETION_INDEX", "value": str(index)})
        values = {it["name"]: it["value"] for it in env}
        for key in ("command", "args"):
            words = container.get(key, [])
            container[key] = [re.sub(r"\$\((\w+)\)", lambda it: values.get(it[1], it[0]), word) for word in words]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


with open(sys.argv[1]) as manifest:
    print(json.dumps(pod_of(yaml.safe_load(manifest), int(sys.argv[2]))))
