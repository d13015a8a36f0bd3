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

/** Somebody listens there already. */
export const AddrInUse: ErrorClass = errorClass("AddrInUse");
/** The address is none of ours, or there is no port left. */
export const AddrNotAvailable: ErrorClass = errorClass("AddrNotAvailable");
/** It has been closed. */
export const BadResource: ErrorClass = errorClass("BadResource");
/** It is in use by another call. */
export const Busy: ErrorClass = errorClass("Busy");
/** Nothing can be written any more. */
export const BrokenPipe: ErrorClass = errorClass("BrokenPipe");
/** This side has ended the connection. */
export const ConnectionAborted: ErrorClass = errorClass("ConnectionAborted");
/** Nobody listens there. */
export const ConnectionRefused: ErrorClass = errorClass("ConnectionRefused");
/** The peer has ended the connection. */
export const ConnectionReset: ErrorClass = errorClass("ConnectionReset");
/** It was called off. */
export const Interrupted: ErrorClass = errorClass("Interrupted");
/** What was given is not what it should be. */
export const InvalidData: ErrorClass = errorClass("InvalidData");
/** There is no route. */
export const NetworkUnreachable: ErrorClass = errorClass("NetworkUnreachable");
/** There is no connection. */
export const NotConnected: ErrorClass = errorClass("NotConnected");
/** There is no such name. */
export const NotFound: ErrorClass = errorClass("NotFound");
/** It cannot be done here. */
export const NotSupported: ErrorClass = errorClass("NotSupported");
/** Nobody has answered in time. */
export const TimedOut: ErrorClass = errorClass("TimedOut");
/** It has ended in the middle of something. */
export const UnexpectedEof: ErrorClass = errorClass("UnexpectedEof");
/** The one that Deno has no class for: there is a route, and nobody answers on it. */
export const HostUnreachable: ErrorClass = errorClass("HostUnreachable");
