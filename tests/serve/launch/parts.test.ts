import { existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { addressesFor } from "../../../cli/appliance/addresses.ts";
import { resolveInTree } from "../../../serve/launch/in_tree.ts";
import { checkServices, SERVICES_MAX } from "../../../serve/launch/launched.ts";
import { moduleOf } from "../../../serve/launch/sandbox/module_of.ts";
import { checkMachine } from "../../../serve/launch/container/machine.ts";
import { userOf } from "../../../serve/launch/container/user.ts";
import { TemporaryFolder } from "../../support/folder.ts";
import { serviceOf } from "./services.ts";

test("a command line of an image tells its module, whatever runs it there", () => {
  const moduleIn = (words: string[], workingDir = ""): unknown =>
    moduleOf(serviceOf("x", words.slice(0, 1), { cmd: words.slice(1), workingDir }));
  expect(moduleIn(["node", "server.js", "--fast"], "/app")).toEqual({
    path: "/app/server.js",
    args: ["--fast"],
  });
  expect(moduleIn(["/usr/bin/deno", "run", "-A", "--config", "deno.json", "/app/main.ts"])).toEqual({
    path: "/app/main.ts",
    args: [],
  });
  expect(moduleIn(["deno", "serve", "--port", "80", "a.tsx"])).toEqual({ path: "//a.tsx", args: [] });
  expect(moduleIn(["node", "--import", "tsx", "a.mts"])).toMatchObject({ path: "//a.mts" });
  expect(moduleIn(["bun", "x.ts"])).toMatchObject({ path: "//x.ts" });
  expect(moduleIn(["/srv/x.mjs", "a"])).toEqual({ path: "/srv/x.mjs", args: ["a"] });
  for (const words of [["nginx", "-g", "daemon off;"], ["node"], ["deno", "run", "-A"], ["sh", "x.js"]]) {
    expect(() => moduleIn(words), words.join(" ")).toThrow(/starts no module/);
  }
});

test("a program for another processor is not what this machine is the environment of", () => {
  using folder = new TemporaryFolder();
  const root = folder.file("root");
  mkdirSync(`${root}/usr/bin`, { recursive: true });
  symlinkSync("/usr/bin", `${root}/bin`);
  const elf = (machine: number, isLittle: boolean): Uint8Array => {
    const head = new Uint8Array(64);
    head.set([0x7f, 0x45, 0x4c, 0x46, 2, isLittle ? 1 : 2]);
    new DataView(head.buffer).setUint16(18, machine, isLittle);
    return head;
  };
  writeFileSync(`${root}/usr/bin/intel`, elf(62, true));
  writeFileSync(`${root}/usr/bin/arm`, elf(183, true));
  writeFileSync(`${root}/usr/bin/big`, elf(22, false));
  writeFileSync(`${root}/usr/bin/script`, "#!/bin/sh\n");
  const check = (program: string, processor: string): void =>
    checkMachine(root, program, "/sbin:/bin", processor);
  for (const program of ["intel", "/bin/intel", "script", "missing"]) check(program, "x64");
  check("big", "s390x");
  check("arm", "mips"); // of which we know nothing
  const emulators = "/proc/sys/fs/binfmt_misc";
  if (existsSync(emulators) && readdirSync(emulators).some((name) => !/^(register|status)$/.test(name))) {
    return;
  }
  expect(() => check("arm", "x64")).toThrow('"arm" is for arm64, this machine is amd64');
  expect(() => check("/bin/intel", "arm64")).toThrow('"/bin/intel" is for amd64, this machine is arm64');
  expect(() => check("big", "x64")).toThrow("is for s390x");
});

test("paths of a tree are found as its own processes find them, and none leads out", () => {
  using folder = new TemporaryFolder();
  const root = folder.file("root");
  mkdirSync(`${root}/usr/bin`, { recursive: true });
  writeFileSync(`${root}/usr/bin/node`, "");
  symlinkSync("/usr/bin", `${root}/bin`);
  symlinkSync("../../../../../usr/bin/node", `${root}/usr/bin/js`);
  symlinkSync("/etc/passwd", `${root}/passwd`);
  symlinkSync("loop", `${root}/loop`);
  expect(resolveInTree(root, "/bin/node")).toBe(`${root}/usr/bin/node`);
  expect(resolveInTree(root, "bin/js")).toBe(`${root}/usr/bin/node`);
  expect(resolveInTree(root, "../../usr/./bin//node")).toBe(`${root}/usr/bin/node`);
  expect(resolveInTree(root, "passwd")).toBe(`${root}/etc/passwd`);
  expect(() => resolveInTree(root, "loop")).toThrow(/too many links/);
});

test("users of images are those of the tree, with its groups", () => {
  const passwd = "root:x:0:0:root:/root:/bin/sh\nredis:x:101:103::/var/lib/redis:/bin/false\nbroken\n";
  const group = "root:x:0:\nadm:x:4:redis,syslog\nredis:x:103:\nssl:x:200:redis\n";
  const user = (text: string): unknown => userOf(text, passwd, group);
  expect(user("")).toEqual({ uid: 0, gid: 0, groups: [], home: "/root" });
  const redis = { uid: 101, gid: 103, groups: [4, 200], home: "/var/lib/redis" };
  expect(user("redis")).toEqual(redis);
  expect(user("101")).toEqual(redis);
  expect(user("redis:adm")).toEqual({ ...redis, gid: 4, groups: [] });
  expect(user("7000:8000")).toEqual({ uid: 7000, gid: 8000, groups: [], home: "/" });
  expect(user("7000")).toEqual({ uid: 7000, gid: 0, groups: [], home: "/" });
  expect(userOf("0", "", "")).toEqual({ uid: 0, gid: 0, groups: [], home: "/" });
  for (const bad of ["nobody", "redis:nobody", "a:b:c", "4294967295", "-1", "1.5"]) {
    expect(() => user(bad), bad).toThrow(/is not in the tree's|is no user:group/);
  }
});

test("services get an address each, the next ones behind a single one, inside its network", () => {
  expect(addressesFor(["10.7.0.254/16"], 3)).toEqual(["10.7.0.254/16", "10.7.0.255/16", "10.7.1.0/16"]);
  expect(addressesFor(["fd00::1/64", "fd00::2/64"], 2)).toEqual(["fd00::1/64", "fd00::2/64"]);
  expect(addressesFor(["10.7.0.252/24"], 3)).toHaveLength(3);
  for (
    const [given, count] of [[["10.7.0.253/24"], 3], [["fd00::1/64"], 2], [["x"], 2], [[
      "10.7.0.1/24",
      "10.7.0.2/24",
    ], 3]] as const
  ) {
    expect(() => addressesFor(given, count), String(given)).toThrow(/--address/);
  }
});

test("nothing to start, too much of it, and two of one name are refused", () => {
  const many = Array.from({ length: SERVICES_MAX + 1 }, (_, index) => serviceOf(`s${index}`, ["x"]));
  checkServices(many.slice(1));
  expect(() => checkServices(many)).toThrow(/at most 64/);
  expect(() => checkServices([])).toThrow(/nothing says/);
  expect(() => checkServices([many[0]!, many[0]!])).toThrow(/two services are called "s0"/);
});
