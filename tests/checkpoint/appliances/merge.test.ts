import { expect, test } from "vitest";
import { ApplianceError } from "../../../checkpoint/appliances/appliance_error.ts";
import type { Service } from "../../../checkpoint/appliances/appliance.ts";
import { copyOf } from "../../../checkpoint/appliances/diff/apply_diff.ts";
import { type DriverName, runDriver } from "../../../checkpoint/appliances/merge/drivers.ts";
import { mergeTrees } from "../../../checkpoint/appliances/merge/merge_trees.ts";
import type { Conflict, MergedTrees } from "../../../checkpoint/appliances/merge/merged.ts";
import {
  DEFAULT_POLICY,
  fits,
  type Policy,
  readPolicy,
} from "../../../checkpoint/appliances/merge/policy.ts";
import { Tree } from "../../../checkpoint/appliances/tree.ts";
import { ABOUT, bytesIn, fileOf, folder } from "./trees.ts";

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const bytes = (words: string): Uint8Array => new TextEncoder().encode(words);

/** Merges what two made of a base of these files. */
function merged(
  files: Record<string, string>,
  one: (tree: Tree) => void,
  other: (tree: Tree) => void,
  policy: Policy = DEFAULT_POLICY,
  services: [Service[], Service[]] = [[], []],
): MergedTrees & { base: Tree } {
  const base = new Tree();
  for (const [path, words] of Object.entries(files)) base.put(path, fileOf(words));
  const sides = [one, other].map((change, index) => {
    const tree = copyOf(base);
    change(tree);
    return { name: ["nginx", "redis"][index]!, tree, services: services[index]! };
  });
  return { ...mergeTrees(base, sides, policy), base };
}

const paths = ({ tree }: MergedTrees): string[] => [...tree.entries()].map(({ path }) => path);
const kinds = ({ conflicts }: MergedTrees): string[] => conflicts.map(({ kind, path }) => `${kind} ${path}`);

test("what one side alone did is so, what both did the same is so, and all of it is in the merged tree", () => {
  const result = merged(
    { "a": "a", "gone/x": "x", "b": "b", "c": "c" },
    (tree) => {
      tree.put("usr/bin/nginx", fileOf("nginx"));
      tree.remove("gone");
      tree.put("b", fileOf("changed"));
      tree.put("both", fileOf("same"));
      tree.put("c", { ...tree.get("c")!, mode: 0o600 });
      tree.put("one", fileOf("1"));
      tree.put("two", tree.get("one")!);
    },
    (tree) => {
      tree.put("usr/bin/redis", fileOf("redis"));
      tree.put("both", fileOf("same"));
      tree.put("c", { ...tree.get("c")!, uid: 7 });
    },
  );
  expect(result.conflicts).toEqual([]);
  expect(paths(result)).toEqual([
    ...["", "a", "b", "both", "c", "one", "two", "usr", "usr/bin", "usr/bin/nginx", "usr/bin/redis"],
  ]);
  expect(text(bytesIn(result.tree.get("b")!.content!))).toBe("changed");
  expect(result.tree.get("c")).toMatchObject({ mode: 0o600, uid: 7 });
  expect(result.tree.get("two")).toBe(result.tree.get("one"));
});

const SERVICE: Service = {
  ...{ name: "web", entrypoint: ["/bin/web"], cmd: [], env: [], ports: ["80/tcp"], user: "", workingDir: "" },
};

/** Constructed conflicts: the base, what each made of it, and what must be told. */
const CONFLICTS: Record<
  string,
  [files: Record<string, string>, one: (tree: Tree) => void, other: (tree: Tree) => void, told: string]
> = {
  "the same file changed differently": [
    { "etc/conf": "x" },
    (tree) => tree.put("etc/conf", fileOf("one")),
    (tree) => tree.put("etc/conf", fileOf("other")),
    "content etc/conf",
  ],
  "the same file added differently": [
    {},
    (tree) => tree.put("opt/x", fileOf("one")),
    (tree) => tree.put("opt/x", fileOf("other")),
    "content opt/x",
  ],
  "a file against a folder": [
    {},
    (tree) => tree.put("opt/x", fileOf("one")),
    (tree) => tree.put("opt/x/y", fileOf("other")),
    "type opt/x",
  ],
  "a symlink against a file": [
    { "x": "x" },
    (tree) => tree.put("x", { ...ABOUT, type: "symlink", target: "y" }),
    (tree) => tree.put("x", fileOf("other")),
    "type x",
  ],
  "symlinks that lead elsewhere": [
    {},
    (tree) => tree.put("x", { ...ABOUT, type: "symlink", target: "y" }),
    (tree) => tree.put("x", { ...ABOUT, type: "symlink", target: "z" }),
    "content x",
  ],
  "removed and changed": [
    { "x": "x" },
    (tree) => void tree.remove("x"),
    (tree) => tree.put("x", fileOf("other")),
    "removed x",
  ],
  "a folder removed in which another adds": [
    { "opt/a": "a" },
    (tree) => void tree.remove("opt"),
    (tree) => tree.put("opt/b", fileOf("b")),
    "folder opt",
  ],
  "two modes": [
    { "x": "x" },
    (tree) => tree.put("x", fileOf("x", { mode: 0o600 })),
    (tree) => tree.put("x", fileOf("x", { mode: 0o755 })),
    "attributes x",
  ],
  "two owners of a folder": [
    { "x/y": "y" },
    (tree) => tree.put("x", folder({ uid: 1 })),
    (tree) => tree.put("x", folder({ uid: 2 })),
    "attributes x",
  ],
  "two attributes": [
    { "x": "x" },
    (tree) => tree.put("x", fileOf("x", { xattrs: new Map([["user.a", bytes("1")]]) })),
    (tree) => tree.put("x", fileOf("x", { xattrs: new Map([["user.a", bytes("2")]]) })),
    "attributes x",
  ],
  "hard links of different files": [
    { "a": "same", "b": "same", "c": "c" },
    (tree) => tree.put("c", tree.get("a")!),
    (tree) => tree.put("c", tree.get("b")!),
    "links c",
  ],
  "two users of one number": [
    { "etc/passwd": "root:x:0:0::/:/bin/sh\n" },
    (tree) => tree.put("etc/passwd", fileOf("root:x:0:0::/:/bin/sh\nnginx:x:101:101::/:/bin/false\n")),
    (tree) => tree.put("etc/passwd", fileOf("root:x:0:0::/:/bin/sh\nredis:x:101:102::/:/bin/false\n")),
    "database etc/passwd",
  ],
  "two groups of one number": [
    { "etc/group": "root:x:0:\n" },
    (tree) => tree.put("etc/group", fileOf("root:x:0:\nnginx:x:101:\n")),
    (tree) => tree.put("etc/group", fileOf("root:x:0:\nredis:x:101:\n")),
    "database etc/group",
  ],
  "two versions of one package": [
    { "var/lib/dpkg/status": "" },
    (tree) => tree.put("var/lib/dpkg/status", fileOf("Package: libx\nVersion: 1\n\n")),
    (tree) => tree.put("var/lib/dpkg/status", fileOf("Package: libx\nVersion: 2\n\n")),
    "database var/lib/dpkg/status",
  ],
};

test.each(Object.entries(CONFLICTS))(
  "a conflict is found and told with both sides: %s",
  (_, [files, one, other, told]) => {
    const result = merged(files, one, other);
    expect(kinds(result)).toEqual([told]);
    const [{ sides, path }] = result.conflicts as [Conflict];
    expect(sides.map(({ name }) => name)).toEqual(["nginx", "redis"]);
    // A policy may say who is right.
    const policy = { ...DEFAULT_POLICY, resolve: [{ path: `${path}**`, take: "redis" }] };
    const settled = merged(files, one, other, policy);
    expect(settled.conflicts).toEqual([]);
    expect(settled.resolved.some((each) => each.how === "by policy: redis")).toBe(true);
  },
);

test("two appliances that want one port, or call their program the same, are in conflict", () => {
  const none = (): void => {};
  const both = merged({}, none, none, DEFAULT_POLICY, [[SERVICE], [{ ...SERVICE, cmd: ["-x"] }]]);
  expect(both.conflicts).toEqual([
    {
      kind: "service",
      path: "web",
      sides: [{ name: "nginx", what: "starts /bin/web" }, { name: "redis", what: "starts /bin/web -x" }],
      why: [],
    },
    {
      kind: "port",
      path: "80/tcp",
      sides: [{ name: "nginx", what: "starts /bin/web" }, { name: "redis", what: "starts /bin/web -x" }],
      why: [],
    },
  ]);
  const policy = { ...DEFAULT_POLICY, ports: "addresses" as const };
  const apart = merged({}, none, none, policy, [[SERVICE], [{ ...SERVICE, name: "other" }]]);
  expect(apart.conflicts).toEqual([]);
  expect(apart.services.map(({ name }) => name)).toEqual(["web", "other"]);
});

test("where only the time differs the later one is taken, and told; or it is a conflict", () => {
  const at = (seconds: number) => (tree: Tree): void => tree.put("x", fileOf("x", { mtimeSeconds: seconds }));
  const result = merged({ x: "x" }, at(1_800_000_000), at(1_900_000_000));
  expect(result.conflicts).toEqual([]);
  expect(result.tree.get("x")?.mtimeSeconds).toBe(1_900_000_000);
  expect(result.resolved).toEqual([{ path: "x", how: "the later time" }]);
  const policy = { ...DEFAULT_POLICY, mtime: "conflict" as const };
  expect(kinds(merged({ x: "x" }, at(1), at(2), policy))).toEqual(["attributes x"]);
});

/** What a driver makes of a base and two sides. */
const DRIVEN: [driver: DriverName, base: string, one: string, other: string, merged: string | RegExp][] = [
  [
    "users",
    "root:x:0:0::/:/bin/sh\nold:x:9:9::/:\n",
    "root:x:0:0::/:/bin/sh\na:x:101:1::/:\n",
    "root:x:0:0::/:/bin/bash\nold:x:9:9::/:\n",
    "root:x:0:0::/:/bin/bash\na:x:101:1::/:\n",
  ],
  [
    "users",
    "a:x:1:1::/:/bin/sh\n",
    "a:x:1:1::/a:/bin/sh\n",
    "a:x:1:1::/b:/bin/sh\n",
    /user a: one and other have it differently/,
  ],
  [
    "users",
    "",
    "a:!:19000:0:99999:7:::\n",
    "b:!:19000:0:99999:7:::\n",
    "a:!:19000:0:99999:7:::\nb:!:19000:0:99999:7:::\n",
  ],
  ["groups", "adm:x:4:syslog\n", "adm:x:4:syslog,a\n", "adm:x:4:b\n", "adm:x:4:a,b\n"],
  ["groups", "adm:*::\n", "adm:*::a\n", "adm:*::b\n", "adm:*::a,b\n"],
  ["lines", "a\nb\n", "a\nc\n", "a\nb\nd\n", "a\nc\nd\n"],
  [
    "triples",
    "",
    "/bin/x\n/bin/x.real\npkg\n",
    "/bin/y\n/bin/y.real\npkg\n",
    "/bin/x\n/bin/x.real\npkg\n/bin/y\n/bin/y.real\npkg\n",
  ],
  [
    "triples",
    "",
    "/bin/x\n/bin/x.1\np\n",
    "/bin/x\n/bin/x.2\nq\n",
    /\/bin\/x: one and other have it differently/,
  ],
  ["append", "1\n", "1\n2\n", "1\n3\n", "1\n2\n3\n"],
  ["append", "1\n", "1\n2\n", "3\n", /other changed what was there already/],
  [
    "packages",
    "Package: a\nStatus: install ok installed\nVersion: 1\n\n",
    "Package: a\nStatus: install ok installed\nVersion: 2\n\nPackage: n\nVersion: 1\nDepends: a,\n b\n\n",
    "Package: a\nStatus: install ok installed\nVersion: 1\n\nPackage: r\nArchitecture: all\n\n",
    "Package: a\nStatus: install ok installed\nVersion: 2\n\nPackage: n\nVersion: 1\nDepends: a,\n b\n\nPackage: r\nArchitecture: all\n\n",
  ],
  [
    "packages",
    "Package: a\nVersion: 1\n\n",
    "Package: a\nVersion: 2\n\n",
    "Package: a\nVersion: 3\n\n",
    /package a: one has 2, other has 3/,
  ],
  [
    "packages",
    "Package: a\nVersion: 1\n\n",
    "\n",
    "Package: a\nVersion: 3\n\n",
    /package a: one has removed it, other has 3/,
  ],
  [
    "packages",
    "Package: a\nStatus: 1\nAuto: 1\n\n",
    "Package: a\nStatus: 2\nAuto: 1\n\n",
    "Package: a\nStatus: 1\nAuto: 0\n\n",
    "Package: a\nStatus: 2\nAuto: 0\n\n",
  ],
  [
    "alternatives",
    "auto\n/usr/bin/pager\npager.1\n/man/pager.1\n\n/bin/more\n50\n/man/more.1\n\n",
    "auto\n/usr/bin/pager\npager.1\n/man/pager.1\n\n/bin/more\n50\n/man/more.1\n/usr/bin/most\n70\n\n\n",
    "auto\n/usr/bin/pager\npager.1\n/man/pager.1\n\n/bin/less\n77\n/man/less.1\n/bin/more\n50\n/man/more.1\n\n",
    "auto\n/usr/bin/pager\npager.1\n/man/pager.1\n\n/bin/less\n77\n/man/less.1\n/bin/more\n50\n/man/more.1\n" +
    "/usr/bin/most\n70\n\n\n",
  ],
  [
    "alternatives",
    "auto\n/usr/bin/x\n\n/bin/a\n1\n\n",
    "auto\n/usr/bin/x\n\n/bin/a\n2\n\n",
    "auto\n/usr/bin/x\n\n/bin/a\n3\n\n",
    /\/bin\/a: one and other have it differently/,
  ],
  [
    "alternatives",
    "auto\n/usr/bin/x\n\n/bin/a\n1\n\n",
    "manual\n/usr/bin/x\n\n/bin/a\n1\n\n",
    "auto\n/usr/bin/x\n\n/bin/a\n3\n\n",
    /by hand, or with other slaves/,
  ],
  [
    "stanzas",
    "Name: q\nOwners: a\n\n",
    "Name: q\nOwners: a, n\n\n",
    "Name: q\nOwners: a, r\n\n",
    "Name: q\nOwners: a, n, r\n\n",
  ],
];

test.each(DRIVEN)("driver %s merges %j with %j and %j", (driver, base, one, other, expected) => {
  const made = runDriver(driver, base === "" ? undefined : bytes(base), [
    { name: "one", bytes: bytes(one) },
    { name: "other", bytes: bytes(other) },
  ]);
  if (typeof expected === "string") expect("bytes" in made ? text(made.bytes) : made).toBe(expected);
  else expect("conflicts" in made ? made.conflicts.join() : made).toMatch(expected);
});

test("a policy says who is right, which drivers there are, and is refused when it says something else", () => {
  const read = (value: unknown): Policy => readPolicy(bytes(JSON.stringify(value)));
  const policy = read({
    drivers: [{ path: "etc/*.list", driver: "lines" }],
    resolve: [{ path: "etc/**", take: "base" }],
  });
  expect(policy.drivers[0]).toEqual({ path: "etc/*.list", driver: "lines" });
  expect(policy.drivers.length).toBe(DEFAULT_POLICY.drivers.length + 1);
  for (
    const bad of [
      ...[[], { what: 1 }, { drivers: [{ path: "x", driver: "toString" }] }, { resolve: [{ path: "x" }] }, {
        mtime: "x",
      }],
      ...[{ drivers: {} }, { ports: 1 }],
    ]
  ) expect(() => read(bad), JSON.stringify(bad)).toThrow(ApplianceError);
  for (
    const [pattern, path, is] of [
      ["etc/passwd", "etc/passwd", true],
      ["etc/passwd", "etc/passwd-", false],
      ["etc/*.dat", "etc/x.dat", true],
      ["etc/*.dat", "etc/x/y.dat", false],
      ["var/log/**", "var/log/apt/term.log", true],
      ["**/x", "a/b/x", true],
      ["*", "a/b", false],
      ["a*b*c", "axxbxxc", true],
      ["a*b*c", "axxbxx", false],
    ] as const
  ) expect(fits(pattern, path), `${pattern} ${path}`).toBe(is);
});
