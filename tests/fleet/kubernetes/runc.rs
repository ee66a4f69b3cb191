//! A container of a pod as runc gets it from containerd.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::engines::host::{output, text};

/// What `RuntimeDefault` forbids a process without capabilities, of what cgrun could use.
const FORBIDDEN: [&str; 8] =
    ["unshare", "setns", "mount", "umount2", "fsopen", "fsmount", "move_mount", "open_tree"];

/// Writes the bundle of a container.
pub(super) fn bundle(home: &Path, id: &str, pod: &Value, container: &Value) -> PathBuf {
    let bundle = home.join(id);
    std::fs::create_dir_all(&bundle).unwrap();
    let specified = output(Command::new("runc").args(["spec", "--bundle"]).arg(&bundle));
    assert!(specified.status.success(), "{}", text(&specified.stderr));
    let path = bundle.join("config.json");
    let mut spec: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let rights = &container["securityContext"];
    spec["root"] = json!({ "path": home.join("root"), "readonly": rights["readOnlyRootFilesystem"] });
    let process = &mut spec["process"];
    process["terminal"] = false.into();
    process["user"] = json!({
        "uid": pod["spec"]["securityContext"]["runAsUser"],
        "gid": pod["spec"]["securityContext"]["runAsGroup"],
    });
    process["args"] = words(container);
    process["cwd"] = container.get("workingDir").cloned().unwrap_or("/".into());
    let env = container["env"].as_array().unwrap().iter();
    process["env"] =
        env.map(|it| format!("{}={}", it["name"].as_str().unwrap(), it["value"].as_str().unwrap())).collect();
    assert_eq!(rights["capabilities"], json!({ "drop": ["ALL"] }));
    process["capabilities"] = json!({});
    assert_eq!(rights["allowPrivilegeEscalation"], false);
    process["noNewPrivileges"] = true.into();
    assert_eq!(pod["spec"]["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    spec["linux"]["seccomp"] = seccomp();
    spec["linux"]["cgroupsPath"] = format!("/kubepods/{id}").into();
    let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
    if !namespaces.iter().any(|it| it["type"] == "cgroup") {
        namespaces.push(json!({ "type": "cgroup" }));
    }
    let mounts = container["volumeMounts"].as_array().unwrap().iter();
    let mounts: Vec<_> = mounts.map(|mount| bind(pod, mount)).collect();
    spec["mounts"].as_array_mut().unwrap().extend(mounts);
    std::fs::write(&path, spec.to_string()).unwrap();
    bundle
}

fn words(container: &Value) -> Value {
    let lists = ["command", "args"].into_iter().filter_map(|key| container.get(key)?.as_array());
    lists.flatten().cloned().collect()
}

fn bind(pod: &Value, mount: &Value) -> Value {
    let volume =
        pod["spec"]["volumes"].as_array().unwrap().iter().find(|it| it["name"] == mount["name"]).unwrap();
    let mode = if mount["readOnly"] == true { "ro" } else { "rw" };
    json!({ "destination": mount["mountPath"], "source": volume["hostPath"]["path"], "type": "bind", "options": ["bind", mode] })
}

fn seccomp() -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
        "syscalls": [
            { "names": FORBIDDEN, "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EPERM },
            { "names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::ENOSYS },
            {
                "names": ["clone"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EPERM,
                "args": [{ "index": 0, "value": libc::CLONE_NEWUSER, "valueTwo": libc::CLONE_NEWUSER, "op": "SCMP_CMP_MASKED_EQ" }]
            },
        ]
    })
}

/// Both streams go to one log.
pub(super) fn spawn(mut command: Command, log: &Path) -> Child {
    let file = File::create(log).unwrap();
    command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
    command.spawn().unwrap()
}
