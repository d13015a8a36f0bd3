import { Buffer } from "node:buffer";
import packet from "dns-packet";
import type { Host } from "../../../../net/socket/host.ts";

type Answer = Partial<packet.Packet> & {
  rcode?: number; /** The question as the server repeats it. */
  asked?: string;
};

/** A name server that a test plays: what it was asked, and what it answers; `undefined` for silence. */
export class DnsServer {
  readonly asked: string[] = [];
  answer: (name: string, type: string, transport: "udp" | "tcp", query: packet.Packet) => Answer | undefined;

  constructor(host: Host, answer: DnsServer["answer"], port = 53) {
    this.answer = answer;
    void this.#serveUdp(host, port);
    void this.#serveTcp(host, port);
  }

  async #serveUdp(host: Host, port: number): Promise<void> {
    const socket = host.listenDatagram({ port });
    for await (const [bytes, from] of socket) {
      const response = this.#respond(bytes, "udp");
      if (response !== undefined) await socket.send(response, from);
    }
  }

  async #serveTcp(host: Host, port: number): Promise<void> {
    try {
      for await (const conn of host.listen({ port })) {
        const bytes = new Uint8Array(1_000);
        const count = await conn.read(bytes);
        const response = this.#respond(bytes.subarray(2, count!), "tcp");
        if (response !== undefined) {
          await conn.write(Uint8Array.of(response.length >> 8, response.length & 255, ...response));
        }
        conn.close();
      }
    } catch { /* the client has gone */ }
  }

  #respond(bytes: Uint8Array, transport: "udp" | "tcp"): Uint8Array | undefined {
    const query = packet.decode(Buffer.from(bytes));
    const { name, type } = query.questions![0]!;
    this.asked.push(`${transport} ${type} ${name.toLowerCase()}`);
    const answer = this.answer(name.toLowerCase(), type, transport, query);
    if (answer === undefined) return undefined;
    const { rcode = 0, asked = name, flags = 0, ...rest } = answer;
    return Uint8Array.from(packet.encode({
      type: "response",
      id: query.id!,
      questions: [{ name: asked, type, class: "IN" }],
      ...rest,
      flags: (flags as number) | packet.RECURSION_DESIRED | packet.RECURSION_AVAILABLE | rcode,
    }));
  }
}
