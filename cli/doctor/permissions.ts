import { accessSync, constants, readFileSync } from "node:fs";
import process from "node:process";
import type { Finding } from "./finding.ts";

const CAP_NET_ADMIN = 12;
/** What Deno asks its user for, as far as Torpor needs it. */
const ASKED = ["read", "write", "net", "ffi", "sys", "env"] as const;

interface Permissions {
  query(of: { name: string }): Promise<{ state: string }>;
}

/** Who this is, what the kernel lets it do, and what the runtime does. */
export async function examinePermissions(): Promise<Finding> {
  const name = "permissions";
  const refused = await refusedByDeno();
  const uid = process.getuid?.();
  const who = uid === undefined ? "this user" : uid === 0 ? "root" : `user ${uid}`;
  if (process.platform !== "linux") {
    const found = `${who}${refused.length > 0 ? `; Deno refuses ${refused.join(", ")}` : ""}`;
    return { name, verdict: refused.length > 0 ? "less" : "good", found };
  }
  const mayMake = hasCapability(CAP_NET_ADMIN);
  const mayOpen = mayOpenTun();
  const found = [
    `${who} ${mayMake ? "may make interfaces (CAP_NET_ADMIN)" : "may not make interfaces (CAP_NET_ADMIN)"}`,
    `/dev/net/tun ${mayOpen ? "can be opened" : "cannot be opened"}`,
    ...(refused.length > 0 ? [`Deno refuses ${refused.join(", ")}`] : []),
  ].join("; ");
  if (refused.length > 0) {
    return {
      name,
      verdict: "less",
      found,
      advice: `deno run ${refused.map((each) => `--allow-${each}`).join(" ")}`,
    };
  }
  if (mayMake && mayOpen) return { name, verdict: "good", found };
  const advice = mayOpen
    ? `root makes the interface once: ip tuntap add tor0 mode tun user ${uid ?? "NAME"}; or "unshare -Urn"`
    : "without the device there is no TUN; unix sockets and pipes work";
  return { name, verdict: "less", found, advice };
}

async function refusedByDeno(): Promise<string[]> {
  const { permissions } = (globalThis as unknown as { Deno?: { permissions?: Permissions } }).Deno ?? {};
  if (permissions === undefined) return [];
  const states = await Promise.all(ASKED.map(async (name) => (await permissions.query({ name })).state));
  return ASKED.filter((_, at) => states[at] !== "granted");
}

/** By the effective set in /proc, or as far as can be told without it. */
function hasCapability(bit: number): boolean {
  try {
    const hex = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
    return hex !== undefined && ((BigInt(`0x${hex}`) >> BigInt(bit)) & 1n) === 1n;
  } catch {
    return process.getuid?.() === 0;
  }
}

function mayOpenTun(): boolean {
  try {
    accessSync("/dev/net/tun", constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
