//! What the kernel says: processor time, memory, and what machine this is. Linux only, as the
//! figures come from `/proc`.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::failure::{Outcome, failed};

/// The unit of `/proc/PID/stat`, fixed for user space (proc(5), `sysconf(_SC_CLK_TCK)`).
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor seconds that a process has used, in all its threads.
pub fn cpu_seconds(pid: u32) -> Outcome<f64> {
    cpu_of(&fs::read_to_string(format!("/proc/{pid}/stat"))?)
}

/// Processor seconds of this process.
pub fn own_cpu_seconds() -> Outcome<f64> {
    cpu_of(&fs::read_to_string("/proc/self/stat")?)
}

fn cpu_of(stat: &str) -> Outcome<f64> {
    // Fields 14 and 15, counted after the name, which may hold spaces.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut fields = fields.split_ascii_whitespace().skip(11);
    match (fields.next(), fields.next()) {
        (Some(user), Some(system)) => {
            Ok((user.parse::<f64>()? + system.parse::<f64>()?) / TICKS_PER_SECOND)
        }
        _ => failed("the kernel does not say how much processor time a process has used"),
    }
}

/// Bytes of memory that a process holds.
pub fn resident_bytes(pid: u32) -> Outcome<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_ascii_whitespace().next());
    match kilobytes {
        Some(kilobytes) => Ok(kilobytes.parse::<f64>()? * 1024.0),
        None => failed("the kernel does not say how much memory a process holds"),
    }
}

/// The machine, for whoever reads the results.
pub fn describe(root: &Path) -> Value {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown", |rest| rest.trim_start_matches([' ', '\t', ':']));
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes: f64 = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.split_ascii_whitespace().next()?.parse().ok())
        .unwrap_or(0.0);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    json!({
        "processor": model,
        "processors": processors,
        "memory_gib": (kilobytes / 1024.0 / 1024.0).round(),
        "kernel": kernel.trim(),
        "workerd": version_of(root, "workerd"),
        "wrangler": version_of(root, "wrangler"),
        "load_before": load.split_ascii_whitespace().next().unwrap_or(""),
    })
}

fn version_of(root: &Path, package: &str) -> String {
    let file = root.join("node_modules").join(package).join("package.json");
    fs::read_to_string(file)
        .ok()
        .and_then(|text| serde_json::from_str::<Value>(&text).ok())
        .and_then(|package| package.get("version")?.as_str().map(str::to_owned))
        .unwrap_or_else(|| "unknown".to_owned())
}

/// Today, in UTC: year, month, day.
pub fn today() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seconds = since.map_or(0, |since| since.as_secs());
    chrono::DateTime::from_timestamp(i64::try_from(seconds).unwrap_or(0), 0)
        .map_or_else(String::new, |now| now.format("%Y-%m-%d").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_behind_a_name_with_spaces() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 5 0 0 0 150 50 0 0 20 0 1 0 100 1 1";
        assert_eq!(cpu_of(stat).unwrap(), 2.0);
        assert!(cpu_of("nothing").is_err());
    }

    #[test]
    fn this_process_has_used_some_memory() {
        assert!(resident_bytes(std::process::id()).unwrap() > 0.0);
        assert!(own_cpu_seconds().unwrap() >= 0.0);
    }
}
