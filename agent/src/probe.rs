//! `--probe`: whether an agent with these settings answers, for a container that has no other program to ask with.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use haproxy_vitals::config::Config;

/// Asks for the metrics, which the agent's own runtime answers. Where they are turned off, that it listens must do.
pub(crate) fn ask(config: &Config) -> Result<(), String> {
    match (config.metrics.listen, config.agent.listen) {
        (Some(metrics), _) => scrape(near(metrics)),
        (None, Some(agent)) => connect(near(agent)).map(drop),
        (None, None) => Err("there is nothing to ask: `metrics.listen` and `agent.listen` are not set".to_owned()),
    }
}

fn scrape(address: SocketAddr) -> Result<(), String> {
    let failed = |error| format!("no answer from {address}: {error}");
    let mut stream = connect(address)?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").map_err(failed)?;
    let mut status = [0; OK.len()];
    stream.read_exact(&mut status).map_err(failed)?;
    if status == *OK { Ok(()) } else { Err(format!("{address} answers {:?}", String::from_utf8_lossy(&status))) }
}

fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    let failed = |error| format!("cannot connect to {address}: {error}");
    let stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(failed)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(failed)?;
    Ok(stream)
}

/// Who listens on every address is asked on the loopback.
fn near(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

const OK: &[u8; 12] = b"HTTP/1.1 200";
/// Less than a container's health check waits.
const PATIENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn every_address_is_asked_on_the_loopback() {
        for (given, asked) in [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("10.0.0.1:1", "10.0.0.1:1")] {
            assert_eq!(near(given.parse().unwrap()), asked.parse().unwrap());
        }
    }

    #[test]
    fn only_a_200_is_an_answer() {
        for (answer, fine) in [("HTTP/1.1 200 OK\r\n", true), ("HTTP/1.1 503 No\r\n", false), ("HTTP", false)] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let server = thread::spawn(move || {
                let mut stream = listener.accept().unwrap().0;
                let mut request = [0; 16];
                let read = stream.read(&mut request).unwrap();
                assert!(request[..read].starts_with(b"GET /metrics"));
                stream.write_all(answer.as_bytes()).unwrap();
            });
            let config = Config {
                metrics: haproxy_vitals::config::MetricsConfig { listen: Some(address), ..Default::default() },
                ..Default::default()
            };
            assert_eq!(ask(&config).is_ok(), fine, "{answer:?}");
            server.join().unwrap();
        }
    }

    #[test]
    fn nobody_who_listens_is_said() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(scrape(address).unwrap_err().contains("cannot connect"));
    }
}
