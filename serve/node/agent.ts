import { Agent as HttpAgent, type AgentOptions, type ClientRequestArgs } from "node:http";
import { Agent as HttpsAgent, type AgentOptions as HttpsAgentOptions } from "node:https";
import type { Duplex } from "node:stream";
import { connect as connectTls, type ConnectionOptions } from "node:tls";
import type { Host } from "../../net/socket/host.ts";
import { connectNode } from "../../net/socket/stack_socket.ts";

/**
 * An `http.Agent` whose connections are a host's, for `http.request` and whatever takes an agent.
 *
 * @example
 * ```ts
 * import { Agent } from "node:http";
 * import { Host, pipe } from "@torpor/torpor";
 * import { httpAgent } from "@torpor/torpor/serve/node/agent.ts";
 * const [link] = pipe();
 * using host = new Host({ interfaces: [{ link }], addresses: [{ address: "10.0.0.1/24" }] });
 * const agent: Agent = httpAgent(host, { keepAlive: true });
 * agent.destroy();
 * ```
 */
export function httpAgent(host: Host, options: AgentOptions = {}): HttpAgent {
  const agent = new HttpAgent(options);
  const createConnection = (target: ClientRequestArgs): Duplex => connectNode(host, endOf(target, 80));
  return Object.assign(agent, { createConnection });
}

/** The same for `https.request`: TLS of `node:tls` over a host's connections. */
export function httpsAgent(host: Host, options: HttpsAgentOptions = {}): HttpsAgent {
  const agent = new HttpsAgent(options);
  const createConnection = (target: ClientRequestArgs & ConnectionOptions): Duplex => {
    const end = endOf(target, 443);
    const name = target.servername ?? (/^[\d.]+$|:/.test(end.host ?? "") ? undefined : end.host);
    return connectTls({
      ...options,
      ...target,
      ...(name === undefined ? {} : { servername: name }),
      socket: connectNode(host, end) as never,
    });
  };
  return Object.assign(agent, { createConnection });
}

function endOf(target: ClientRequestArgs, port: number): { host?: string; port: number } {
  const host = target.host ?? target.hostname;
  return { port: Number(target.port ?? port), ...(host ? { host: host.replace(/^\[|\]$/g, "") } : {}) };
}
