import { createHash } from "node:crypto";

/** RFC 6455 section 1.3. */
const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** Whether a request asks for WebSocket. */
export function asksForWebSocket(request: Request): boolean {
  return request.headers.get("upgrade")?.toLowerCase() === "websocket" && request.method === "GET" &&
    hasToken(request.headers.get("connection"), "upgrade");
}

/**
 * The answer to a request for WebSocket (RFC 6455 section 4.2): a response's head, or a response that says why not.
 * Extensions are not agreed on: permessage-deflate's window would be 32 KiB in each image.
 * @param protocol One of those that the client offers.
 */
export function webSocketAccept(
  headers: Headers,
  protocol: string | undefined,
): { head: [name: string, value: string][] } | { refusal: Response } {
  if (headers.get("sec-websocket-version") !== "13") {
    return {
      refusal: new Response("Need version 13", { status: 426, headers: { "sec-websocket-version": "13" } }),
    };
  }
  const key = headers.get("sec-websocket-key") ?? "";
  if (!/^[A-Za-z0-9+/]{21}[AQgw]==$/.test(key)) {
    return { refusal: new Response("Need a key of 16 bytes", { status: 400 }) };
  }
  if (protocol !== undefined && !hasToken(headers.get("sec-websocket-protocol"), protocol.toLowerCase())) {
    return { refusal: new Response(`The client has not offered "${protocol}"`, { status: 400 }) };
  }
  const accept = createHash("sha1").update(key + GUID).digest("base64");
  const head: [string, string][] = [["upgrade", "websocket"], ["connection", "Upgrade"], [
    "sec-websocket-accept",
    accept,
  ]];
  if (protocol !== undefined) head.push(["sec-websocket-protocol", protocol]);
  return { head };
}

/** Whether a list of tokens has one, in whatever case. */
export function hasToken(list: string | null, token: string): boolean {
  return list?.toLowerCase().split(",").some((each) => each.trim() === token) ?? false;
}
