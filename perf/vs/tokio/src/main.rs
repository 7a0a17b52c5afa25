//! The workloads of perf/*.cpp on Tokio: the same names, sizes, checksums and columns.
//!
//!     peer GROUP [COUNT] [ROUNDS]
//!     peer echo HOST:PORT
//!     peer http HOST:PORT
//!
//! One core: the current-thread runtime. Two: the multi-thread one with two workers. Tokio has no
//! unbuffered channel, so where Go's would be it has one of capacity 1.

mod bench;
mod channels;
mod http;
mod tasks;
mod time;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |i: usize, otherwise| {
        arguments.get(i).and_then(|a| a.parse().ok()).unwrap_or(otherwise)
    };
    let (count, rounds) = (number(2, 100_000), number(3, 3));
    match arguments.get(1).map(String::as_str) {
        Some("chan") => channels::channels(count, rounds),
        Some("context") => tasks::contexts(count, rounds),
        Some("echo") => time::echo(&arguments[2]),
        Some("http") => http::hello(&arguments[2]),
        Some("mutex") => tasks::mutexes(count, rounds),
        Some("parked") => channels::parked(count, rounds),
        Some("select_many") => channels::select_many(count, rounds),
        Some("sieve") => channels::sieves(count, rounds),
        Some("skynet") => channels::skynets(count, rounds),
        Some("sleepers") => time::sleepers(count),
        Some("spawn") => tasks::spawns(count, rounds),
        Some("switch") => tasks::switches(count, rounds),
        Some("timers") => time::timers(count, rounds),
        Some("two_cores") => channels::two_cores(count, rounds),
        _ => {}
    }
}
