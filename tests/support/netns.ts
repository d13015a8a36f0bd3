import { type ChildProcess, execFile, execFileSync, spawn } from "node:child_process";
import process from "node:process";

let made = 0;

/**
 * A network namespace of a test's own, with a name nobody else has. It is deleted by `using`, and also
 * when the process exits before that. Needs root and `ip`.
 *
 * @example
 * ```ts
 * using netns = new NetworkNamespace();
 * netns.run("ping", "-c", "1", "127.0.0.1");
 * ```
 */
export class NetworkNamespace implements Disposable {
  readonly name: string = `torpor-${process.pid}-${Date.now().toString(36)}-${++made}`;
  readonly #atExit: () => void = () => this[Symbol.dispose]();
  #children: ChildProcess[] = [];
  #deleted = false;

  constructor() {
    execFileSync("ip", ["netns", "add", this.name]);
    process.on("exit", this.#atExit);
    try {
      this.run("ip", "link", "set", "lo", "up");
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** Runs a command inside and returns what it printed; throws when it fails. */
  run(command: string, ...args: string[]): string {
    return execFileSync("ip", ["netns", "exec", this.name, command, ...args], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
      maxBuffer: 1 << 28,
    });
  }

  /** As `run`, but this process goes on meanwhile: its other tests, above all. */
  output(command: string, ...args: string[]): Promise<string> {
    return new Promise((resolve, reject) => {
      const child = execFile(
        "ip",
        ["netns", "exec", this.name, command, ...args],
        { encoding: "utf8", maxBuffer: 1 << 28 },
        (error, text) => error ? reject(error) : resolve(text),
      );
      child.stdin!.end();
      this.#children.push(child);
    });
  }

  /** Starts a command inside; it is killed with the namespace when it still runs then. */
  start(command: string, args: string[] = [], errors: "inherit" | "pipe" = "inherit"): ChildProcess {
    const child = spawn("ip", ["netns", "exec", this.name, command, ...args], {
      stdio: ["pipe", "pipe", errors],
    });
    this.#children.push(child);
    return child;
  }

  /** Runs a command inside without holding up this process; resolves to its exit code. */
  finished(command: string, ...args: string[]): Promise<number | null> {
    const child = this.start(command, args);
    child.stdout!.resume();
    child.stdin!.end();
    return new Promise((resolve) => void child.once("close", resolve));
  }

  /** Gives an interface an address with prefix, and sets it up. IPv6's own chatter is switched off. */
  configure(interfaceName: string, address: string, mtu = 1500): void {
    this.run("sh", "-c", `echo 1 > /proc/sys/net/ipv6/conf/${interfaceName}/disable_ipv6`);
    this.run("ip", "addr", "add", address, "dev", interfaceName);
    this.run("ip", "link", "set", interfaceName, "mtu", `${mtu}`, "up");
  }

  [Symbol.dispose](): void {
    if (this.#deleted) return;
    this.#deleted = true;
    process.removeListener("exit", this.#atExit);
    // `ip netns exec` becomes the command, so its pid is the command's.
    for (const child of this.#children) if (child.exitCode === null) child.kill("SIGKILL");
    execFileSync("ip", ["netns", "del", this.name]);
  }
}
