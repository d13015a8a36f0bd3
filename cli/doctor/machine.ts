import { availableParallelism, release, totalmem, type as systemType } from "node:os";
import process from "node:process";
import { runtime } from "../../base/runtime.ts";
import { LinkError } from "../../net/link/link_error.ts";
import { openTun } from "../../net/link/tun.ts";
import { loadLibc } from "../../net/link/tun_ffi.ts";
import { type Finding, reasonOf } from "./finding.ts";

/** The oldest versions that the tests run on. */
const VERSIONS_MIN = { node: [20, 19], deno: [2, 0], bun: [1, 2] } as const;
/** Connections that a program may hold in the kernel before it needs a word with its administrator. */
const FILES_MIN = 4_096;

export function examineRuntime(): Finding {
  const version = process.versions[runtime] ?? "of an unknown version";
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const [majorMin, minorMin] = VERSIONS_MIN[runtime];
  const old = major < majorMin || (major === majorMin && minor < minorMin);
  const found = `${runtime} ${version} on ${systemType()} ${release()}, ${availableParallelism()} cores, ` +
    `${Math.round(totalmem() / 2 ** 30)} GB`;
  return old
    ? {
      name: "runtime",
      verdict: "bad",
      found,
      advice: `update ${runtime} to ${majorMin}.${minorMin} or newer`,
    }
    : { name: "runtime", verdict: "good", found };
}

export async function examineFfi(): Promise<Finding> {
  try {
    return {
      name: "ffi",
      verdict: "good",
      found: `the C library is called through FFI (${(await loadLibc()).library})`,
    };
  } catch (error) {
    const advice = "without it there is no TUN; unix sockets and pipes work";
    return { name: "ffi", verdict: "less", found: reasonOf(error), advice };
  }
}

const RUN_AS_ROOT = 'run as root, or in "unshare -Urn", or let root make the interface for this user';

/** Makes an interface of the system's choice of name, and lets it go. */
export async function examineTun(): Promise<Finding> {
  if (process.platform !== "linux") {
    const found = `TUN interfaces are Linux's, this is ${process.platform}`;
    return { name: "tun", verdict: "less", found, advice: "use a unix socket, as of QEMU or passt" };
  }
  try {
    const link = await openTun({ name: "torpor%d" });
    const queues = await mayHaveQueues();
    link.close();
    const found = `interfaces can be made; offloads ${link.offloads ? "on" : "refused"}; ` +
      `${queues ? "several queues" : "one queue"}; waits by ${link.wait}`;
    const whole = link.offloads && queues;
    return whole ? { name: "tun", verdict: "good", found } : {
      name: "tun",
      verdict: "less",
      found,
      advice: "a newer kernel cuts trains and has queues: bulk is faster there",
    };
  } catch (error) {
    if (!(error instanceof LinkError)) throw error;
    return {
      name: "tun",
      verdict: "less",
      found: reasonOf(error),
      ...error.code === "denied" ? { advice: RUN_AS_ROOT } : {},
    };
  }
}

async function mayHaveQueues(): Promise<boolean> {
  try {
    (await openTun({ name: "torpor%d", multiQueue: true })).close();
    return true;
  } catch {
    return false;
  }
}

export function examineFiles(): Finding {
  const report = (process.report?.getReport() ?? {}) as {
    userLimits?: { open_files?: { soft: number | string } };
  };
  const soft = Number(report.userLimits?.open_files?.soft ?? NaN);
  if (Number.isNaN(soft)) {
    return {
      name: "files",
      verdict: "good",
      found: "open files: as many as it takes, or this runtime does not say",
    };
  }
  const found = `${soft.toLocaleString("en-US")} open files (a sleeping connection needs none)`;
  return soft >= FILES_MIN
    ? { name: "files", verdict: "good", found }
    : { name: "files", verdict: "less", found, advice: "ulimit -n raises it; stores keep 128 files open" };
}
