//! `[diagnose]`: which tool reads the stacks of which programs.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::file::Config;
use super::values::Word;
use crate::leaks::allow::Pattern;
use crate::stacks::{PID, Rules};

/// Each pattern with the words of its tool; none if no tool should run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Diagnose(Vec<(Pattern, Vec<String>)>);

impl Config {
    /// The tools for the stacks of hung processes.
    pub(crate) fn rules(&self) -> Rules {
        Rules::new(self.keys.diagnose.0.clone(), self.directory())
    }
}

impl<'de> Deserialize<'de> for Diagnose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Table)
    }
}

struct Table;

impl<'de> Visitor<'de> for Table {
    type Value = Diagnose;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table, such as { uwsgi = [\"py-spy\", \"dump\", \"--pid\", \"{pid}\"] }")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Diagnose, A::Error> {
        let mut rules = Vec::new();
        while let Some((pattern, Tool(words))) = map.next_entry()? {
            rules.push((pattern, words));
        }
        Ok(Diagnose(rules))
    }
}

struct Tool(Vec<String>);

impl<'de> Deserialize<'de> for Tool {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ToolVisitor)
    }
}

struct ToolVisitor;

impl<'de> Visitor<'de> for ToolVisitor {
    type Value = Tool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a list of words, such as [\"py-spy\", \"dump\", \"--pid\", \"{pid}\"], or false for no tool",
        )
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Tool, E> {
        match value {
            false => Ok(Tool(Vec::new())),
            true => Err(E::custom("true names no tool; write its words, or false for no tool")),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Tool, A::Error> {
        let mut words: Vec<String> = Vec::new();
        while let Some(Word(word)) = list.next_element()? {
            words.push(word);
        }
        match words.split_first() {
            None => Ok(Tool(words)),
            Some((name, _)) if name.is_empty() => {
                Err(A::Error::custom("the tool's name is empty; specify what to run, or false for no tool"))
            }
            Some((_, arguments)) if arguments.iter().any(|it| it.contains(PID)) => Ok(Tool(words)),
            Some(_) => {
                Err(A::Error::custom("no argument of the tool contains {pid}, which stands for the process"))
            }
        }
    }
}
