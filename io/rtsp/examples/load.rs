#![allow(missing_docs, clippy::all, clippy::unwrap_used)]
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use bytes::Bytes;
use keepwatch_model::*;
use keepwatch_rtsp::client::*;
use keepwatch_rtsp::server::*;
use keepwatch_media::depacketize::Depacketizer;
use keepwatch_media::rtp::RtpPacket;
struct Cam { n: u32, iv: tokio::time::Interval, au: Bytes, key: Bytes, cfg: Vec<TrackConfig> }
impl Source for Cam {
    fn tracks(&self) -> Vec<TrackConfig> { self.cfg.clone() }
    fn next(&mut self) -> NextMedia<'_> { Box::pin(async move {
        self.iv.tick().await; let n = self.n; self.n += 1; let key = n % 25 == 0;
        Some(Media { track: 0, timestamp: n * 3600, capture: WallTime::from_ticks(n as i64 * 3600), key, data: if key { self.key.clone() } else { self.au.clone() }, prefix: Bytes::new() })
    }) }
}
struct Svc { mbit: f64 }
impl Service for Svc {
    fn password(&self, _: &str) -> Option<String> { None }
    fn needs_login(&self) -> bool { false }
    fn open(&self, _: &str) -> Option<Box<dyn Source>> {
        let mean = (self.mbit * 1e6 / 8.0 / 25.0) as usize;
        let mk = |t: u8, l: usize| { let mut v = (l as u32).to_be_bytes().to_vec(); v.push(t); v.resize(l + 4, 0x55); Bytes::from(v) };
        let key = mk(0x65, mean * 5); let au = mk(0x41, mean * 20 / 24);
        let sps: &[u8] = &[0x67, 0x42, 0xc0, 0x1e, 0xd9, 0x03, 0xc5, 0x68, 0x40, 0x00, 0x00, 0x03, 0x00, 0x40, 0x00, 0x00, 0x0c, 0x03, 0xc5, 0x8b, 0x92];
        let pps: &[u8] = &[0x68, 0xcb, 0x8c, 0xb2];
        let mut c = vec![1, 0x42, 0xc0, 0x1e, 0xff, 0xe1, 0, sps.len() as u8]; c.extend(sps); c.extend([1, 0, 4]); c.extend(pps);
        let cfg = vec![TrackConfig { kind: CodecKind::H264, clock_rate: 90000, channels: 0, config: c }];
        Some(Box::new(Cam { n: 0, iv: tokio::time::interval(Duration::from_millis(40)), au, key, cfg }))
    }
}
struct H { d: Option<Depacketizer>, lat: Vec<u64> }
static BYTES: AtomicU64 = AtomicU64::new(0); static LOST: AtomicU64 = AtomicU64::new(0); static SAMPLES: AtomicU64 = AtomicU64::new(0); static MAXTICK: AtomicU64 = AtomicU64::new(0);
impl PacketHandler for H {
    fn rtp(&mut self, _: MonoTime, _: usize, p: &[u8]) {
        BYTES.fetch_add(p.len() as u64, Relaxed);
        let Some(d) = &mut self.d else { return };
        let p = RtpPacket::parse(p).unwrap();
        d.push(&p, &mut |s| { SAMPLES.fetch_add(1, Relaxed); LOST.fetch_add(s.lost_packets as u64, Relaxed); }).unwrap();
    }
    fn rtcp(&mut self, _: MonoTime, _: usize, _: &[u8]) {}
    fn idle(&mut self, _: MonoTime) -> Flow { Flow::Continue }
}
fn cpu() -> (f64, f64) { let s = std::fs::read_to_string("/proc/self/stat").unwrap(); let f: Vec<&str> = s.rsplit(')').next().unwrap().split_whitespace().collect(); (f[11].parse::<f64>().unwrap() / 100.0, f[12].parse::<f64>().unwrap() / 100.0) }
fn rss() -> u64 { std::fs::read_to_string("/proc/self/status").unwrap().lines().find(|l| l.starts_with("VmRSS")).unwrap().split_whitespace().nth(1).unwrap().parse().unwrap() }
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let a: Vec<String> = std::env::args().collect();
    if a[1] == "server" {
        let s = Server::bind("[::1]:18554".parse().unwrap(), Arc::new(Svc { mbit: a[2].parse().unwrap() })).await.unwrap();
        tokio::spawn(s.run());
        loop { tokio::time::sleep(Duration::from_secs(5)).await; let (u, s) = cpu(); eprintln!("server user {u} sys {s} rss {} kB", rss()); }
    }
    let n: usize = a[2].parse().unwrap(); let ms: u64 = a[3].parse().unwrap(); let secs: u64 = a[4].parse().unwrap(); let dep = a[5] == "dep";
    for _ in 0..n {
        let c = ClientConfig::new("rtsp://[::1]:18554/x".parse().unwrap()); c.read_interval.set(Duration::from_millis(ms));
        let d = connect(&c).await.unwrap(); let cfg = d.presentation().tracks[0].config.clone().unwrap();
        let s = d.play(&[0]).await.unwrap();
        tokio::spawn(async move { let t = std::time::Instant::now(); let mut h = H { d: dep.then(|| Depacketizer::new(&cfg).unwrap()), lat: vec![] }; let e = s.run(&mut h, || MonoTime::from_nanos(t.elapsed().as_nanos() as u64)).await; eprintln!("{e:?}"); });
        tokio::time::sleep(Duration::from_millis(7)).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (u0, s0) = cpu(); let b0 = BYTES.load(Relaxed);
    tokio::time::sleep(Duration::from_secs(secs)).await;
    let (u1, s1) = cpu(); let b = (BYTES.load(Relaxed) - b0) as f64;
    println!("n {n} interval {ms} ms: {:.1} Mbit/s each, user {:.2} sys {:.2} => {:.3} CPU-s/GB, lost {} samples {} rss {} kB", b * 8.0 / 1e6 / secs as f64 / n as f64, u1 - u0, s1 - s0, (u1 - u0 + s1 - s0) / b * 1e9, LOST.load(Relaxed), SAMPLES.load(Relaxed), rss());
}
