//! A gRPC client: the call of the health service, which every backend has.

use std::net::SocketAddr;

use tonic::Request;
use tonic::metadata::MetadataValue;
use tonic::transport::Endpoint;
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::poll::SOON;

/// Asks whether the server as a whole serves, on a connection of its own. An error is that there was no answer.
pub fn ask_health(
    addr: SocketAddr,
    agent: &'static str,
    metadata: &[(&'static str, &str)],
) -> Result<ServingStatus, Box<dyn std::error::Error>> {
    super::block_on(async {
        let endpoint = Endpoint::from_shared(format!("http://{addr}"))?.user_agent(agent)?.timeout(SOON);
        let mut client = HealthClient::new(endpoint.connect().await?);
        let mut request = Request::new(HealthCheckRequest::default());
        for (key, value) in metadata {
            request.metadata_mut().insert(*key, MetadataValue::try_from(*value)?);
        }
        let answer = client.check(request).await?.into_inner();
        Ok(match answer.status {
            1 => ServingStatus::Serving,
            2 => ServingStatus::NotServing,
            _ => ServingStatus::Unknown,
        })
    })
}
