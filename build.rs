//! Refuses other systems than Linux in words, instead of with the errors of a compiler.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let system = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if system != "linux" {
        println!(
            "cargo::error=cgrun runs on Linux only, because it needs cgroups; this build is for {system}"
        );
    }
}
