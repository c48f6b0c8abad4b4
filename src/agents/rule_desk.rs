//! Where sets of rules are compiled and sent to a processor, and what replaced ones counted is kept.
//!
//! Invariant: a program says which one it follows, and is sent only right behind that one.

use super::rule_mailbox::{RuleInbox, RulePost, rule_mailbox};
use crate::config::{Rule, RuleSet};
use crate::process::rules::{CompileError, Engine, Places, Program, RuleCounts};
use std::collections::HashMap;
use std::sync::Arc;

/// Why a set of rules was not sent.
#[derive(Debug, thiserror::Error)]
pub enum RuleLoadError {
    /// It can't be compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The processor has not taken the sets before.
    #[error("the processor has not taken the sets of rules before this one: load it again when it has")]
    Waiting,
}

/// A desk for the rules of one processor.
pub struct RuleDesk {
    places: Places,
    post: RulePost,
    rules: Arc<Vec<Rule>>,
    version: u32,
    // What the rules of replaced programs counted that no later one took over, and by version the ids of their rules.
    retired: HashMap<String, RuleCounts>,
    sent: HashMap<u32, Arc<Vec<Rule>>>,
}

impl RuleDesk {
    /// Compiles the first set, for events that come in at these places; with it come the engine that evaluates it and the
    /// engine's end of the mailbox.
    ///
    /// # Errors
    /// The rules are not those of a checked file.
    pub fn open(set: &RuleSet, places: Places) -> Result<(RuleDesk, Engine, RuleInbox), CompileError> {
        const FIRST: u32 = 1;
        let program = Program::compile(&set.rules, &places, FIRST, None)?;
        let (post, inbox) = rule_mailbox();
        let rules = Arc::new(set.rules.clone());
        let sent = HashMap::from([(FIRST, Arc::clone(&rules))]);
        let desk = RuleDesk { places, post, rules, version: FIRST, retired: HashMap::new(), sent };
        Ok((desk, Engine::new(Box::new(program)), inbox))
    }

    /// The version of the set that was sent last.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The rules that were sent last.
    pub fn rules(&self) -> &Arc<Vec<Rule>> {
        &self.rules
    }

    /// Compiles a set and sends it; the processor takes it between two events. Returns its version.
    ///
    /// # Errors
    /// [`RuleLoadError`]; then the processor goes on with what it has.
    pub fn load(&mut self, set: &RuleSet) -> Result<u32, RuleLoadError> {
        self.collect();
        let version = self.version.wrapping_add(1);
        let before = (self.version, self.rules.as_slice());
        let program = Program::compile(&set.rules, &self.places, version, Some(before))?;
        self.post.send(Box::new(program)).map_err(|_| RuleLoadError::Waiting)?;
        (self.version, self.rules) = (version, Arc::new(set.rules.clone()));
        self.sent.insert(version, Arc::clone(&self.rules));
        Ok(version)
    }

    /// Frees programs that came back, after noting what their rules counted.
    pub fn collect(&mut self) {
        while let Some(program) = self.post.returned() {
            let Some(rules) = self.sent.remove(&program.version()) else { continue };
            for (index, rule) in rules.iter().enumerate() {
                // A rule that went on has left its counts to the next program, and the blank ones of that are here.
                let counts = RuleCounts { keys: 0, ..program.counts(index) };
                if counts != RuleCounts::default() {
                    self.retired.entry(rule.id.clone()).or_default().absorb(&counts);
                }
            }
        }
    }

    /// What each rule counted, all its definitions together: by id, those of the set sent last in its order, then those
    /// that are gone. `program` is the one that the processor had at the end.
    pub fn totals(&mut self, program: &Program) -> Vec<(String, RuleCounts)> {
        self.collect();
        let mut retired = self.retired.clone();
        let rules = self.sent.get(&program.version()).unwrap_or(&self.rules);
        let mut totals: Vec<(String, RuleCounts)> = Vec::with_capacity(rules.len());
        for (index, rule) in rules.iter().enumerate() {
            let mut counts = program.counts(index);
            counts.absorb(&retired.remove(&rule.id).unwrap_or_default());
            totals.push((rule.id.clone(), counts));
        }
        let mut gone: Vec<(String, RuleCounts)> = retired.into_iter().collect();
        gone.sort_by(|a, b| a.0.cmp(&b.0));
        totals.extend(gone);
        totals
    }
}
