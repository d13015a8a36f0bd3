import { refuse } from "../appliance_error.ts";
import { readDocument } from "../oci/documents.ts";
import { quoted } from "../path.ts";
import { type DriverName, DRIVERS } from "./drivers.ts";

/** What a merge may decide by itself, and how. */
export interface Policy {
  /** Where only the time differs: the later one, or a conflict. */
  readonly mtime: "latest" | "conflict";
  /** Where two services want one port: a conflict, or each has an address of its own. */
  readonly ports: "conflict" | "addresses";
  /** How files that both sides changed are merged, by their paths: the first that fits. */
  readonly drivers: readonly { readonly path: string; readonly driver: DriverName }[];
  /** Who is right about what else both changed: the name of an appliance, `base`, or nobody (`remove`). */
  readonly resolve: readonly { readonly path: string; readonly take: string }[];
}

/** What is sound without being asked; each use of it is told. */
export const DEFAULT_POLICY: Policy = {
  mtime: "latest",
  ports: "conflict",
  drivers: [
    { path: "var/lib/dpkg/status", driver: "packages" },
    { path: "var/lib/dpkg/status-old", driver: "packages" },
    { path: "var/lib/dpkg/available", driver: "packages" },
    { path: "var/lib/apt/extended_states", driver: "packages" },
    { path: "var/cache/debconf/*.dat", driver: "stanzas" },
    { path: "var/cache/debconf/*.dat-old", driver: "stanzas" },
    { path: "var/lib/dpkg/diversions", driver: "triples" },
    { path: "var/lib/dpkg/diversions-old", driver: "triples" },
    { path: "var/lib/dpkg/alternatives/*", driver: "alternatives" },
    { path: "var/lib/dpkg/statoverride", driver: "lines" },
    { path: "var/lib/dpkg/statoverride-old", driver: "lines" },
    { path: "var/lib/dpkg/triggers/File", driver: "lines" },
    { path: "var/lib/dpkg/triggers/Unincorp", driver: "lines" },
    { path: "var/lib/dpkg/info/format", driver: "lines" },
    { path: "etc/passwd", driver: "users" },
    { path: "etc/passwd-", driver: "users" },
    { path: "etc/shadow", driver: "users" },
    { path: "etc/shadow-", driver: "users" },
    { path: "etc/group", driver: "groups" },
    { path: "etc/group-", driver: "groups" },
    { path: "etc/gshadow", driver: "groups" },
    { path: "etc/gshadow-", driver: "groups" },
    { path: "etc/subuid", driver: "lines" },
    { path: "etc/subgid", driver: "lines" },
    { path: "etc/shells", driver: "lines" },
    { path: "etc/ld.so.cache", driver: "libraries" },
    { path: "var/log/apt/eipp.log.xz", driver: "drop" },
    { path: "var/log/**", driver: "append" },
    { path: "var/cache/ldconfig/aux-cache", driver: "drop" },
    { path: "var/cache/apt/*.bin", driver: "drop" },
  ],
  resolve: [],
};

/** The most rules of a policy. */
const RULES_MAX = 10_000;

/**
 * A policy as JSON: what it leaves out is as by default, its own drivers come before the default ones.
 * @throws {ApplianceError}
 */
export function readPolicy(bytes: Uint8Array): Policy {
  const document = readDocument(bytes, "policy");
  for (const key of Object.keys(document)) {
    if (!Object.hasOwn(DEFAULT_POLICY, key)) bad(`${quoted(key)} is none of its rules`);
  }
  const drivers = rules(document["drivers"], "drivers").map(({ path, driver }) => {
    if (typeof driver !== "string" || !Object.hasOwn(DRIVERS, driver)) {
      return bad(
        `there is no driver ${quoted(String(driver))}; there are ${Object.keys(DRIVERS).join(", ")}`,
      );
    }
    return { path: text(path, "drivers"), driver: driver as DriverName };
  });
  const resolve = rules(document["resolve"], "resolve").map(({ path, take }) => ({
    path: text(path, "resolve"),
    take: text(take, "resolve"),
  }));
  return {
    mtime: choice(document["mtime"], "mtime", ["latest", "conflict"]),
    ports: choice(document["ports"], "ports", ["conflict", "addresses"]),
    drivers: [...drivers, ...DEFAULT_POLICY.drivers],
    resolve,
  };
}

function rules(value: unknown, what: string): Record<string, unknown>[] {
  if (value === undefined) return [];
  if (!Array.isArray(value) || value.length > RULES_MAX) return bad(`its ${what} are no list`);
  return value.map((each) =>
    typeof each === "object" && each !== null ? each : bad(`a rule of its ${what} is none`)
  );
}

function choice<T extends string>(value: unknown, what: string, [first, ...others]: readonly [T, ...T[]]): T {
  if (value === undefined) return first;
  return [first, ...others].find((each) => each === value) ??
    bad(`${what} is ${quoted(String(value))}, and may be ${[first, ...others].join(" or ")}`);
}

function text(value: unknown, what: string): string {
  return typeof value === "string" && value !== "" ? value : bad(`a rule of its ${what} lacks a text`);
}

function bad(why: string): never {
  return refuse("policy", `Cannot read policy: ${why}`);
}

/** Whether `path` fits `pattern`: `*` is anything but a slash, `**` anything. */
export function fits(pattern: string, path: string): boolean {
  let at = 0, star = -1, starAt = 0, deep = false;
  let index = 0;
  while (at < path.length) {
    if (pattern[index] === "*") {
      deep = pattern[index + 1] === "*";
      star = index += deep ? 2 : 1;
      starAt = at;
    } else if (pattern[index] === path[at]) {
      index++;
      at++;
    } else if (star >= 0 && (deep || path[starAt] !== "/")) {
      index = star;
      at = ++starAt;
    } else return false;
  }
  while (pattern[index] === "*") index++;
  return index === pattern.length;
}
