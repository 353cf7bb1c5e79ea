//! `[service]`: the settings, typed.

/// `[service]`.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceConfig {
    /// `service.name`. `OTEL_SERVICE_NAME`, else `service.name` in `OTEL_RESOURCE_ATTRIBUTES`.
    pub name: String,
    /// Further resource attributes, in order. `OTEL_RESOURCE_ATTRIBUTES`, percent-decoded. They win over detectors.
    pub attributes: Vec<(String, String)>,
    /// What is found out about the process and the machine, without repetition.
    pub detectors: Vec<Detector>,
}

impl Default for ServiceConfig {
    fn default() -> Self {
        // OpenTelemetry resource semantic conventions, service.name: the fallback names the executable.
        Self {
            name: "unknown_service:haproxy".to_owned(),
            attributes: Vec::new(),
            detectors: Detector::BY_DEFAULT.to_vec(),
        }
    }
}

/// A part of the resource that finds itself. Each names its attributes of the resource semantic conventions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detector {
    /// `service.instance.id`: a random UUID for each process.
    Service,
    /// `host.name`, `host.id`, `host.arch`.
    Host,
    /// `os.type`, `os.description`.
    Os,
    /// `process.pid`, `process.executable.*`, `process.runtime.*`.
    Process,
    /// `process.command_args`, which may hold secrets.
    CommandArgs,
    /// `container.id`.
    Container,
    /// `k8s.*`, from variables that the downward API fills.
    K8s,
    /// `haproxy.version`, `haproxy.node`.
    Haproxy,
}

impl Detector {
    /// All but `command_args`.
    pub const BY_DEFAULT: [Self; 7] =
        [Self::Service, Self::Host, Self::Os, Self::Process, Self::Container, Self::K8s, Self::Haproxy];
}
