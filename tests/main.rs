//! The promises of cgrun, one file each, in a single test program. Each test needs its own process (it
//! becomes a subreaper and enters a network namespace), so they run under nextest: see `scripts/test`.

#![allow(clippy::unwrap_used)]
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "nothing is preloaded here")]

mod fixtures;
mod harness;
mod witness;

mod bad_input;
mod baseline;
mod cancelled;
mod chaos;
mod ci_action;
mod ci_cancel;
mod ci_logs;
mod ci_recipes;
mod completions;
mod configs;
#[macro_use]
mod containments;
mod cookie_killers;
mod cost;
mod docs;
mod doctor;
mod end_with_parent;
mod ended_leaks;
mod engines;
mod escapes;
mod evidence;
mod exit_codes;
mod first_processes;
mod fleet;
mod guardian;
mod hooks;
mod hung_start;
mod hung_teardown;
mod idle;
mod inherited;
mod inner_namespaces;
mod leaks;
mod leftovers;
mod limits;
mod merge;
mod monitors;
mod never_hangs;
mod old_hosts;
mod packages;
mod ports;
mod private;
mod private_directories;
mod private_outbound;
mod ps;
mod pytest_fixtures;
mod pytest_plugin;
mod real_applications;
mod release;
mod reports;
mod schema;
mod services;
mod session_tmp;
mod sessions;
mod shards;
mod signals;
mod stacks;
mod stop_signals;
mod stop_within;
mod strangers;
mod surroundings;
mod terminals;
mod timeout_signal;
mod trust;
mod users;
mod why;
mod why_children;
mod why_harmless;
mod why_network;
mod why_rights;
mod why_sessions;
mod why_surprises;
mod why_terminals;
mod without_proc;
