//! A name server: A and SRV records over UDP, changed as the case goes on.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// A name server on a free port. Names that it does not know do not exist (`NXDOMAIN`); records live for one second.
pub struct NameServer {
    addr: SocketAddr,
    zone: Arc<Mutex<Zone>>,
}

#[derive(Default)]
struct Zone {
    addresses: BTreeMap<String, Vec<Ipv4Addr>>,
    services: BTreeMap<String, Vec<(String, u16)>>,
}

impl NameServer {
    /// Starts without any name. It ends with the test's process.
    pub fn start() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (addr, zone) = (socket.local_addr().unwrap(), Arc::new(Mutex::new(Zone::default())));
        let names = Arc::clone(&zone);
        thread::spawn(move || {
            let mut query = [0; MAX_QUERY];
            while let Ok((length, client)) = socket.recv_from(&mut query) {
                if let Some(answer) = lock(&names).answer(&query[..length]) {
                    let _ = socket.send_to(&answer, client);
                }
            }
        });
        Self { addr, zone }
    }

    /// For `nameserver`.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The addresses of a name from now on; without any it does not exist.
    pub fn set(&self, name: &str, addresses: &[Ipv4Addr]) {
        let mut zone = lock(&self.zone);
        match addresses {
            [] => zone.addresses.remove(name),
            some => zone.addresses.insert(name.to_owned(), some.to_vec()),
        };
    }

    /// The targets and ports of an SRV record from now on; without any it does not exist.
    pub fn set_service(&self, name: &str, targets: &[(&str, u16)]) {
        let targets: Vec<_> = targets.iter().map(|(target, port)| ((*target).to_owned(), *port)).collect();
        let mut zone = lock(&self.zone);
        if targets.is_empty() {
            zone.services.remove(name)
        } else {
            zone.services.insert(name.to_owned(), targets)
        };
    }
}

fn lock(zone: &Mutex<Zone>) -> MutexGuard<'_, Zone> {
    zone.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Zone {
    /// RFC 1035, section 4.1: the question, and its records. `None` for what is no question.
    fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let (name, end) = name(query, HEADER_BYTES)?;
        let question = query.get(HEADER_BYTES..end + 4)?;
        let kind = question[question.len() - 3];
        let records: Vec<Vec<u8>> = match kind {
            A => self.addresses.get(&name).into_iter().flatten().map(|address| address.octets().to_vec()).collect(),
            SRV => {
                self.services.get(&name).into_iter().flatten().map(|(target, port)| service(target, *port)).collect()
            }
            _ => Vec::new(),
        };
        let exists = self.addresses.contains_key(&name) || self.services.contains_key(&name);
        let code = if exists { 0 } else { NXDOMAIN };
        let count = u8::try_from(records.len()).unwrap();
        let mut answer = [&query[..2], &[0x84, code, 0, 1, 0, count, 0, 0, 0, 0], question].concat();
        for record in records {
            let length = u16::try_from(record.len()).unwrap();
            // The name is the question's; class IN; one second.
            answer.extend([0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 1]);
            answer.extend(length.to_be_bytes());
            answer.extend(record);
        }
        Some(answer)
    }
}

/// The name at `at`, in small letters, and where it ends.
fn name(query: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).to_ascii_lowercase());
        at += length;
    }
}

/// RFC 2782: priority, weight, port, target.
fn service(target: &str, port: u16) -> Vec<u8> {
    let mut record = vec![0, 1, 0, 100];
    record.extend(port.to_be_bytes());
    for label in target.split('.') {
        record.push(u8::try_from(label.len()).unwrap());
        record.extend(label.as_bytes());
    }
    record.push(0);
    record
}

const HEADER_BYTES: usize = 12;
const MAX_QUERY: usize = 512;
const A: u8 = 1;
const SRV: u8 = 33;
const NXDOMAIN: u8 = 3;
