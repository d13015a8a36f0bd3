/**
 * The error classes of `Deno.errors` that networking throws. On Deno they are those very classes, so
 * that `instanceof` works in code written for Deno; elsewhere they are classes of the same names.
 */
export type ErrorClass = new (message: string) => Error;

const native = (globalThis as { Deno?: { errors?: Record<string, ErrorClass> } }).Deno?.errors;

function errorClass(name: string): ErrorClass {
  const own = class extends Error {
    override name = name;
  };
  Object.defineProperty(own, "name", { value: name });
  return native?.[name] ?? own;
}

export const AddrInUse: ErrorClass = errorClass("AddrInUse");
export const AddrNotAvailable: ErrorClass = errorClass("AddrNotAvailable");
export const BadResource: ErrorClass = errorClass("BadResource");
export const Busy: ErrorClass = errorClass("Busy");
export const BrokenPipe: ErrorClass = errorClass("BrokenPipe");
export const ConnectionAborted: ErrorClass = errorClass("ConnectionAborted");
export const ConnectionRefused: ErrorClass = errorClass("ConnectionRefused");
export const ConnectionReset: ErrorClass = errorClass("ConnectionReset");
export const Interrupted: ErrorClass = errorClass("Interrupted");
export const InvalidData: ErrorClass = errorClass("InvalidData");
export const NetworkUnreachable: ErrorClass = errorClass("NetworkUnreachable");
export const NotConnected: ErrorClass = errorClass("NotConnected");
export const NotFound: ErrorClass = errorClass("NotFound");
export const NotSupported: ErrorClass = errorClass("NotSupported");
export const TimedOut: ErrorClass = errorClass("TimedOut");
export const UnexpectedEof: ErrorClass = errorClass("UnexpectedEof");
/** The one that Deno has no class for: there is a route, and nobody answers on it. */
export const HostUnreachable: ErrorClass = errorClass("HostUnreachable");
