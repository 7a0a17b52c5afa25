//! Repeat, take the median, print one line.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::Arc;
use std::time::Instant;
use tokio::runtime::{Builder, Runtime};

pub fn runtime(cores: usize) -> Runtime {
    let mut builder = match cores {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    if cores > 1 {
        builder.worker_threads(cores);
    }
    builder.enable_all().build().unwrap()
}

/// CPU time of the main thread, in ns: the current-thread runtime has no other.
pub fn cpu() -> i64 {
    let stat = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    stat.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
}

/// Bytes of memory that this process has resident.
pub fn resident() -> i64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0) * 4096
}

/// Counts tasks that have started, since one that yields in `block_on` may run before others.
#[derive(Clone, Default)]
pub struct Started(Arc<AtomicI64>);

impl Started {
    /// By a task, right before it waits.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub async fn reach(&self, count: i64) {
        while self.0.load(Ordering::Relaxed) < count {
            tokio::task::yield_now().await;
        }
    }
}

/// The rounds of one question.
pub struct Samples {
    name: &'static str,
    unit: &'static str,
    count: i64,
    each: Vec<f64>,
}

impl Samples {
    pub fn new(name: &'static str, unit: &'static str, count: i64) -> Self {
        Samples { name, unit, count, each: Vec::new() }
    }

    pub fn add(&mut self, total: i64) {
        self.each.push(total as f64 / self.count as f64);
    }

    pub fn print(mut self, checksum: i64) {
        static TITLED: AtomicBool = AtomicBool::new(false);
        if !TITLED.swap(true, Ordering::Relaxed) {
            println!("workload\tn\tunit\tmedian\tmin\tmax\tfirst\tchecksum");
        }
        let first = self.each[0];
        self.each.sort_by(f64::total_cmp);
        println!(
            "{:28}\t{:9}\t{}\t{:9.2}\t{:9.2}\t{:9.2}\t{:9.2}\t{}",
            self.name,
            self.count,
            self.unit,
            self.each[self.each.len() / 2],
            self.each[0],
            self.each[self.each.len() - 1],
            first,
            checksum
        );
    }
}

/// Times `work(count)`, which gives its share of the checksum, `rounds` times on as many cores.
pub fn measure<F, W>(name: &'static str, cores: usize, work: W, count: i64, rounds: i64)
where
    F: Future<Output = i64> + Send + 'static,
    W: Fn(i64) -> F,
{
    let mut samples = Samples::new(name, "ns", count);
    let mut checksum = 0;
    let runtime = runtime(cores);
    for _ in 0..rounds {
        let future = work(count);
        // In a task of its own, as the work is: the future of block_on is no worker's.
        let (sum, ns) = runtime.block_on(async {
            tokio::spawn(async {
                let start = Instant::now();
                let sum = future.await;
                (sum, start.elapsed().as_nanos() as i64)
            })
            .await
            .unwrap()
        });
        checksum += sum;
        samples.add(ns);
    }
    samples.print(checksum);
}
