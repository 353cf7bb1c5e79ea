//! All the ways that a process's metrics take, put together from the settings.

use std::sync::Arc;

use super::Sources;
use super::listener::{Exposition, ListenError, Listener};
use super::reader::Reader;
use crate::config::Config;
use crate::export::envelope::Envelope;
use crate::export::{OpenError, Outlet, Outlets, Signal};
use crate::resource::Resource;
use crate::runtime::{Closer, Tasks};

/// What is published, and how it ends.
#[derive(Debug)]
pub struct Published {
    /// Pushes: for the last push. Absent where nothing is pushed.
    pub reader: Option<Reader>,
    /// Where it pushes to: to be finished after the last push.
    pub outlets: Option<Arc<Outlets>>,
    /// What scrapers get.
    pub exposition: Arc<Exposition>,
    /// Closes the listener, where there is one.
    pub listener: Option<Closer>,
}

/// Why metrics are not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// They cannot be pushed.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// They cannot be pulled.
    #[error(transparent)]
    Listen(#[from] ListenError),
}

impl Published {
    /// Pushes `sources`, and answers scrapers with them and with what is in `prometheus` alone. On the runtime; its tasks run
    /// until the process stops.
    pub fn start(
        config: &Config,
        sources: Sources,
        prometheus: Sources,
        resource: &Resource,
        tasks: &Tasks,
    ) -> Result<Self, PublishError> {
        let outlets = Outlets::open(config, Signal::Metrics, tasks)?;
        let reader = outlets.as_ref().map(|outlets| {
            let outlet = Arc::clone(outlets) as Arc<dyn Outlet>;
            let reader = Reader::new(&config.metrics, sources.clone(), Envelope::new(resource), outlet);
            tasks.spawn("metrics", reader.clone().run(tasks.stop()));
            reader
        });
        let exposition = Arc::new(Exposition::new(sources.and(prometheus), resource.clone()));
        let listener = match config.metrics.listen {
            Some(address) => Some(Listener::bind(address, true, Arc::clone(&exposition), tasks)?),
            None => None,
        };
        let closer = listener.as_ref().map(Listener::closer);
        if let Some(listener) = listener {
            tasks.spawn("scrapes", listener.run(tasks.stop()));
        }
        Ok(Self { reader, outlets, exposition, listener: closer })
    }
}
