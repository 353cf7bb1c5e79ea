//! `[service]`: the settings, typed.

/// `[service]`.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceConfig {
    /// `service.name`. `OTEL_SERVICE_NAME`, else `service.name` in `OTEL_RESOURCE_ATTRIBUTES`.
    pub name: String,
    /// Further resource attributes, in order. `OTEL_RESOURCE_ATTRIBUTES`, percent-decoded.
    pub attributes: Vec<(String, String)>,
}

impl Default for ServiceConfig {
    fn default() -> Self {
        // OpenTelemetry resource semantic conventions, service.name: the fallback names the executable.
        Self { name: "unknown_service:haproxy".to_owned(), attributes: Vec::new() }
    }
}
