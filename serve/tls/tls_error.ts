import {
  BadResource,
  ConnectionReset,
  type ErrorClass,
  InvalidData,
  TimedOut,
  UnexpectedEof,
} from "../../net/socket/errors.ts";

/** What OpenSSL calls the ways in which a certificate can be wrong, and what Deno says of them. */
const CERTIFICATE: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: "Expired",
  CERT_NOT_YET_VALID: "NotValidYet",
  CERT_REVOKED: "Revoked",
  DEPTH_ZERO_SELF_SIGNED_CERT: "UnknownIssuer",
  SELF_SIGNED_CERT_IN_CHAIN: "UnknownIssuer",
  UNABLE_TO_GET_ISSUER_CERT: "UnknownIssuer",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "UnknownIssuer",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "UnknownIssuer",
};
/** What says, under the names of each runtime's TLS, that no TLS came. */
const NO_TLS = /HTTP_REQUEST|WRONG_VERSION_NUMBER|HTTPS_PROXY_REQUEST|UNKNOWN_PROTOCOL|PACKET_LENGTH/;
const ALERT = /^ERR_SSL_(?:TLSV1|TLSV13|SSLV3)_ALERT_(\w+)$/;

/** An error of `node:tls` as Deno's TLS connections give it; others come back as they are. */
export function tlsError(error: unknown): Error {
  if (!(error instanceof Error)) return new ConnectionReset(`Connection lost: ${String(error)}`);
  const code = (error as { code?: unknown }).code;
  if (typeof code !== "string") return error;
  const as = (Class: ErrorClass, message: string): Error =>
    Object.assign(new Class(message), { cause: error });
  const certificate = CERTIFICATE[code];
  if (certificate !== undefined) return as(InvalidData, `invalid peer certificate: ${certificate}`);
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") {
    return as(InvalidData, `invalid peer certificate: certificate not valid for its name (${error.message})`);
  }
  if (code === "ERR_SSL_NO_APPLICATION_PROTOCOL") {
    return as(InvalidData, "peer doesn't support any known protocol");
  }
  const alert = ALERT.exec(code)?.[1];
  if (alert !== undefined) return as(InvalidData, `received fatal alert: ${camel(alert)}`);
  if (NO_TLS.test(code)) return as(InvalidData, "received corrupt message of type InvalidContentType");
  if (code.startsWith("ERR_SSL_") || code.startsWith("ERR_OSSL_")) return as(InvalidData, error.message);
  if (/^[A-Z_]*CERT[A-Z_]*$/.test(code)) return as(InvalidData, `invalid peer certificate: ${error.message}`);
  // node:tls speaks of a reset when the peer was gone in the middle of the handshake, however it went.
  if (code === "ECONNRESET" && /before secure/.test(error.message)) {
    return as(UnexpectedEof, "unexpected end of file");
  }
  if (code === "ECONNRESET") return as(ConnectionReset, "Connection reset by peer (os error 104)");
  if (code === "ETIMEDOUT") return as(TimedOut, error.message);
  if (code === "EBADF") return as(BadResource, error.message);
  return error;
}

/** "UNKNOWN_CA" as "UnknownCA": rustls' names, which are Deno's. */
function camel(name: string): string {
  return name.split("_").map((word) => word === "CA" ? word : word[0] + word.slice(1).toLowerCase()).join("");
}
