//! Which limits of the session a profile of the config has set, so that an error can name it.

use super::limit::Limit;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ProfileLimits {
    pub profile: String,
    pub limits: Vec<Limit>,
}

impl ProfileLimits {
    /// Says which of these limits the profile has set: ` (set by the profile ci)`. Empty if none.
    pub(crate) fn note(&self, limits: &[Limit]) -> String {
        let set: Vec<_> =
            limits.iter().filter(|limit| self.limits.contains(limit)).map(|it| it.name()).collect();
        match set.len() {
            0 => String::new(),
            all if all == limits.len() => format!(" (set by the profile {})", self.profile),
            _ => format!(" (the profile {} sets {})", self.profile, set.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_is_named_for_its_own_limits_only() {
        let profile = ProfileLimits { profile: "ci".into(), limits: vec![Limit::Memory, Limit::Pids] };
        assert_eq!(profile.note(&[Limit::Pids]), " (set by the profile ci)");
        assert_eq!(profile.note(&[Limit::Pids, Limit::Cpus]), " (the profile ci sets pids)");
        assert_eq!(profile.note(&[Limit::Cpus]), "");
        assert_eq!(profile.note(&[]), "");
    }
}
