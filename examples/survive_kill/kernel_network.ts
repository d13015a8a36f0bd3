import { execFileSync } from "node:child_process";
import process from "node:process";
import { NETWORK } from "./talk.ts";

/**
 * A network namespace with a TUN interface that stays when the process that holds it dies, as a cable
 * stays in its socket: the kernel's clients keep their address and route while there is no server.
 */
export class KernelNetwork {
  readonly name: string = `torpor-kill-${process.pid}`;
  readonly interfaceName = "torpor0";
  #made = false;

  /** @throws When this user may not, or `ip` is missing. */
  make(): void {
    ip("netns", "add", this.name);
    this.#made = true;
    const inside = (...args: string[]): void => ip("-n", this.name, ...args);
    inside("link", "set", "lo", "up");
    inside("tuntap", "add", "dev", this.interfaceName, "mode", "tun");
    const address = `${NETWORK.clientAddress}/${NETWORK.prefixLength}`;
    inside("addr", "add", address, "dev", this.interfaceName);
    inside("link", "set", this.interfaceName, "txqueuelen", "10000", "up");
    inside("route", "add", NETWORK.serverSubnet, "dev", this.interfaceName);
  }

  /** What stands before a command that is to run inside, with as many open files as it may have. */
  get wrap(): string[] {
    return ["ip", "netns", "exec", this.name, "sh", "-c", 'ulimit -n "$(ulimit -H -n)"; exec "$0" "$@"'];
  }

  /** Removes it with all that is in it. Idempotent. */
  remove(): void {
    if (!this.#made) return;
    this.#made = false;
    ip("netns", "del", this.name);
  }
}

function ip(...args: string[]): void {
  try {
    execFileSync("ip", args, { stdio: ["ignore", "ignore", "pipe"] });
  } catch (error) {
    const said = (error as { stderr?: Uint8Array }).stderr;
    const reason = said === undefined ? (error as Error).message : new TextDecoder().decode(said).trim();
    throw new Error(`Cannot run "ip ${args.join(" ")}": ${reason}`);
  }
}
