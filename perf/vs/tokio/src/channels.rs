use crate::bench::{measure, resident, runtime, Samples, Started};
use futures_util::stream::{select_all, StreamExt};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{channel, Receiver, Sender};
use tokio::sync::{oneshot, watch};
use tokio::task::spawn;
use tokio_stream::wrappers::ReceiverStream;

async fn ping_pong(count: i64) -> i64 {
    ping_pong_with(Handle::current(), count).await
}

/// The partner is on another runtime, perhaps.
async fn ping_pong_with(other: Handle, count: i64) -> i64 {
    let (there, mut there_rx) = channel(1);
    let (back, mut back_rx) = channel(1);
    other.spawn(async move {
        while let Some(v) = there_rx.recv().await {
            back.send(v + 1).await.unwrap();
        }
    });
    let mut sum = 0;
    for i in 0..count {
        there.send(i).await.unwrap();
        sum += back_rx.recv().await.unwrap();
    }
    sum
}

fn producer(on: Handle, capacity: usize, first: i64, count: i64) -> Receiver<i64> {
    let (tx, rx) = channel(capacity);
    on.spawn(async move {
        for i in first..first + count {
            tx.send(i).await.unwrap();
        }
    });
    rx
}

async fn items(count: i64, capacity: usize) -> i64 {
    items_from(Handle::current(), count, capacity).await
}

async fn items_from(other: Handle, count: i64, capacity: usize) -> i64 {
    let mut rx = producer(other, capacity, 0, count);
    let mut sum = 0;
    while let Some(v) = rx.recv().await {
        sum += v;
    }
    sum
}

async fn select_of_2(count: i64) -> i64 {
    let mut a = producer(Handle::current(), 128, 0, count / 2);
    let mut b = producer(Handle::current(), 128, count, count / 2);
    let mut sum = 0;
    loop {
        tokio::select! {
            Some(v) = a.recv() => sum += v,
            Some(v) = b.recv() => sum += v,
            else => return sum,
        }
    }
}

async fn select_of_16(count: i64) -> i64 {
    let arms: Vec<_> =
        (0..16).map(|i| producer(Handle::current(), 128, i * count, count / 16)).collect();
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h,
         mut i, mut j, mut k, mut l, mut m, mut n, mut o, mut p]: [Receiver<i64>; 16] =
        arms.try_into().unwrap();
    let mut sum = 0;
    loop {
        tokio::select! {
            Some(v) = a.recv() => sum += v,
            Some(v) = b.recv() => sum += v,
            Some(v) = c.recv() => sum += v,
            Some(v) = d.recv() => sum += v,
            Some(v) = e.recv() => sum += v,
            Some(v) = f.recv() => sum += v,
            Some(v) = g.recv() => sum += v,
            Some(v) = h.recv() => sum += v,
            Some(v) = i.recv() => sum += v,
            Some(v) = j.recv() => sum += v,
            Some(v) = k.recv() => sum += v,
            Some(v) = l.recv() => sum += v,
            Some(v) = m.recv() => sum += v,
            Some(v) = n.recv() => sum += v,
            Some(v) = o.recv() => sum += v,
            Some(v) = p.recv() => sum += v,
            else => return sum,
        }
    }
}

async fn select_otherwise(count: i64) -> i64 {
    let (_a, mut a) = channel::<i64>(1);
    let (_b, mut b) = channel::<i64>(1);
    let mut idle = 0;
    for _ in 0..count {
        tokio::select! {
            biased;
            _ = a.recv() => {}
            _ = b.recv() => {}
            _ = std::future::ready(()) => idle += 1,
        }
    }
    idle
}

pub fn channels(count: i64, rounds: i64) {
    measure("ping-pong, round trip", 1, ping_pong, count, rounds);
    measure("unbuffered, item", 1, |count| items(count, 1), count, rounds);
    measure("buffered 128, item", 1, |count| items(count, 128), count, rounds);
    measure("select of 2, item", 1, select_of_2, count, rounds);
    measure("select of 16, item", 1, select_of_16, count, rounds);
    measure("select, otherwise", 1, select_otherwise, count, rounds);
}

/// A select for more arms than can be written down: the channels stay in the set from one to the
/// next, and only those that are ready are asked again.
pub fn select_many(arms: i64, rounds: i64) {
    const SELECTS: i64 = 20;
    let mut samples = Samples::new("select of n, an arm", "ns", arms);
    let mut sum = 0;
    runtime(1).block_on(async {
        let (to, from): (Vec<_>, Vec<_>) = (0..arms).map(|_| channel(1)).unzip();
        let to = Arc::new(to);
        let mut from = select_all(from.into_iter().map(ReceiverStream::new));
        for _ in 0..rounds {
            let to = to.clone();
            let start = Instant::now();
            spawn(async move {
                for i in 0..SELECTS {
                    to[(i * 7919 % arms) as usize].send(i).await.unwrap();
                }
            });
            for _ in 0..SELECTS {
                sum += from.next().await.unwrap();
            }
            samples.add(start.elapsed().as_nanos() as i64 / SELECTS);
        }
    });
    samples.print(sum);
}

/// `pairs` producers and as many consumers. Tokio's tutorial advises async-channel for that.
async fn stream(count: i64, pairs: i64) -> i64 {
    let (tx, rx) = async_channel::bounded(128);
    let mut consumers = Vec::new();
    for _ in 0..pairs {
        let (tx, rx) = (tx.clone(), rx.clone());
        spawn(async move {
            for i in 0..count / pairs {
                tx.send(i).await.unwrap();
            }
        });
        consumers.push(spawn(async move {
            let mut sum = 0;
            while let Ok(v) = rx.recv().await {
                sum += v;
            }
            sum
        }));
    }
    drop(tx);
    let mut total = 0;
    for consumer in consumers {
        total += consumer.await.unwrap();
    }
    total
}

pub fn two_cores(count: i64, rounds: i64) {
    measure("2 cores: ping-pong", 2, ping_pong, count / 20, rounds);
    measure("2 cores: buffered 128, item", 2, |count| items(count, 128), count, rounds);
    measure("2 cores: 2 to 2, item", 2, |count| stream(count, 2), count, rounds);

    // A runtime of one thread on each core, so that partners are never on the same one.
    let other = runtime(1);
    let handle = other.handle().clone();
    let (end, ended) = oneshot::channel::<()>();
    let thread = std::thread::spawn(move || other.block_on(ended));
    let ping_pong = |count| ping_pong_with(handle.clone(), count);
    measure("apart: ping-pong", 1, ping_pong, count / 20, rounds);
    let items = |count| items_from(handle.clone(), count, 128);
    measure("apart: buffered 128, item", 1, items, count, rounds);
    drop(end);
    let _ = thread.join();
}

/// What many tasks can wait on until it closes is a `watch`.
pub fn parked(count: i64, rounds: i64) {
    let mut memory = Samples::new("parked on a channel, each", "bytes", count);
    let mut waking = Samples::new("closed, wake each", "ns", count);
    let mut woken = 0;
    runtime(1).block_on(async {
        let before = resident();
        for round in 0..rounds {
            let (gate, receiver) = watch::channel(0);
            let started = Started::default();
            let waits = |mut receiver: watch::Receiver<i64>, started: Started| async move {
                started.add();
                receiver.changed().await.is_err() as i64
            };
            let handles: Vec<_> =
                (0..count).map(|_| spawn(waits(receiver.clone(), started.clone()))).collect();
            started.reach(count).await;
            if round == 0 {
                memory.add(resident() - before);
            }
            let start = Instant::now();
            drop(gate);
            for handle in handles {
                woken += handle.await.unwrap();
            }
            waking.add(start.elapsed().as_nanos() as i64);
        }
    });
    memory.print(count);
    waking.print(woken);
}

async fn filter(mut from: Receiver<i64>, to: Sender<i64>, prime: i64) {
    while let Some(i) = from.recv().await {
        if i % prime != 0 && to.send(i).await.is_err() {
            return;
        }
    }
}

async fn sieve(primes: i64) -> i64 {
    let (out, mut numbers) = channel(1);
    spawn(async move {
        let mut i = 2;
        while out.send(i).await.is_ok() {
            i += 1;
        }
    });
    let mut prime = 0;
    for _ in 0..primes {
        prime = numbers.recv().await.unwrap();
        let (to, rest) = channel(1);
        spawn(filter(numbers, to, prime));
        numbers = rest;
    }
    prime
}

pub fn sieves(count: i64, rounds: i64) {
    measure("sieve, a prime", 1, sieve, count, rounds);
}

fn node(up: Sender<i64>, number: i64, size: i64) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        if size == 1 {
            up.send(number).await.unwrap();
            return;
        }
        let (to, mut children) = channel(10);
        for i in 0..10 {
            spawn(node(to.clone(), number + i * (size / 10), size / 10));
        }
        let mut sum = 0;
        for _ in 0..10 {
            sum += children.recv().await.unwrap();
        }
        up.send(sum).await.unwrap();
    })
}

async fn skynet(leaves: i64) -> i64 {
    let (to, mut result) = channel(1);
    spawn(node(to, 0, leaves));
    result.recv().await.unwrap()
}

pub fn skynets(count: i64, rounds: i64) {
    measure("skynet, a leaf", 1, skynet, count, rounds);
    measure("skynet on 2 cores, a leaf", 2, skynet, count, rounds);
}
