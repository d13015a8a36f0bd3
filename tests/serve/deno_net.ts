import { realPair, SERVER } from "../net/socket/world.ts";
import { denoApi } from "../../serve/deno/deno_api.ts";
import type { DenoApi } from "../../serve/deno/types.ts";

/** A network as code written for Deno sees it: one side listens, the other connects. */
export interface DenoNet {
  readonly name: "ours" | "Deno's";
  /** The address of whoever listens. */
  readonly hostname: string;
  readonly server: DenoApi;
  readonly client: DenoApi;
}

/** Deno itself, where this is Deno. */
export const deno = "Bun" in globalThis ? undefined : (globalThis as unknown as { Deno?: DenoApi }).Deno;

/** Both of them: the same assertions are held against each, Deno's over loopback. */
export const NETS: readonly { name: DenoNet["name"]; there: boolean; make: () => DenoNet }[] = [
  {
    name: "ours",
    there: true,
    make() {
      const { server, client } = realPair();
      return { name: "ours", hostname: SERVER, server: denoApi(server), client: denoApi(client) };
    },
  },
  {
    name: "Deno's",
    there: deno !== undefined,
    make: () => ({ name: "Deno's", hostname: "127.0.0.1", server: deno!, client: deno! }),
  },
];
