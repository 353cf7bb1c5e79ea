//! gRPC health checks (`grpc.health.v1`) and what they say about HAProxy's servers. No Lua.
