//! Kubernetes: its manifests, run by podman and runc.
