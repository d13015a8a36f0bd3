import { type ClientRequest, type IncomingMessage, request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import type { Readable } from "node:stream";
import { createBrotliDecompress, createGunzip, createInflate } from "node:zlib";
import type { Host } from "../../net/socket/host.ts";
import { httpAgent, httpsAgent } from "./agent.ts";

/** How to fetch. */
export interface FetchOptions {
  /** Certificates, as text, that are believed in the place of the well-known ones. */
  ca?: string | string[];
  /** Connections to one server at a time. Default 8. */
  connectionsMax?: number;
}

/** `fetch`, and an end to its connections. */
export interface HostFetch extends Disposable {
  (input: string | URL | Request, init?: RequestInit): Promise<Response>;
  /** Ends the connections that wait for their next request. */
  close(): void;
}

/** The fetch standard's. */
const REDIRECTS_MAX = 20;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
const BODILESS = new Set([101, 103, 204, 205, 304]);
const CONNECTIONS_MAX = 8;
/** Of a name's credentials and bodies nothing goes to another origin. */
const PRIVATE = ["authorization", "cookie", "proxy-authorization"];
const OF_BODY = [
  "content-type",
  "content-length",
  "content-encoding",
  "content-language",
  "content-location",
];

/**
 * `fetch` over a host's connections, names by its own resolver: HTTP/1.1 with kept connections that may sleep,
 * redirects, gzip, deflate and brotli, signals, bodies as streams both ways. No cache, no cookies, no CORS.
 *
 * @example
 * ```ts
 * import { Host, pipe } from "@torpor/torpor";
 * import { fetchOver } from "@torpor/torpor/serve/node/fetch.ts";
 * const [link] = pipe();
 * using host = new Host({ interfaces: [{ link }], addresses: [{ address: "10.0.0.1/24" }] });
 * using fetch = fetchOver(host);
 * await fetch("http://10.0.0.9/").catch((error) => console.error(error.cause));
 * ```
 */
export function fetchOver(
  host: Host,
  { ca, connectionsMax = CONNECTIONS_MAX }: FetchOptions = {},
): HostFetch {
  const kept = { keepAlive: true, maxSockets: connectionsMax };
  const plain = httpAgent(host, kept);
  const secure = httpsAgent(host, ca === undefined ? kept : { ...kept, ca });
  const close = (): void => {
    plain.destroy();
    secure.destroy();
  };

  async function fetch(input: string | URL | Request, init: RequestInit = {}): Promise<Response> {
    const asked = new Request(input, init);
    asked.signal.throwIfAborted();
    const streamed = init.body instanceof ReadableStream;
    const headers = new Headers(asked.headers);
    let body: ReadableStream<Uint8Array> | Uint8Array | undefined;
    if (streamed) body = asked.body ?? undefined;
    else if (asked.body !== null) { // can be sent again where a redirect says so
      const blob = await asked.blob();
      body = new Uint8Array(await blob.arrayBuffer());
      // Bun's requests do not have it in their headers, and take bytes for text.
      const bytes = ArrayBuffer.isView(init.body) || init.body instanceof ArrayBuffer;
      if (!bytes && blob.type !== "" && !headers.has("content-type")) headers.set("content-type", blob.type);
    }
    let { method } = asked;
    let url = new URL(asked.url);
    for (let redirects = 0;; redirects++) {
      const answer = await once(url, method, headers, body, asked.signal);
      const status = answer.statusCode ?? 0;
      const location = answer.headers.location;
      if (!REDIRECTS.has(status) || location === undefined || asked.redirect === "manual") {
        return responseOf(answer, url, method, redirects > 0);
      }
      answer.resume();
      if (asked.redirect === "error") throw failed("a redirect came, and none is wanted");
      if (redirects >= REDIRECTS_MAX) throw failed(`more than ${REDIRECTS_MAX} redirects`);
      if (streamed && status !== 303) throw failed("a body that was a stream cannot be sent again");
      const next = new URL(location, url);
      if (next.protocol !== "http:" && next.protocol !== "https:") {
        throw failed(`a redirect to ${next.protocol}`);
      }
      if ((status < 303 && method === "POST") || (status === 303 && method !== "HEAD" && method !== "GET")) {
        method = "GET";
        body = undefined;
        for (const name of OF_BODY) headers.delete(name);
      }
      if (next.origin !== url.origin) { for (const name of PRIVATE) headers.delete(name); }
      url = next;
    }
  }

  function once(
    url: URL,
    method: string,
    headers: Headers,
    body: ReadableStream<Uint8Array> | Uint8Array | undefined,
    signal: AbortSignal,
  ): Promise<IncomingMessage> {
    const fields: Record<string, string> = { accept: "*/*", "accept-encoding": "gzip, deflate, br" };
    headers.forEach((value, name) => fields[name] = value);
    if (body instanceof Uint8Array) fields["content-length"] = `${body.length}`;
    const isSecure = url.protocol === "https:";
    if (!isSecure && url.protocol !== "http:") throw failed(`${url.protocol} is not known here`);
    return new Promise((resolve, reject) => {
      const request = (isSecure ? requestHttps : requestHttp)({
        agent: isSecure ? secure : plain,
        host: url.hostname.replace(/^\[|\]$/g, ""),
        port: url.port === "" ? (isSecure ? 443 : 80) : Number(url.port),
        path: url.pathname + url.search,
        method,
        headers: fields,
      });
      const aborted = (): void => {
        reject(signal.reason);
        request.destroy();
      };
      signal.addEventListener("abort", aborted, { once: true });
      request.once("close", () => signal.removeEventListener("abort", aborted));
      request.once("error", (error) => reject(failed(error)));
      request.once("response", resolve);
      if (body === undefined || body instanceof Uint8Array) request.end(body);
      else send(body, request).catch((error) => request.destroy(error));
    });
  }

  return Object.assign(fetch, { close, [Symbol.dispose]: close });
}

async function send(body: ReadableStream<Uint8Array>, request: ClientRequest): Promise<void> {
  const reader = body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return void request.end();
    if (!request.write(value)) await new Promise<void>((resolve) => void request.once("drain", resolve));
  }
}

function responseOf(answer: IncomingMessage, url: URL, method: string, redirected: boolean): Response {
  const headers = new Headers();
  for (let at = 0; at < answer.rawHeaders.length; at += 2) {
    headers.append(answer.rawHeaders[at]!, answer.rawHeaders[at + 1]!);
  }
  const status = answer.statusCode!;
  const none = method === "HEAD" || BODILESS.has(status);
  if (none) answer.resume();
  const body = none ? null : streamOf(decoded(answer, headers.get("content-encoding")), answer);
  const response = new Response(body, { status, statusText: answer.statusMessage ?? "", headers });
  Object.defineProperty(response, "url", { value: url.href });
  Object.defineProperty(response, "redirected", { value: redirected });
  return response;
}

function decoded(answer: IncomingMessage, coding: string | null): Readable {
  const decoder = coding === "gzip" || coding === "x-gzip"
    ? createGunzip()
    : coding === "deflate"
    ? createInflate()
    : coding === "br"
    ? createBrotliDecompress()
    : undefined;
  if (decoder === undefined) return answer;
  answer.once("error", (error) => decoder.destroy(error));
  return answer.pipe(decoder);
}

/** A body as a web stream; who does not read it holds its server back. */
function streamOf(readable: Readable, answer: IncomingMessage): ReadableStream<Uint8Array> {
  let over = false;
  return new ReadableStream<Uint8Array>({
    start(controller) {
      readable.on("data", (bytes: Uint8Array) => {
        if (over) return;
        controller.enqueue(new Uint8Array(bytes));
        if ((controller.desiredSize ?? 0) <= 0) readable.pause();
      });
      readable.once("end", () => {
        if (over) return;
        over = true;
        controller.close();
      });
      const fail = (error?: Error): void => {
        if (over) return;
        over = true;
        controller.error(failed(error ?? "the connection has ended before the body"));
      };
      readable.once("error", fail);
      answer.once("aborted", () => fail());
      answer.once("error", fail);
    },
    pull: () => void readable.resume(),
    cancel() {
      over = true;
      answer.destroy();
    },
  }, { highWaterMark: 64 * 1024, size: ({ byteLength }) => byteLength });
}

/** What `fetch` throws: a `TypeError` whose `cause` says why. */
function failed(cause: unknown): TypeError {
  return Object.assign(new TypeError("fetch failed"), {
    cause: cause instanceof Error ? cause : new Error(String(cause)),
  });
}
