//! The processes of a server: signals to all of them, and what they have used.

use rustix::process::{Pid, Signal, kill_process};

/// A process, as `/proc/N/stat` says.
struct Stat {
    id: i32,
    parent: i32,
    /// Of itself, in user and kernel.
    ticks: f64,
    /// Of those that it has waited for.
    ticks_of_children: f64,
}

fn all() -> Vec<Stat> {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let stats =
        processes.filter_map(|process| std::fs::read_to_string(process.path().join("stat")).ok());
    stats.filter_map(|stat| read(&stat)).collect()
}

fn read(stat: &str) -> Option<Stat> {
    let (head, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |place: usize| fields.get(place)?.parse::<f64>().ok();
    Some(Stat {
        id: head.split(' ').next()?.parse().ok()?,
        parent: fields.get(1)?.parse().ok()?,
        ticks: ticks(11)? + ticks(12)?,
        ticks_of_children: ticks(13)? + ticks(14)?,
    })
}

/// Sends a signal to a process and to all that it has started, with nothing begun in between.
pub(crate) fn signal(process: i32, what: Signal) {
    let to = |id: i32, what: Signal| {
        // It may have ended already.
        let _ = Pid::from_raw(id).map(|id| kill_process(id, what));
    };
    to(process, Signal::STOP);
    let children = all().into_iter().filter(|one| one.parent == process);
    children.for_each(|child| to(child.id, what));
    to(process, what);
}

/// Processor time that a process and those that it has started have used, in seconds.
pub(crate) fn processor(process: i32) -> f64 {
    let used = all().into_iter().map(|one| {
        if one.id == process {
            one.ticks + one.ticks_of_children
        } else if one.parent == process {
            one.ticks
        } else {
            0.0
        }
    });
    used.sum::<f64>() / 100.0
}
