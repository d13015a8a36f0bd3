import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface, type Interface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { openTun } from "../../../net/link/tun.ts";
import { judge } from "../../support/judge.ts";
import { NetworkNamespace } from "../../support/netns.ts";
import { EACH, RUN_ON } from "../../support/runtimes.ts";

const RESPONDER = fileURLToPath(new URL("tun_responder.ts", import.meta.url));

/** A wait that fails before the test is given up, so that its namespace is deleted. */
function inTime<T>(promise: Promise<T>, what: string, limitMs = 10_000): Promise<T> {
  let timer: ReturnType<typeof setTimeout>;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`Waited ${limitMs} ms in vain for ${what}`)), limitMs);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

class Responder {
  readonly child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(netns: NetworkNamespace, runtime: keyof typeof RUN_ON, args: string[], wrap: string[] = []) {
    const [program, ...rest] = [...wrap, ...RUN_ON[runtime], RESPONDER, ...args];
    this.child = netns.start(program!, rest);
    const lines: Interface = createInterface({ input: this.child.stdout! });
    this.#lines = lines[Symbol.asyncIterator]();
  }

  async line(): Promise<Record<string, unknown>> {
    const { value, done } = await inTime(this.#lines.next(), "a line of the responder");
    if (done) throw new Error("The responder ended without a word");
    return JSON.parse(value) as Record<string, unknown>;
  }

  /** Asks it to close its link and waits until the process has ended by itself. */
  async end(): Promise<Record<string, unknown>> {
    const exited = once(this.child, "exit");
    this.child.stdin!.end();
    const last = await this.line();
    expect(await this.line()).toEqual({ reopened: "tor0" });
    expect((await inTime(exited, "the responder's end"))[0]).toBe(0);
    return last;
  }
}

const CASES = [
  ["node", "tun", "auto", "pipe"],
  ["deno", "tun", "auto", "pipe"],
  ["bun", "tun", "auto", "worker"],
  ["node", "tun", "poll", "poll"],
  ["deno", "tun", "poll", "poll"],
  ["node", "tap", "auto", "pipe"],
  ["deno", "tap", "auto", "pipe"],
  ["bun", "tap", "auto", "worker"],
] as const;

for (const [runtime, mode, asked, wait] of CASES.filter(([runtime]) => EACH.includes(runtime))) {
  judge(`${runtime} answers ping -f through ${mode.toUpperCase()} by ${wait}, and its process ends`, [
    "root",
    "tun",
    "ip",
    "ping",
  ], async () => {
    using netns = new NetworkNamespace();
    const responder = new Responder(netns, runtime, ["tor%d", mode, asked]);
    expect(await responder.line()).toEqual({ name: "tor0", wait });
    netns.configure("tor0", "10.77.0.1/24");
    const ping = (...args: string[]): string => netns.run("ping", "-q", ...args, "10.77.0.2");
    expect(ping("-c", "3", "-i", "0.05", "-s", "1472", "-M", "do")).toContain(" 0% packet loss");
    const count = asked === "auto" && mode === "tun" ? 10_000 : 1_000;
    // A flooding ping stops listening two round trips after its last request, which on a busy machine is
    // before the last answers: that each was answered is counted at our end.
    ping("-f", "-c", `${count}`);
    ping("-f", "-l", "100", "-c", "900"); // bursts that are longer than one turn's batch
    ping("-c", "1", "-W", "30"); // answered behind all of those: none of them waits in the kernel any more
    const last = await responder.end();
    expect(last["error"]).toBeUndefined();
    const counters = last["counters"] as Record<string, number>;
    expect(counters["framesOut"]).toBeGreaterThanOrEqual(count + 904);
    expect(counters).toMatchObject({ dropsIn: 0, dropsOut: 0 });
    expect(netns.run("ip", "-o", "link")).not.toContain("tor0"); // the descriptor is closed: it is gone
  });
}

for (const runtime of EACH) {
  judge(`${runtime} is told when the interface is deleted`, ["root", "tun", "ip"], async () => {
    using netns = new NetworkNamespace();
    const responder = new Responder(netns, runtime, ["tor0"]);
    await responder.line();
    netns.configure("tor0", "10.77.0.1/24");
    const exited = once(responder.child, "exit");
    netns.run("ip", "link", "del", "tor0");
    expect(await responder.line()).toMatchObject({
      closed: true,
      error: expect.stringContaining(`"tor0" has ended`),
    });
    responder.child.stdin!.end();
    expect((await inTime(exited, "the responder's end"))[0]).toBe(0);
  });

  judge(`${runtime} has the kernel take long packets from where they lie, in two pieces and three`, [
    "root",
    "tun",
    "ip",
    "ping",
  ], async () => {
    using netns = new NetworkNamespace();
    const responder = new Responder(netns, runtime, ["tor0", "tun", "auto", "20000"]);
    await responder.line();
    netns.configure("tor0", "10.77.0.1/24");
    netns.run("ip", "link", "set", "tor0", "mtu", "20000");
    const said = netns.run("ping", "-c", "20", "-i", "0.01", "-s", "12001", "-M", "do", "10.77.0.2");
    expect(said).toContain(" 0% packet loss");
    expect(said).not.toContain("wrong data");
    const { wrapped } = await responder.end();
    expect(wrapped).toBeGreaterThan(5);
    expect(wrapped).toBeLessThan(20);
  });

  judge(`${runtime} says why it cannot have an interface`, ["root", "tun", "ip", "setpriv"], async () => {
    using netns = new NetworkNamespace();
    const holder = new Responder(netns, runtime, ["tor0"]);
    await holder.line();
    const attempt = async (name: string, wrap: string[] = []): Promise<unknown> =>
      (await new Responder(netns, runtime, [name], wrap).line())["error"];
    const powerless = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"];
    const errors = await Promise.all([attempt("tor0"), attempt("lo"), attempt("tor1", powerless)]);
    expect(errors).toEqual([
      {
        name: "LinkError",
        code: "busy",
        message: 'Cannot open interface "tor0": another process holds it; end that one or take another name',
      },
      {
        name: "LinkError",
        code: "busy",
        message: expect.stringContaining("an interface of another kind has this name"),
      },
      {
        name: "LinkError",
        code: "denied",
        message: expect.stringContaining("ip tuntap add dev tor1 mode tun"),
      },
    ]);
    await holder.end();
  });
}

test("openTun() refuses names and MTUs that cannot be", async () => {
  for (const name of ["", "sixteen-bytes-is", "a b", "a/b", "a:b"]) {
    await expect(openTun({ name }), JSON.stringify(name)).rejects.toBeInstanceOf(RangeError);
  }
  await expect(openTun({ name: "tor0", mtu: 67 })).rejects.toBeInstanceOf(RangeError);
  await expect(openTun({ name: "tor0", mtu: 65_536 })).rejects.toBeInstanceOf(RangeError);
});
