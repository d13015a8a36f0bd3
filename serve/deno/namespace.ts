import { runtime } from "../../base/runtime.ts";
import type { Host } from "../../net/socket/host.ts";
import type { ErrorClass } from "../../net/socket/errors.ts";
import type * as ourErrors from "../../net/socket/errors.ts";
import { denoApi } from "./deno_api.ts";
import type { DenoApi } from "./types.ts";

/** What `@deno/shim-deno` has of `Deno`. */
export type DenoShim = (typeof import("@deno/shim-deno"))["Deno"];

/** The rest of Deno's namespace: Deno's own on Deno, `@deno/shim-deno`'s on Node and Bun. */
export type DenoElsewhere = Omit<DenoShim, keyof DenoApi | "errors" | "listen" | "connect" | "serve">;

/** Deno's namespace whose network is a host's. */
export type DenoNamespace = DenoElsewhere & DenoApi & {
  /** Deno's error classes; those of the network are this stack's. */
  readonly errors: Omit<DenoShim["errors"], keyof typeof ourErrors> & typeof ourErrors;
};

/**
 * Deno's whole namespace on Deno, Node and Bun, for programs that also read files, their environment or their arguments:
 * everything but the network is the machine's, the network is `host`'s ({@linkcode denoApi}).
 *
 * On Node and Bun the machine's part is `@deno/shim-deno`, which has no `Command`, `dlopen`, `cron` or `openKv`; nothing
 * of it is loaded on Deno.
 *
 * @example
 * ```ts
 * import { denoNamespace, Host, pipe } from "@torpor/torpor";
 * const [link] = pipe();
 * using host = new Host({ interfaces: [{ link }], addresses: [{ address: "10.0.0.1/24" }] });
 * const Deno = await denoNamespace(host);
 * using listener = Deno.listen({ port: Number(Deno.env.get("PORT_TO_SERVE") ?? 7) }); // on the stack
 * console.log(Deno.build.os, listener.addr); // of the machine; of the stack
 * ```
 */
export async function denoNamespace(host: Host): Promise<DenoNamespace> {
  const machine = runtime === "deno"
    ? (globalThis as unknown as { Deno: DenoShim }).Deno
    : (await import("@deno/shim-deno")).Deno;
  const api = denoApi(host);
  const errors: Record<string, unknown> = { ...machine.errors };
  for (const [name, ours] of Object.entries(api.errors)) errors[name] = either(name, ours, errors[name]);
  // Getters stay getters: Deno warns of some of its properties when they are read.
  const parts = {
    ...Object.getOwnPropertyDescriptors(machine),
    ...Object.getOwnPropertyDescriptors({ ...api, errors }),
  };
  return Object.defineProperties({}, parts) as unknown as DenoNamespace;
}

/** A class whose instances are those of ours and of the shim's: who looks for `NotFound` means files and names. */
function either(name: string, ours: ErrorClass, theirs: unknown): ErrorClass {
  if (theirs === undefined || theirs === ours) return ours;
  const both = class extends ours {};
  Object.defineProperty(both, "name", { value: name });
  Object.defineProperty(both, Symbol.hasInstance, {
    value: (error: unknown) => error instanceof ours || error instanceof (theirs as ErrorClass),
  });
  return both;
}
