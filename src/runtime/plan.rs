//! Which agents share a thread, and which CPU each thread stays on. Pure: it takes numbers and returns a plan, which can
//! be printed before anything starts. Invariant: every agent is on exactly one thread, and no CPU has two threads.

use super::idle::IdleStrategy;
use std::fmt;

/// How agents are laid on threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Threading {
    /// Dedicated where there are CPUs enough, else as few agents per thread as the CPUs allow.
    #[default]
    Auto,
    /// A thread and a CPU for each agent.
    Dedicated,
    /// As on a machine with two CPUs, however many there are.
    Shared,
}

impl Threading {
    /// The name used in configuration and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Threading::Auto => "auto",
            Threading::Dedicated => "dedicated",
            Threading::Shared => "shared",
        }
    }
}

/// Where frames come from, as far as CPUs are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drive {
    /// From the kernel, whose NAPI needs a CPU too.
    Live,
    /// From memory: the kernel has nothing to do.
    Inline,
}

/// What is to be planned.
#[derive(Clone, Copy, Debug)]
pub struct ThreadingWish<'a> {
    /// CPUs that may be used, in any order.
    pub allowed_cpus: &'a [usize],
    /// Names of the shards.
    pub shards: &'a [&'a str],
    /// Names of the processors.
    pub processors: &'a [&'a str],
    /// How agents should be laid on threads.
    pub threading: Threading,
    /// Where frames come from.
    pub drive: Drive,
}

/// One thread of a plan.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct PlannedThread {
    /// Its name, 15 bytes at most if the agents' names are.
    pub name: String,
    /// Its CPU; `None` if it isn't known which are allowed.
    pub cpu: Option<usize>,
    /// The agents it runs, in the order of their turns.
    pub agents: Vec<String>,
}

/// A plan of threads.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ThreadingPlan {
    /// What was chosen: dedicated or shared, never auto.
    pub threading: Threading,
    /// The threads, those of the shards first.
    pub threads: Vec<PlannedThread>,
    /// What a configuration that leaves it open should take: spinning only if a CPU is left for everything else.
    pub idle: IdleStrategy,
    /// Where the plan differs from the wish, and why.
    pub remarks: Vec<String>,
}

/// Plans the threads.
pub fn plan_threads(wish: &ThreadingWish<'_>) -> ThreadingPlan {
    let cpus = cpus_in_order(wish.allowed_cpus);
    let agents = wish.shards.len() + wish.processors.len();
    let spare = spare_cpus(&cpus, wish.drive);
    let mut remarks = Vec::new();
    let dedicated: Option<&[usize]> = match wish.threading {
        Threading::Shared => None,
        _ if agents <= spare.len() => Some(spare),
        _ if agents <= cpus.len() && wish.drive == Drive::Inline => Some(&cpus),
        Threading::Dedicated if agents <= cpus.len() => {
            remarks.push(cpu_zero_remark(&cpus));
            Some(&cpus)
        }
        _ => None,
    };
    let threads = match dedicated {
        Some(on) => one_each(wish, on),
        None => {
            if wish.threading != Threading::Shared {
                remarks.push(too_few_remark(agents, &cpus, spare, wish.drive));
            }
            let on = match wish.threading {
                Threading::Shared => last_two(&cpus, wish.drive),
                _ => spare,
            };
            together(wish, on)
        }
    };
    let threading = if dedicated.is_some() { Threading::Dedicated } else { Threading::Shared };
    let spinning_fits = dedicated.is_some() && cpus.len() > threads.len();
    let idle = if spinning_fits { IdleStrategy::BusySpin } else { IdleStrategy::Backoff };
    ThreadingPlan { threading, threads, idle, remarks }
}

/// Ascending, each once, and CPU 0 last: interrupts and the kernel's own threads prefer it.
fn cpus_in_order(allowed: &[usize]) -> Vec<usize> {
    let mut cpus = allowed.to_vec();
    cpus.sort_unstable();
    cpus.dedup();
    if cpus.first() == Some(&0) {
        cpus.rotate_left(1);
    }
    cpus
}

/// Those to use where there's choice: without CPU 0, unless that leaves too few to keep shards and processors apart from
/// the kernel's NAPI (live) or from each other (inline). Where CPU 0 isn't allowed, the kernel has it anyway.
fn spare_cpus(cpus: &[usize], drive: Drive) -> &[usize] {
    let fewest = match drive {
        Drive::Live => 1,
        Drive::Inline => 2,
    };
    match cpus.split_last() {
        Some((0, rest)) if rest.len() >= fewest => rest,
        _ => cpus,
    }
}

/// The CPUs that `shared` uses: live the last one, from memory the last two.
fn last_two(cpus: &[usize], drive: Drive) -> &[usize] {
    let spare = spare_cpus(cpus, drive);
    let wanted = match drive {
        Drive::Live => 1,
        Drive::Inline => 2,
    };
    &spare[spare.len().saturating_sub(wanted)..]
}

fn one_each(wish: &ThreadingWish<'_>, cpus: &[usize]) -> Vec<PlannedThread> {
    let names = wish.shards.iter().chain(wish.processors);
    names.zip(cpus).map(|(&name, &cpu)| thread(name.to_owned(), Some(cpu), &[name])).collect()
}

/// Shards and processors apart if there are two CPUs, each group spread over as many as there are.
fn together(wish: &ThreadingWish<'_>, cpus: &[usize]) -> Vec<PlannedThread> {
    let (shards, processors) = (wish.shards, wish.processors);
    if shards.is_empty() && processors.is_empty() {
        return Vec::new();
    }
    if cpus.len() < 2 {
        let all: Vec<&str> = shards.iter().chain(processors).copied().collect();
        return vec![thread("all-agents".to_owned(), cpus.first().copied(), &all)];
    }
    let kept_for_processors = usize::from(!processors.is_empty());
    let (for_shards, rest) = cpus.split_at(shards.len().min(cpus.len() - kept_for_processors));
    let mut threads = spread("shards", shards, for_shards);
    threads.extend(spread("processors", processors, rest));
    threads
}

/// Lays agents on CPUs in turn, one thread per CPU that gets any.
fn spread(group: &str, agents: &[&str], cpus: &[usize]) -> Vec<PlannedThread> {
    let count = agents.len().min(cpus.len());
    let on = |index: usize| -> Vec<&str> { agents.iter().copied().skip(index).step_by(count).collect() };
    let name = |index: usize| if count == 1 { group.to_owned() } else { format!("{group}-{index}") };
    (0..count).map(|index| thread(name(index), Some(cpus[index]), &on(index))).collect()
}

/// A thread bears its agent's name if it has only one.
fn thread(group: String, cpu: Option<usize>, agents: &[&str]) -> PlannedThread {
    let name = match agents {
        [only] => (*only).to_owned(),
        _ => group,
    };
    PlannedThread { name, cpu, agents: agents.iter().map(|&agent| agent.to_owned()).collect() }
}

fn cpu_zero_remark(cpus: &[usize]) -> String {
    format!(
        "dedicated threads take all {} CPUs, CPU 0 included, so the kernel's own work will interrupt one; allow one more \
         CPU or set threading to auto",
        cpus.len()
    )
}

fn too_few_remark(agents: usize, cpus: &[usize], spare: &[usize], drive: Drive) -> String {
    let for_the_kernel = usize::from(drive == Drive::Live && cpus.last() == Some(&0));
    let left = if spare.len() < cpus.len() { " with CPU 0 left to the kernel" } else { "" };
    format!(
        "{agents} agents have {} CPUs{left}, so threads are shared; a thread for each agent takes {} CPUs",
        spare.len(),
        agents + for_the_kernel
    )
}

impl fmt::Display for ThreadingPlan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "threading {}, {} threads", self.threading.name(), self.threads.len())?;
        for thread in &self.threads {
            let cpu = thread.cpu.map_or_else(|| "any".to_owned(), |cpu| cpu.to_string());
            writeln!(out, "  cpu {cpu:>3}  {:<15}  {}", thread.name, thread.agents.join(", "))?;
        }
        self.remarks.iter().try_for_each(|remark| writeln!(out, "  remark: {remark}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARDS: [&str; 4] = ["shard-0", "shard-1", "shard-2", "shard-3"];
    const PROCESSORS: [&str; 3] = ["realtime", "transactional", "batch"];

    fn planned(
        cpus: &[usize],
        shards: usize,
        processors: usize,
        threading: Threading,
        drive: Drive,
    ) -> ThreadingPlan {
        let (shards, processors) = (&SHARDS[..shards], &PROCESSORS[..processors]);
        plan_threads(&ThreadingWish { allowed_cpus: cpus, shards, processors, threading, drive })
    }

    /// A plan in one line: `cpu=agent+agent cpu=agent`.
    fn line(plan: &ThreadingPlan) -> String {
        let cpu = |thread: &PlannedThread| thread.cpu.map_or("any".to_owned(), |cpu| cpu.to_string());
        let threads =
            plan.threads.iter().map(|thread| format!("{}={}", cpu(thread), thread.agents.join("+")));
        threads.collect::<Vec<_>>().join(" ")
    }

    /// CPUs, shards, processors, wish, the plan (`S` and `P` stand for one shard and all processors), choice, remarks.
    type Case = (&'static [usize], usize, usize, Threading, &'static str, Threading, usize);

    fn check(drive: Drive, table: &[Case]) {
        for &(cpus, shards, processors, threading, expected, chosen, remarks) in table {
            let plan = planned(cpus, shards, processors, threading, drive);
            let case = format!("{cpus:?} {shards}+{processors} {} {drive:?}", threading.name());
            let expected = expected.replace('P', "realtime+transactional+batch").replace('S', "shard-0");
            assert_eq!(line(&plan), expected, "{case}");
            assert_eq!((plan.threading, plan.remarks.len()), (chosen, remarks), "{case}: {:?}", plan.remarks);
        }
    }

    #[test]
    fn live_plans() {
        use Threading::{Auto, Dedicated, Shared};
        let table: [Case; 17] = [
            (&[], 1, 3, Auto, "any=S+P", Shared, 1),
            (&[0], 1, 3, Auto, "0=S+P", Shared, 1),
            (&[0, 1], 1, 3, Auto, "1=S+P", Shared, 1),
            (&[0, 1], 1, 3, Dedicated, "1=S+P", Shared, 1),
            (&[0, 1], 1, 3, Shared, "1=S+P", Shared, 0),
            (&[0, 1], 1, 1, Auto, "1=S+realtime", Shared, 1),
            (&[0, 1], 1, 1, Dedicated, "1=S 0=realtime", Dedicated, 1),
            (&[0, 1, 2], 1, 3, Auto, "1=S 2=P", Shared, 1),
            (&[0, 1, 2, 3], 1, 3, Auto, "1=S 2=realtime+batch 3=transactional", Shared, 1),
            (&[0, 1, 2, 3], 4, 3, Auto, "1=S+shard-2 2=shard-1+shard-3 3=P", Shared, 1),
            (&[4, 5], 3, 0, Auto, "4=S+shard-2 5=shard-1", Shared, 1),
            (&[4, 5], 2, 0, Shared, "5=S+shard-1", Shared, 0),
            (&[0, 1, 2, 3], 1, 3, Dedicated, "1=S 2=realtime 3=transactional 0=batch", Dedicated, 1),
            (&[4, 2, 0, 1, 3], 1, 3, Auto, "1=S 2=realtime 3=transactional 4=batch", Dedicated, 0),
            (&[8, 9, 9, 10, 11], 1, 3, Auto, "8=S 9=realtime 10=transactional 11=batch", Dedicated, 0),
            (&[0, 1, 2, 3, 4], 1, 3, Shared, "4=S+P", Shared, 0),
            (&[0, 1], 0, 0, Auto, "", Dedicated, 0),
        ];
        check(Drive::Live, &table);
    }

    #[test]
    fn inline_plans() {
        use Threading::{Auto, Dedicated, Shared};
        let table: [Case; 11] = [
            (&[], 0, 0, Shared, "", Shared, 0),
            (&[0], 1, 3, Auto, "0=S+P", Shared, 1),
            (&[0, 1], 1, 3, Auto, "1=S 0=P", Shared, 1),
            (&[0, 1], 1, 3, Shared, "1=S 0=P", Shared, 0),
            (&[1, 0], 2, 3, Auto, "1=S+shard-1 0=P", Shared, 1),
            (&[0, 1], 1, 1, Auto, "1=S 0=realtime", Dedicated, 0),
            (&[0, 1, 2], 1, 3, Auto, "1=S 2=P", Shared, 1),
            (&[0, 1, 2, 3], 1, 3, Auto, "1=S 2=realtime 3=transactional 0=batch", Dedicated, 0),
            (&[0, 1, 2, 3], 1, 3, Dedicated, "1=S 2=realtime 3=transactional 0=batch", Dedicated, 0),
            (&[0, 1, 2, 3, 4], 1, 3, Auto, "1=S 2=realtime 3=transactional 4=batch", Dedicated, 0),
            (&[0, 1, 2, 3, 4], 1, 3, Shared, "3=S 4=P", Shared, 0),
        ];
        check(Drive::Inline, &table);
    }

    #[test]
    fn every_agent_has_one_thread_and_every_cpu_at_most_one() {
        let modes = [Threading::Auto, Threading::Dedicated, Threading::Shared];
        for cpus in 0..10usize {
            let allowed: Vec<usize> = (0..cpus).collect();
            for (shards, processors) in (0..5).flat_map(|shards| (0..4).map(move |count| (shards, count))) {
                for (threading, drive) in
                    modes.into_iter().flat_map(|one| [(one, Drive::Live), (one, Drive::Inline)])
                {
                    let plan = planned(&allowed, shards, processors, threading, drive);
                    let mut agents: Vec<_> = plan.threads.iter().flat_map(|one| one.agents.iter()).collect();
                    agents.sort();
                    let mut expected: Vec<_> =
                        SHARDS[..shards].iter().chain(&PROCESSORS[..processors]).collect();
                    expected.sort();
                    assert_eq!(agents, expected, "{plan}");
                    let mut used: Vec<_> = plan.threads.iter().filter_map(|one| one.cpu).collect();
                    used.sort_unstable();
                    used.dedup();
                    assert_eq!(used.len(), if cpus == 0 { 0 } else { plan.threads.len() }, "{plan}");
                    let names_fit =
                        plan.threads.iter().all(|one| !one.agents.is_empty() && one.name.len() <= 15);
                    assert!(names_fit && plan.threading != Threading::Auto, "{plan}");
                }
            }
        }
    }

    #[test]
    fn spinning_is_advised_only_with_a_cpu_to_spare() {
        let idle = |cpus: &[usize], threading| planned(cpus, 1, 3, threading, Drive::Live).idle;
        assert_eq!(idle(&[0, 1, 2, 3, 4], Threading::Auto), IdleStrategy::BusySpin);
        assert_eq!(idle(&[1, 2, 3, 4], Threading::Auto), IdleStrategy::Backoff);
        assert_eq!(idle(&[0, 1, 2, 3], Threading::Dedicated), IdleStrategy::Backoff);
        assert_eq!(idle(&[0, 1], Threading::Auto), IdleStrategy::Backoff);
    }

    #[test]
    fn a_plan_prints_as_a_table_with_its_remarks() {
        let text = planned(&[0, 1], 1, 3, Threading::Auto, Drive::Inline).to_string();
        let expected = "threading shared, 2 threads\n\
                        \x20 cpu   1  shard-0          shard-0\n\
                        \x20 cpu   0  processors       realtime, transactional, batch\n\
                        \x20 remark: 4 agents have 2 CPUs, so threads are shared; a thread for each agent takes 4 CPUs\n";
        assert_eq!(text, expected);
    }
}
