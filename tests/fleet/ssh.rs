//! Many hosts by ssh: sshd in network namespaces.
