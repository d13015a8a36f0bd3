import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { Prng } from "../../../base/random.ts";
import { CALL_BY_CODE, CALLS, UPCALLS } from "../../../checkpoint/replay/boundary.ts";
import { Stack } from "../../../net/stack.ts";
import { tcpCalls } from "../../../net/tcp/calls.ts";
import { scan } from "../../import_rules.ts";

const ROOT = new URL("../../../", import.meta.url);
/** Whoever stands outside of a stack and calls it. */
const OUTSIDE = [
  ...["net/socket/", "checkpoint/sleep/"].flatMap((folder) =>
    readdirSync(new URL(folder, ROOT), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts")).map((name) => `${folder}${name}`)
  ),
  ...["journal", "recover", "host", "sleeping_host", "analyzer", "wake_times"].map((name) =>
    `checkpoint/${name}.ts`
  ),
];
/** What only looks at a stack: nothing that it does later depends on whether it was asked. */
const READS = new Set([
  "connections.reserve", // room in advance
  "held.holdsFor",
  "sleepers.budgetOf",
  "sleepers.listenerOf",
  "sleepers.idOfFrozen",
  ...[
    "addresses.format",
    "addresses.formatLasting",
    "addresses.isMulticast",
    "addresses.words",
    "addresses.freeze",
    "stack.idOf",
    "stack.isOurs",
  ],
  ...["stack.awakeTcb", "tcp.tcbs", "tcp.tcbIn", "tcp.tcbAt", "listeners.find", "listeners.byId"],
  ...["connections.find", "connections.get", "connections.state", "map.get", "map.state", "map.forEach"],
  ...["output.sourceTowards", "output.isHost", "routes.route", "routes.interfaceOf", "ndp.nameServers"],
  ...["ipv6.sourceTowards", "secrets.portOffset"],
]);
const PARTS = [
  ...[
    "stack",
    "tcp",
    "udp",
    "addresses",
    "output",
    "listeners",
    "connections",
    "map",
    "igmp",
    "mld",
    "draws",
  ],
  ...["arp", "sleepers", "ndp", "frames", "routes", "ipv6", "secrets", "forwarder", "reassembly", "held"],
];

test("everything that net/socket and checkpoint ask of a stack is recorded, or changes nothing", () => {
  const recorded = new Set(
    [...CALL_BY_CODE.values()].map(({ name, method }) => name.includes(".") ? name : `stack.${method}`),
  );
  const pattern = new RegExp(`(?<![\\w$])#?(${PARTS.join("|")})\\s*\\.\\s*([a-zA-Z]+)\\s*\\(`, "g");
  const unheard: string[] = [];
  let heard = 0;
  for (const path of OUTSIDE) {
    const { code } = scan(readFileSync(new URL(path, ROOT), "utf8"));
    for (const [, part, method] of code.matchAll(pattern)) {
      const name = `${part}.${method}`;
      if (recorded.has(name)) heard++;
      else if (!READS.has(name) && !(method! in Array.prototype)) unheard.push(`${path}: ${name}`);
    }
  }
  expect(unheard).toEqual([]);
  expect(heard).toBeGreaterThan(20);
});

test("nobody outside writes into a connection, listener or socket of a stack", () => {
  const assignment =
    /(?<![\w$])(tcb|entry|listener|socket|through|connection)\s*\.\s*(\w+)\s*(?:=(?![=>])|\+\+|--|[-+|&]=)/g;
  const written: string[] = [];
  for (const path of OUTSIDE) {
    const { code } = scan(readFileSync(new URL(path, ROOT), "utf8"));
    for (const [, what, field] of code.matchAll(assignment)) written.push(`${path}: ${what}.${field}`);
  }
  // The application's own, whether it is one that is awake, and whether its memory may be used again: no packet depends on
  // that.
  expect(written.filter((each) => !/\.(attachment|drowsy|given)$/.test(each))).toEqual([]);
});

test("the boundary names methods that there are, each code once, and all of what is asked of connections", () => {
  const stack = new Stack({ nowMs: 0, entropy: new Prng(1) });
  for (const { name, on, method, set } of CALLS) {
    const has = on(stack) as Record<string, unknown>;
    expect(set ? method in has : typeof has[method] === "function", name).toBe(true);
  }
  expect(CALL_BY_CODE.size).toBe(CALLS.length + 1);
  expect(new Set(UPCALLS.map(({ code }) => code)).size).toBe(UPCALLS.length);
  const methods = CALLS.filter(({ on }) => on(stack) === stack.calls).map(({ method }) => method);
  expect(methods.sort()).toEqual(Object.keys(tcpCalls).sort());
});
