//! How often things happened. What runs did not reach, they have not proved.

use std::collections::BTreeMap;
use std::fmt;

/// Numbers by name, in groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<&'static str, BTreeMap<String, u64>>);

impl Counts {
    /// One more.
    pub fn add(&mut self, group: &'static str, what: &str) {
        let group = self.0.entry(group).or_default();
        match group.get_mut(what) {
            Some(count) => *count += 1,
            None => {
                group.insert(what.to_owned(), 1);
            }
        }
    }

    /// One more of what a request or a frame says it is: its first name in JSON.
    pub fn add_named(&mut self, group: &'static str, json: &str) {
        if let Some(name) = json.split('"').nth(1) {
            self.add(group, name);
        }
    }

    /// How often something happened.
    #[must_use]
    pub fn of(&self, group: &str, what: &str) -> u64 {
        let group = self.0.get(group);
        group
            .and_then(|group| group.get(what))
            .copied()
            .unwrap_or(0)
    }

    /// All that others counted, too.
    pub fn absorb(&mut self, others: &Self) {
        for (group, others) in &others.0 {
            let group = self.0.entry(group).or_default();
            for (what, count) in others {
                *group.entry(what.clone()).or_default() += count;
            }
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (group, counts) in &self.0 {
            writeln!(f, "{group}:")?;
            for (what, count) in counts {
                writeln!(f, "{count:>12}  {what}")?;
            }
        }
        Ok(())
    }
}
