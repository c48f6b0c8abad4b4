//! Processor agents: each class' partitions, laid on its workers, and their helpers.

use super::assembly::letter_port;
use crate::agents::{
    InletPlaces, Partition, PartitionParts, Processor, ProcessorAgent, ShardView, processor_agent,
};
use crate::config::Settings;
use crate::event::Class;
use crate::feed::IntakeSettings;
use crate::ledger::{Knobs, StreamFeeds};
use crate::os::Clock;
use crate::pool::{ReturnPort, SlotReader};
use crate::queue::QueueConsumer;
use crate::sink::dead_letters::LetterReader;

/// What a shard has for partitions: a reader and a way home for each of them, its streams' feeds, its inlets.
pub(super) type ShardEndsOfProcessors = (Vec<(SlotReader, ReturnPort)>, StreamFeeds, InletPlaces);

/// How many inlets with a stream of their own a shard has: listeners, connectors, the host's figures, in this order.
fn inlets_of(settings: &Settings, shard: usize) -> u32 {
    let listeners = settings.listeners.iter().filter(|listener| listener.shard == shard).count();
    let connectors = settings.connectors.iter().filter(|connector| connector.shard == shard).count();
    let host = settings.host.enabled && settings.host.shard == shard;
    (listeners + connectors + usize::from(host)) as u32
}

/// Where a shard's inlets are among all feeds and inlets.
pub(super) fn inlet_places(settings: &Settings, intake: &IntakeSettings, shard: usize) -> InletPlaces {
    let feeds = settings.feeds.len() as u32;
    // A replay into the appliance opens no sockets.
    let count = if intake.tcp_flows { 0 } else { inlets_of(settings, shard) };
    let before: u32 = (0..shard).map(|shard| inlets_of(settings, shard)).sum();
    let named = feed_names(settings).len() as u32;
    InletPlaces { feeds, first: feeds + before, count, named }
}

/// The names of all feeds and inlets, by the index that processors know them by.
pub fn feed_names(settings: &Settings) -> Vec<String> {
    let mut names: Vec<String> = settings.feeds.iter().map(|feed| feed.name.clone()).collect();
    for shard in 0..settings.threads.shards.max(1) {
        let listeners = settings.listeners.iter().filter(|listener| listener.shard == shard);
        names.extend(listeners.map(|listener| listener.name.clone()));
        let connectors = settings.connectors.iter().filter(|connector| connector.shard == shard);
        names.extend(connectors.map(|connector| connector.name.clone()));
        if settings.host.enabled && settings.host.shard == shard {
            names.push("host".to_owned());
        }
    }
    names
}

/// The names of the agents, as [`processor_agents`] makes them.
pub(super) fn agent_names(settings: &Settings) -> Vec<String> {
    let mut names = Vec::new();
    for class in Class::ALL {
        let workers = settings.workers.workers[class as usize];
        names.extend((0..workers).map(|worker| worker_name(class, worker, workers)));
        if settings.workers.helpers && class != Class::Realtime {
            names.extend((0..workers).map(|worker| helper_name(class, worker)));
        }
    }
    names
}

fn worker_name(class: Class, worker: usize, workers: usize) -> String {
    match workers {
        1 => class.name().to_owned(),
        _ => format!("{}-{worker}", class.name()),
    }
}

fn helper_name(class: Class, worker: usize) -> String {
    format!("{}-h{worker}", class.name())
}

/// The agents of all classes: `processor` makes that of each class' partition.
pub(super) fn processor_agents<P: Processor>(
    settings: &Settings,
    consumers: [Vec<QueueConsumer>; 3],
    mut shards: Vec<ShardEndsOfProcessors>,
    knobs: &Knobs,
    clock: Clock,
    mut processor: impl FnMut(Class, usize, &Knobs) -> P,
    letters: &mut Vec<LetterReader>,
) -> Vec<ProcessorAgent<P>> {
    let mut agents = Vec::new();
    for (class, consumers) in Class::ALL.into_iter().zip(consumers) {
        let workers = settings.workers.workers[class as usize];
        let mut shares: Vec<Vec<Box<Partition<P>>>> = (0..workers).map(|_| Vec::new()).collect();
        for (index, consumer) in consumers.into_iter().enumerate() {
            let view = |(ends, feeds, inlets): &mut ShardEndsOfProcessors| {
                let (reader, port) = ends.pop()?;
                Some(ShardView { reader, port, feeds: feeds.clone(), inlets: *inlets })
            };
            shares[index % workers].push(Box::new(Partition::new(PartitionParts {
                class,
                index,
                processor: processor(class, index, knobs),
                consumer,
                // Each shard made one of each for every partition.
                shards: shards.iter_mut().filter_map(view).collect(),
                watches_latency: settings.control.max_latency.is_some(),
                letters: letter_port(settings, letters),
            })));
        }
        let mut helpers = Vec::new();
        for (worker, partitions) in shares.into_iter().enumerate() {
            let agent =
                processor_agent(worker_name(class, worker, workers), partitions, knobs.clone(), clock);
            if settings.workers.helpers && class != Class::Realtime {
                let (agent, helper) = agent.with_helper(helper_name(class, worker));
                agents.push(agent);
                helpers.push(helper);
            } else {
                agents.push(agent);
            }
        }
        agents.extend(helpers);
    }
    agents
}
