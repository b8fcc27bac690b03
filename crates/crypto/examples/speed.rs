//! Measures what this crate costs: `cargo run --release -p crypto --example speed`.
//! Each line: median and 90th percentile of some runs, and for bulk work the rate.
#![allow(clippy::print_stdout, reason = "it is a measuring program, its output is the measurement")]

use base::OsChance;
use crypto::*;
use std::time::{Duration, Instant};

fn measure(name: &str, runs: usize, mut act: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..runs)
        .map(|_| {
            let start = Instant::now();
            act();
            start.elapsed()
        })
        .collect();
    times.sort();
    let median = times[runs / 2];
    println!("{name:<40} median {median:>12?}   p90 {:>12?}   max {:>12?}   ({runs} runs)", times[runs * 9 / 10], times[runs - 1]);
    median
}

fn main() -> base::Result<()> {
    let chance = OsChance;
    measure("generate RSA-3072", 20, || drop(SigningKey::generate_rs256()));
    measure("generate RSA-3072, the first of two", 20, || drop(SigningKey::generate_rs256_racing(2)));
    measure("generate P-256", 20, || drop(SigningKey::generate_es256()));
    let now = base::Timestamp(1_795_508_032_000);
    measure("generate CA (P-384) and issue a server", 20, || {
        let ca = Ca::generate("speed", now).expect("a CA");
        ca.issue_server(&["localhost".into()], &[], now, now.plus_seconds(86400)).expect("a certificate");
    });
    let password = SecretBytes::from("correct horse battery staple".to_owned());
    measure("Argon2id password", 20, || drop(password::hash_password(&chance, &password)));

    for key in [SigningKey::generate_rs256()?, SigningKey::generate_es256()?] {
        let name = key.algorithm().name();
        let token = jwt::sign(&key, &serde_json::json!({"sub": "x", "aud": "https://management.azure.com/"}))?;
        measure(&format!("sign a token {name}"), 200, || drop(jwt::sign(&key, &serde_json::json!({"sub": "x"}))));
        measure(&format!("parse and verify a token {name}"), 500, || drop(jwt::parse(&token).and_then(|t| t.verify(key.public()))));
        let der = key.to_pkcs8()?;
        measure(&format!("read a stored key {name}"), 50, || drop(SigningKey::from_pkcs8(&der)));
    }

    let seal_key = SealKey::new(&Secret::random(&chance));
    for bytes in [100, 4096] {
        let plain = vec![7; bytes];
        let sealed = seal_record(&seal_key, &chance, b"address", &plain);
        measure(&format!("seal a record of {bytes} bytes"), 20_000, || drop(seal_record(&seal_key, &chance, b"address", &plain)));
        measure(&format!("open a record of {bytes} bytes"), 20_000, || drop(open_record(&seal_key, b"address", &sealed)));
    }
    let plain = vec![7; 4 << 20];
    let took = measure("seal a chunk of 4 MiB", 50, || drop(seal_chunk(&seal_key, [1; 16], b"", &plain)));
    println!("{:>60.0} MB/s", plain.len() as f64 / took.as_secs_f64() / 1e6);
    let mac = HmacKey::new(&[1; 64]);
    measure("HMAC of 300 bytes, prepared", 20_000, || {
        std::hint::black_box(mac.sign(&plain[..300]));
    });
    type Digest = fn(&[u8]);
    let digests: [(&str, Digest); 3] = [
        ("SHA-256", |bytes| _ = std::hint::black_box(sha256(bytes))),
        ("MD5", |bytes| _ = std::hint::black_box(md5(bytes))),
        ("CRC-64", |bytes| _ = std::hint::black_box(Crc64Nvme::of(bytes))),
    ];
    for (name, act) in digests {
        let took = measure(&format!("{name} of 4 MiB"), 50, || act(&plain));
        println!("{:>60.0} MB/s", plain.len() as f64 / took.as_secs_f64() / 1e6);
    }
    Ok(())
}
