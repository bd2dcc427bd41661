//! How busy the machine is. Measured when asked: there is no thread and nothing is kept between calls.

use extman_plugin_api::prelude::*;
use serde::Serialize;
use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

struct HostStats;

impl Plugin for HostStats {
    fn create(_: &Create<'_>) -> Result<Self> {
        Ok(HostStats)
    }

    fn check(&self, _: &mut Probe<'_>) -> Result<Health> {
        Ok(Health::Up)
    }
}

struct SystemLoad;

impl Capability for SystemLoad {
    type Plugin = HostStats;
    const NAME: &'static str = "system.load";

    fn invoke(_: &HostStats, call: &mut Call<'_>) -> Result<()> {
        call.reply_json(&measure())
    }
}

export_plugin!(HostStats, capabilities: [SystemLoad]);

#[derive(Serialize)]
struct Load {
    #[serde(skip_serializing_if = "Option::is_none")]
    load_average: Option<[f64; 3]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_count: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_total_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_available_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uptime_seconds: Option<u64>,
}

fn measure() -> Load {
    let wanted = RefreshKind::nothing()
        .with_memory(MemoryRefreshKind::nothing().with_ram())
        .with_cpu(CpuRefreshKind::nothing());
    let system = System::new_with_specifics(wanted).ok();
    // sysinfo says 0 for a memory that it could not read; no machine has none.
    let memory = system.as_ref().filter(|system| system.total_memory() > 0);
    Load {
        load_average: load_average(),
        cpu_count: system
            .as_ref()
            .map(|system| system.cpus().len())
            .filter(|count| *count > 0),
        memory_total_bytes: memory.map(System::total_memory),
        memory_available_bytes: memory.map(System::available_memory),
        uptime_seconds: System::uptime().ok(),
    }
}

// Only where the kernel keeps them: on Windows sysinfo starts a timer of its own that would outlive the plugin.
fn load_average() -> Option<[f64; 3]> {
    if cfg!(not(unix)) {
        return None;
    }
    System::load_average()
        .ok()
        .map(|load| [load.one, load.five, load.fifteen])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_not_be_measured_is_absent_and_not_zero() {
        let nothing = Load {
            load_average: None,
            cpu_count: None,
            memory_total_bytes: None,
            memory_available_bytes: None,
            uptime_seconds: None,
        };
        assert_eq!(serde_json::to_string(&nothing).unwrap(), "{}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn memory_agrees_with_the_kernel() {
        let kernel = std::fs::read_to_string("/proc/meminfo").unwrap();
        let total_kib: u64 = kernel
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:"))
            .and_then(|rest| rest.trim().strip_suffix(" kB"))
            .and_then(|number| number.trim().parse().ok())
            .unwrap();
        let load = measure();
        assert_eq!(load.memory_total_bytes, Some(total_kib * 1024));
        assert!(load.memory_available_bytes.unwrap() <= total_kib * 1024);
        assert!(load.cpu_count.unwrap() >= 1);
        assert!(load.uptime_seconds.is_some());
        assert!(
            load.load_average
                .unwrap()
                .iter()
                .all(|load| load.is_finite() && *load >= 0.0)
        );
    }
}
