import { mkdirSync } from "node:fs";
import process from "node:process";
import { SleepyHost } from "../../../checkpoint/host.ts";
import type { Service } from "../../../checkpoint/appliances/appliance.ts";
import { FileStore } from "../../../checkpoint/store/file_store.ts";
import { Host } from "../../../net/socket/host.ts";
import type { HostOptions } from "../../../net/socket/host_options.ts";
import { openContainer } from "../../../serve/launch/container/container.ts";
import { checkServices, type Launched, type LaunchEvent } from "../../../serve/launch/launched.ts";
import { Sandbox } from "../../../serve/launch/sandbox/sandbox.ts";
import { addressesFor } from "../../appliance/addresses.ts";
import { servicesOf } from "../../appliance/services.ts";
import { readArguments, wholeNumber } from "../../arguments.ts";
import { printable } from "../../color.ts";
import { type Command, type Terminal, UsageError } from "../../command.ts";
import { UntilEnded } from "../../control.ts";
import { readFirewall } from "../../firewall/rules_file.ts";
import { startHost } from "../../serve/host.ts";
import { openWire } from "../../serve/wire.ts";

const HELP = `\
Starts what the appliances start, in one environment, on a userspace network.

  torpor appliance launch FOLDER SERVICES... [options]

FOLDER is the final appliance, as torpor appliance apply writes it. SERVICES
say what is to be started: differentials, images, or JSON files with a list of
{ name, entrypoint, cmd, env, ports, user, workingDir }.

Without --container they are modules of JavaScript or TypeScript ("node x.js",
"deno run x.ts" and the like) and run in this process, each on an address of
its own. A module exports main(Deno, { signal }), a program whose Deno is the
service's; or what torpor serve takes, which is served on the ports that the
image exposes, else on 8000.

With --container (Linux, as root) they are any programs, in namespaces of their
own over the folder, on one address.

  --container        as said
  --tun NAME         the TUN interface of Linux (default tor0)
  --unix PATH        instead of it, without --container: a unix socket for one
                     link at a time, framed as QEMU's -netdev stream does
  --address A/PREFIX the first service's, or the container's (default
                     10.7.0.10/24); the next services get the next ones, or
                     give it again for each
  --gateway ADDRESS  where everything goes that is not beside it
  --router A/PREFIX  with --container, this stack's own address (default
                     10.7.0.1/24)
  --firewall FILE    rules, as torpor serve takes them; to a container they are
                     those of the hook forward
  --store FOLDER     without --container: where idle connections sleep
  --idle SECONDS     how long without data until sleep (default 30)
  --state FOLDER     with --container: where what programs write is kept; else
                     it is deleted at the end. FOLDER itself is only read
  --grace SECONDS    how long a service may take to end (default 10)
  --json             a line for each thing that happens: { service, state }, of
                     "started" address, ports and pid, of "failed" why, of
                     "exited" code and signal, of "stopped" killed
  --help             print this

  ip tuntap add tor0 mode tun         # once: it outlives the processes
  ip addr add 10.7.0.2/24 dev tor0    # the other end: the kernel's
  ip link set tor0 up
  torpor appliance apply debian/ both.diff final/
  torpor appliance launch final/ both.diff --container
  curl http://10.7.0.10/
  torpor appliance launch final/ services.json --json | jq .

What programs print goes to standard error. One that fails is told of, and the
others go on; ^C or SIGTERM ends all, the last that was started first.

Exit codes: 0 asked to end, or all ended, 1 so too, but one failed or ended
with another code than 0, 2 nothing could be started or the command line is
wrong.
`;

const EXIT_FAILED = 1;

/** `torpor appliance launch`. */
export const applianceLaunch: Command = {
  name: "launch",
  summary: "starts what appliances start, in one environment",
  help: HELP,
  async run(args: string[], terminal: Terminal): Promise<number> {
    const { json, positionals: [root, ...specs], values } = readArguments(args, {
      container: { type: "boolean", default: false },
      tun: { type: "string" },
      unix: { type: "string" },
      address: { type: "string", multiple: true },
      gateway: { type: "string" },
      router: { type: "string" },
      firewall: { type: "string" },
      store: { type: "string" },
      idle: { type: "string" },
      state: { type: "string" },
      grace: { type: "string", default: "10" },
    });
    if (root === undefined || specs.length === 0) {
      throw new UsageError("which folder, and what says what to start?");
    }
    const { container: contained, tun, unix } = values;
    if (tun !== undefined && unix !== undefined) throw new UsageError("--tun or --unix, not both");
    for (const [name, given] of Object.entries(values)) {
      if (given !== undefined && (contained ? ALONE : CONTAINED).has(name)) {
        throw new UsageError(`--${name} is for services ${contained ? "without" : "with"} --container`);
      }
    }
    const firewall = values.firewall === undefined ? undefined : readFirewall(values.firewall);
    const services = await servicesOf(specs, {});
    checkServices(services);
    const addresses = addressesFor(values.address ?? ["10.7.0.10/24"], contained ? 1 : services.length);

    let failed = false, ending = false;
    const surroundings: Surroundings = {
      root,
      services,
      addresses,
      graceMs: wholeNumber("grace", values.grace, 0, 3_600) * 1_000,
      onEvent: (event) => {
        failed ||= event.state === "failed" || event.state === "exited" && event.code !== 0;
        terminal.out(json ? `${JSON.stringify(event)}\n` : `${printable(eventText(event))}\n`);
      },
      onOutput: (text) => terminal.err(text),
    };
    let end = (): void => {};
    const asked = new Promise<void>((resolve) => end = resolve);
    using until = new UntilEnded(() => end());
    const link = await openWire(values);
    try {
      const options: HostOptions = {
        interfaces: [{ link }],
        routes: values.gateway === undefined ? [] : [{ destination: "0.0.0.0/0", gateway: values.gateway }],
        ...firewall === undefined ? {} : { firewall },
        onLinkClosed: (name, error) => {
          if (!ending) terminal.err(`torpor appliance launch: link ${name} has ended: ${error?.message}\n`);
        },
      };
      const { host, launched } = contained
        ? await inContainer(surroundings, options, values)
        : await inProcess(surroundings, options, values);
      host.onFirewallEvent((event) => terminal.err(`${JSON.stringify(event)}\n`));
      try {
        if (!until.over) await Promise.race([asked, launched.start().then(() => launched.done)]);
      } finally {
        ending = true;
        await launched.stop();
        if (host instanceof SleepyHost) await host.shutdown();
        else host.close();
        launched.release?.();
      }
    } finally {
      await link.close();
    }
    return failed ? EXIT_FAILED : 0;
  },
};

/** What both ways of launching are told. */
interface Surroundings {
  readonly root: string;
  readonly services: readonly Service[];
  readonly addresses: readonly string[];
  readonly graceMs: number;
  onEvent(event: LaunchEvent): void;
  onOutput(text: string): void;
}

/** Services on their stack, which do not run yet. */
interface Prepared {
  readonly host: Host;
  readonly launched: Launched & { start(): Promise<void>; release?(): void };
}

async function inContainer(
  { onOutput, addresses, ...surroundings }: Surroundings,
  options: HostOptions,
  { router = "10.7.0.1/24", state }: { router?: string | undefined; state?: string | undefined },
): Promise<Prepared> {
  const decoder = new TextDecoder();
  const address = addresses[0]!.split("/")[0]!;
  const container = await openContainer({
    ...surroundings,
    address,
    onOutput: (bytes) => onOutput(decoder.decode(bytes, { stream: true })),
    ...state === undefined ? {} : { state },
  });
  const inside = { destination: address, interface: 1, source: router.split("/")[0]! };
  try {
    const host = startHost(() =>
      new Host({
        ...options,
        interfaces: [{ ...options.interfaces[0]!, name: "outside" }, {
          link: container.link,
          name: "inside",
        }],
        addresses: [{ address: router }],
        routes: [...options.routes!, inside],
        forwarding: true,
      })
    );
    return { host, launched: container };
  } catch (error) {
    await container[Symbol.asyncDispose]();
    throw error;
  }
}

async function inProcess(
  { addresses, ...surroundings }: Surroundings,
  options: HostOptions,
  { store, idle = "30" }: { store?: string | undefined; idle?: string | undefined },
): Promise<Prepared> {
  const idleMs = wholeNumber("idle", idle, 0, 86_400 * 365) * 1_000;
  const all = { ...options, addresses: addresses.map((address) => ({ address })) };
  let host: Host;
  if (store === undefined) host = startHost(() => new Host(all));
  else {
    mkdirSync(store, { recursive: true });
    const opened = await FileStore.open(store);
    host = startHost(() => new SleepyHost({ ...all, store: opened, idleMs }));
  }
  const sandbox = new Sandbox({ ...surroundings, addresses, host });
  return { host, launched: Object.assign(sandbox, { release: catchUncaught(sandbox) }) };
}

/** Options of services that run in this process, and of those in a container. */
const ALONE: ReadonlySet<string> = new Set(["unix", "store", "idle"]);
const CONTAINED: ReadonlySet<string> = new Set(["router", "state"]);

/** Services share this process: what one of them throws ends that one; what nobody's code has thrown ends all. */
function catchUncaught(sandbox: Sandbox): () => void {
  const names = ["uncaughtException", "unhandledRejection"] as const;
  const release = (): void => {
    for (const name of names) process.off(name, caught);
  };
  const caught = (error: unknown): void => {
    if (sandbox.blame(error)) return;
    release();
    throw error;
  };
  for (const name of names) process.on(name, caught);
  return release;
}

function eventText(event: LaunchEvent): string {
  const { service } = event;
  if (event.state === "started") {
    const ports = event.ports.length === 0 ? "" : `, ${event.ports.join(", ")}`;
    return `${service} runs on ${event.address}${ports}`;
  }
  if (event.state === "failed") return `${service} failed: ${event.why}`;
  if (event.state === "stopped") {
    return `${service} has ended${event.killed ? ", killed: it took too long" : ""}`;
  }
  return `${service} ended by itself, ${
    event.signal === undefined ? `with code ${event.code}` : `by ${event.signal}`
  }`;
}
