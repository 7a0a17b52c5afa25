use crate::bench::{measure, runtime, Samples, Started};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Mutex;
use tokio::task::{spawn, yield_now};
use tokio_util::sync::CancellationToken;

async fn joined(count: i64) -> i64 {
    let mut ended = 0;
    for _ in 0..count {
        ended += spawn(async { 1 }).await.unwrap();
    }
    ended
}

async fn grouped(count: i64) -> i64 {
    let handles: Vec<_> = (0..count).map(|_| spawn(async { 1 })).collect();
    let mut ended = 0;
    for handle in handles {
        ended += handle.await.unwrap();
    }
    ended
}

pub fn spawns(count: i64, rounds: i64) {
    measure("spawn+join, one by one", 1, joined, count, rounds);
    measure("spawn+join, all at once", 1, grouped, count, rounds);
}

async fn yields(count: i64) -> i64 {
    for _ in 0..count {
        yield_now().await;
    }
    count
}

/// `WIDTH` tasks that yield in turn.
async fn yields_among(count: i64) -> i64 {
    const WIDTH: i64 = 100;
    let handles: Vec<_> = (0..WIDTH).map(|_| spawn(yields(count / WIDTH))).collect();
    let mut sum = 0;
    for handle in handles {
        sum += handle.await.unwrap();
    }
    sum
}

pub fn switches(count: i64, rounds: i64) {
    measure("yield, alone", 1, yields, count, rounds);
    measure("yield, among 100", 1, yields_among, count, rounds);
}

async fn uncontended(count: i64) -> i64 {
    let sum = Mutex::new(0);
    for i in 0..count {
        *sum.lock().await += i;
    }
    sum.into_inner()
}

async fn contended(count: i64, width: i64, yields: bool) -> i64 {
    let sum = Arc::new(Mutex::new(0));
    let adds = |sum: Arc<Mutex<i64>>| async move {
        for _ in 0..count / width {
            let mut sum = sum.lock().await;
            if yields {
                yield_now().await;
            }
            *sum += 1;
        }
    };
    let handles: Vec<_> = (0..width).map(|_| spawn(adds(sum.clone()))).collect();
    for handle in handles {
        handle.await.unwrap();
    }
    let total = *sum.lock().await;
    total
}

pub fn mutexes(count: i64, rounds: i64) {
    let hundred = |count| contended(count, 100, true);
    measure("lock + unlock", 1, uncontended, count, rounds);
    measure("100 goroutines, yield inside", 1, hundred, count, rounds);
    let two = |count| contended(count, 2, false);
    measure("2 cores, 1 goroutine each", 2, two, count / 10, rounds);
    measure("2 cores, 100, yield inside", 2, hundred, count / 10, rounds);
}

async fn derive(count: i64) -> i64 {
    let parent = CancellationToken::new();
    let mut ended = 0;
    for _ in 0..count {
        let child = parent.child_token();
        child.cancel();
        ended += child.is_cancelled() as i64;
    }
    ended
}

pub fn contexts(count: i64, rounds: i64) {
    measure("with_cancel and its end", 1, derive, count, rounds);
    let mut samples = Samples::new("cancel a waiter", "ns", count);
    let mut ended = 0;
    runtime(1).block_on(async {
        for _ in 0..rounds {
            let token = CancellationToken::new();
            let started = Started::default();
            let waits = |token: CancellationToken, started: Started| async move {
                started.add();
                token.cancelled().await;
                1
            };
            let handles: Vec<_> =
                (0..count).map(|_| spawn(waits(token.clone(), started.clone()))).collect();
            started.reach(count).await;
            let start = Instant::now();
            token.cancel();
            for handle in handles {
                ended += handle.await.unwrap();
            }
            samples.add(start.elapsed().as_nanos() as i64);
        }
    });
    samples.print(ended);
}
