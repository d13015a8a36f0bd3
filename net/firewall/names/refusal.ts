import type { FlowName } from "./flow_names.ts";

/** A fatal alert, access_denied (RFC 8446 section 6.2), in a record as a server sends it before it has said anything. */
const TLS_ALERT = Uint8Array.of(21, 3, 3, 0, 2, 2, 49);
const NOTHING = new Uint8Array(0);

/** The refusal of a flow in the words of its own protocol, so that the program behind it can show it. */
export function refusalOf({ kind, name }: FlowName, comment: string | undefined): Uint8Array {
  if (kind === "tls") return TLS_ALERT;
  if (kind !== "http") return NOTHING;
  const because = comment === undefined ? "" : `: ${comment}`;
  const body = `The firewall refuses ${name === "" ? "a request without a clear host" : name}${because}\n`;
  const length = new TextEncoder().encode(body).length;
  const head = [
    "HTTP/1.1 403 Forbidden",
    "content-type: text/plain; charset=utf-8",
    `content-length: ${length}`,
    "connection: close",
  ];
  return new TextEncoder().encode(`${head.join("\r\n")}\r\n\r\n${body}`);
}
