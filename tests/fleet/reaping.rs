//! Fleets are swept and counted.
