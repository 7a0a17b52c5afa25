use crate::bench::{cpu, resident, runtime, Samples, Started};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn;
use tokio::time::{sleep, sleep_until, Instant};

/// `count` tasks sleep 1 to 100 ms each; CPU per timer.
pub fn timers(count: i64, rounds: i64) {
    let mut samples = Samples::new("timer 1-100 ms, CPU", "ns", count);
    let mut ended = 0;
    runtime(1).block_on(async {
        for _ in 0..rounds {
            let start = cpu();
            let mut random = 1u32;
            let mut handles = Vec::new();
            for _ in 0..count {
                random = random.wrapping_mul(1664525).wrapping_add(1013904223);
                let ms = 1 + (random >> 8) % 100;
                handles.push(spawn(async move {
                    sleep(Duration::from_millis(ms.into())).await;
                    1
                }));
            }
            for handle in handles {
                ended += handle.await.unwrap();
            }
            samples.add(cpu() - start);
        }
    });
    samples.print(ended);
}

pub fn sleepers(count: i64) {
    let mut memory = Samples::new("asleep, each", "bytes", count);
    let mut starting = Samples::new("fall asleep, CPU", "ns", count);
    let mut waking = Samples::new("wake and end, CPU", "ns", count);
    let mut ended = 0;
    runtime(1).block_on(async {
        let (before, start) = (resident(), cpu());
        let until = Instant::now()
            + Duration::from_millis(50)
            + Duration::from_micros(8 * count as u64);
        let started = Started::default();
        let sleeps = |started: Started| async move {
            started.add();
            sleep_until(until).await;
            1
        };
        let handles: Vec<_> = (0..count).map(|_| spawn(sleeps(started.clone()))).collect();
        started.reach(count).await;
        memory.add(resident() - before);
        let all = cpu();
        starting.add(all - start);
        for handle in handles {
            ended += handle.await.unwrap();
        }
        waking.add(cpu() - all);
    });
    memory.print(count);
    starting.print(count);
    waking.print(ended);
}

async fn serve(mut stream: TcpStream) {
    let mut buffer = vec![0; 16384];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(n) => {
                if stream.write_all(&buffer[..n]).await.is_err() {
                    return;
                }
            }
        }
    }
}

pub fn echo(address: &str) {
    runtime(1).block_on(async {
        let listener = TcpListener::bind(address).await.unwrap();
        println!("listening {}", listener.local_addr().unwrap());
        loop {
            if let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                spawn(serve(stream));
            }
        }
    });
}
