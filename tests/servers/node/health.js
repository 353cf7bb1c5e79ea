// grpc-js's health service as a process that a test steers.
//
// Arguments: [--host ADDRESS] --port N [--cert FILE --key FILE [--client-ca FILE]] [--max-age MS] [--no-health]
// Reads lines: `set STATUS [SERVICE]`, `stop` (gracefully: GOAWAY, then the end).
// Writes lines: `ready`; `done` after each order; `asked METHOD` for each call.
"use strict";

const { readFileSync } = require("node:fs");
const { createInterface } = require("node:readline");
const { parseArgs } = require("node:util");
const grpc = require("@grpc/grpc-js");
const { HealthImplementation } = require("grpc-health-check");

const { values: asked } = parseArgs({
  options: {
    host: { type: "string", default: "127.0.0.1" },
    port: { type: "string" },
    cert: { type: "string" },
    key: { type: "string" },
    "client-ca": { type: "string" },
    "max-age": { type: "string" },
    "no-health": { type: "boolean" },
  },
});

const tell = (line) => process.stdout.write(`${line}\n`);

function journal(method, call) {
  tell(`asked ${method.path.split("/").pop()}`);
  return new grpc.ServerInterceptingCall(call);
}

function credentials() {
  if (!asked.cert) return grpc.ServerCredentials.createInsecure();
  const ca = asked["client-ca"] ? readFileSync(asked["client-ca"]) : null;
  const pair = { cert_chain: readFileSync(asked.cert), private_key: readFileSync(asked.key) };
  return grpc.ServerCredentials.createSsl(ca, [pair], ca !== null);
}

const options = { interceptors: [journal] };
if (asked["max-age"]) options["grpc.max_connection_age_ms"] = Number(asked["max-age"]);
const server = new grpc.Server(options);
const health = new HealthImplementation({ "": "SERVING" });
if (!asked["no-health"]) health.addToServer(server);

server.bindAsync(`${asked.host}:${asked.port}`, credentials(), (error) => {
  if (error) throw error;
  tell("ready");
});

createInterface({ input: process.stdin })
  .on("line", (line) => {
    const [order, ...words] = line.split(" ");
    if (order === "set") {
      health.setStatus(words[1] ?? "", words[0]);
      tell("done");
    } else if (order === "stop") {
      tell("done");
      server.tryShutdown(() => process.exit(0));
    } else {
      throw new Error(`unknown order ${order}`);
    }
  })
  // Whoever started it has gone.
  .on("close", () => process.exit(0));
