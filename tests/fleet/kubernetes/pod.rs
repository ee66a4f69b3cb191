//! The pods of the manifests in the documentation, as Kubernetes would start them.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::engines::engine::IMAGE;
use crate::engines::host::{output, text};
use crate::harness::helpers;

/// Where the manifests are.
pub(super) fn manifests() -> PathBuf {
    crate::fleet::root().join("docs/examples/fleet/kubernetes")
}

/// A pod, and what the kubelet adds to it.
pub(super) struct Pod {
    pub value: Value,
    /// Stands for the volume of the reports.
    pub reports: PathBuf,
    /// What is mounted at `/dev/termination-log`.
    message: PathBuf,
}

impl Pod {
    /// One pod of the Job in this manifest. Its files are below `home`.
    pub(super) fn of(manifest: &str, index: u32, home: &Path) -> Self {
        let value = of_job(manifest, index);
        let reports = home.join("reports");
        let message = home.join(format!("message-{}", value["metadata"]["name"].as_str().unwrap()));
        std::fs::write(&message, "").unwrap();
        set_mode(&message, 0o666);
        let mut pod = Self { value, reports, message };
        pod.complete(home);
        pod
    }

    pub(super) fn name(&self) -> &str {
        self.value["metadata"]["name"].as_str().unwrap()
    }

    /// Our image has no Python, no tests and no cgrun, so they are mounted; and the nodes have no network of their own.
    fn complete(&mut self, home: &Path) {
        let pod = self.name().to_string();
        let spec = &mut self.value["spec"];
        spec["hostNetwork"] = true.into();
        let mut volumes = vec![
            host_path("usr", Path::new("/usr"), "Directory"),
            host_path("program", &home.join("cgrun"), "File"),
            host_path("src", &home.join("src"), "Directory"),
            host_path("message", &self.message, "File"),
        ];
        for volume in spec["volumes"].as_array().unwrap() {
            let name = volume["name"].as_str().unwrap();
            // podman 4.3 gives empty directories of the same name to all pods.
            let path = match volume["persistentVolumeClaim"]["claimName"].as_str() {
                Some(_) => self.reports.clone(),
                None => home.join(format!("{pod}-{name}")),
            };
            std::fs::create_dir_all(&path).unwrap();
            set_mode(&path, 0o777);
            volumes.push(host_path(name, &path, "Directory"));
        }
        spec["volumes"] = volumes.into();
        for key in ["initContainers", "containers"] {
            for container in spec.get_mut(key).into_iter().flat_map(|it| it.as_array_mut().unwrap()) {
                container["image"] = format!("localhost/{IMAGE}").into();
                container["imagePullPolicy"] = "Never".into();
                let mounts = container["volumeMounts"].as_array_mut().unwrap();
                mounts.extend([
                    json!({ "name": "usr", "mountPath": "/usr", "readOnly": true }),
                    json!({ "name": "program", "mountPath": "/bin/cgrun", "readOnly": true }),
                    json!({ "name": "src", "mountPath": "/src" }),
                    json!({ "name": "message", "mountPath": "/dev/termination-log" }),
                ]);
                container["env"].as_array_mut().unwrap().extend([
                    json!({ "name": "KUBERNETES_SERVICE_HOST", "value": "10.96.0.1" }),
                    // An image has it.
                    json!({ "name": "PATH", "value": "/src/bin:/usr/local/bin:/usr/bin:/bin" }),
                ]);
            }
        }
    }

    fn main(&mut self) -> &mut Value {
        &mut self.value["spec"]["containers"][0]
    }

    /// Runs something else below cgrun.
    pub(super) fn running(mut self, words: &[String]) -> Self {
        self.main()["args"] = json!(words);
        self
    }

    pub(super) fn script(self, script: &str) -> Self {
        self.running(&["sh", "-c", script].map(String::from))
    }

    /// Adds options of cgrun.
    pub(super) fn options(mut self, options: &[&str]) -> Self {
        self.main()["command"].as_array_mut().unwrap().extend(options.iter().map(|it| json!(it)));
        self
    }

    /// Takes an option of the manifest away.
    pub(super) fn without(mut self, option: &str) -> Self {
        self.main()["command"].as_array_mut().unwrap().retain(|it| !it.as_str().unwrap().starts_with(option));
        self
    }

    /// A shell is the first process, and cgrun its child.
    pub(super) fn below_a_shell(mut self) -> Self {
        let command = self.main()["command"].take();
        let words = json!(["sh", "-c", "\"$@\"; exit $?", "sh"]);
        self.main()["command"] =
            words.as_array().unwrap().iter().chain(command.as_array().unwrap()).cloned().collect();
        self
    }

    /// What Kubernetes shows of it once it has ended.
    pub(super) fn message(&self) -> String {
        std::fs::read_to_string(&self.message).unwrap()
    }

    /// The report of this shard.
    pub(super) fn report(&self, index: u32) -> Option<Value> {
        let text = std::fs::read(self.reports.join(format!("{index}.json"))).ok()?;
        Some(serde_json::from_slice(&text).unwrap())
    }
}

/// What Kubernetes makes of the Job in this manifest.
pub(super) fn of_job(manifest: &str, index: u32) -> Value {
    let mut command = Command::new(crate::fleet::program("python3"));
    command.arg(helpers().join("pod_of_job.py")).arg(manifests().join(manifest)).arg(index.to_string());
    let made = output(&mut command);
    assert!(made.status.success(), "{}", text(&made.stderr));
    serde_json::from_slice(&made.stdout).unwrap()
}

pub(super) fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn host_path(name: &str, path: &Path, kind: &str) -> Value {
    json!({ "name": name, "hostPath": { "path": path, "type": kind } })
}
