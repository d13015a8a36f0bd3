import { once } from "node:events";
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { errors, Host } from "../../mod.ts";
import type { Service } from "../../checkpoint/appliances/appliance.ts";
import { openContainer } from "../../serve/launch/container/container.ts";
import type { LaunchEvent } from "../../serve/launch/launched.ts";
import { serviceOf } from "../serve/launch/services.ts";
import { TemporaryFolder } from "../support/folder.ts";
import { judge, whichProgram } from "../support/judge.ts";
import { NetworkNamespace } from "../support/netns.ts";
import { RUN_ON } from "../support/runtimes.ts";

const CLI = fileURLToPath(new URL("../../cli/torpor.ts", import.meta.url));
const NEEDS = ["root", "tun", "ip", "unshare", "nsenter", "setpriv", "busybox"] as const;
const APPLETS = ["sh", "httpd", "nc", "cat", "id", "sleep", "ps", "echo", "ls"];

/** A small root file system: a static busybox, and what two appliances have brought. */
function makeTree(root: string): void {
  for (const name of ["bin", "etc", "www", "srv"]) mkdirSync(`${root}/${name}`, { recursive: true });
  cpSync(whichProgram("busybox")!, `${root}/bin/busybox`, { dereference: true });
  for (const name of APPLETS) symlinkSync("busybox", `${root}/bin/${name}`);
  writeFileSync(`${root}/etc/passwd`, "root:x:0:0::/:/bin/sh\nweb:x:33:44::/www:/bin/sh\n");
  writeFileSync(`${root}/etc/group`, "web:x:44:\nlogs:x:55:web\n");
  writeFileSync(`${root}/www/index.html`, "from the first appliance\n");
}

/** Who answers on port 7 with what it is: `HOME`, its groups, working directory and a variable with everything in it. */
const SECOND = serviceOf("second", ["nc", "-ll", "-p", "7", "-e", "/bin/sh", "-c"], {
  cmd: ['echo "$HOME $ODD $PWD"; id; sleep 0.01 & cat /proc/1/comm /proc/1/root/etc/passwd 2>&1; ls /'],
  ...{ env: ["ODD=a 'b' $c\n\\", "odd.name=1"], user: "web", workingDir: "/srv", ports: ["7/tcp"] },
});
const FIRST = serviceOf("first", ["httpd", "-f", "-p", "80", "-h", "/www"], { ports: ["80/tcp"] });

/** The services, known by an environment that names the test's folder. */
function servicesIn(folder: TemporaryFolder): Service[] {
  const env = [`TEST=${folder.path}`];
  return [{ ...FIRST, env }, { ...SECOND, env: [...SECOND.env, ...env] }];
}

/** What would be left of a container of a test: processes and mounts that its folder is in. */
function leftovers({ path }: TemporaryFolder): string[] {
  const processes = readdirSync("/proc").filter((name) => /^\d+$/.test(name)).filter((pid) => {
    try {
      return ["cmdline", "environ"].some((file) =>
        readFileSync(`/proc/${pid}/${file}`, "utf8").includes(path)
      );
    } catch {
      return false; // gone meanwhile
    }
  });
  const mounts = readFileSync("/proc/self/mounts", "utf8").split("\n").filter((line) => line.includes(path));
  return [...processes.map((pid) => `process ${pid}`), ...mounts];
}

async function ask(host: Host, port: number, text: string): Promise<string> {
  using conn = await host.connect({ hostname: "10.8.0.2", port });
  if (text !== "") await conn.write(new TextEncoder().encode(text));
  return await new Response(conn.readable).text();
}

judge(
  "programs of two appliances in a container answer on our stack, end when asked, and leave nothing",
  NEEDS,
  async () => {
    using folder = new TemporaryFolder();
    const root = folder.file("tree");
    makeTree(root);
    const events: LaunchEvent[] = [];
    let output = "";
    const services: Service[] = [
      ...[
        ...servicesIn(folder),
        serviceOf("missing", ["/no/such/program"]),
        serviceOf("killed", ["sh", "-c", "kill -9 $$"]),
      ],
      // It leaves an orphan behind, which the init has to bury, and does not listen to SIGTERM.
      serviceOf("deaf", [
        "sh",
        "-c",
        "(sleep 0.05 &); trap '' TERM; echo 'deaf is here' >/srv/written; cat /srv/written; while :; do sleep 0.1; done",
      ]),
    ];
    const container = await openContainer({
      ...{ root, services, address: "10.8.0.2", hostname: "both", graceMs: 300 },
      onEvent: (event) => void events.push(event),
      onOutput: (bytes) => void (output += new TextDecoder().decode(bytes)),
    });
    using host = new Host({
      interfaces: [{ link: container.link }],
      addresses: [{ address: "10.8.0.1/24" }],
      onLinkClosed: () => {},
    });
    try {
      await container.start();
      const web = await retried(() => ask(host, 80, "GET / HTTP/1.0\r\n\r\n"));
      expect(web).toContain("from the first appliance");
      const second = await retried(() => ask(host, 7, ""));
      expect(second).toContain("/www a 'b' $c\n\\ /srv\n");
      expect(second).toContain("uid=33(web) gid=44(web) groups=44(web),55(logs)");
      expect(second).toContain("sh\n"); // the first process is the init
      expect(second).toMatch(/root\/etc\/passwd.*Permission denied/); // whose root nobody may see
      expect(second).not.toContain(".torpor");
      while (
        !output.includes("deaf is here") || events.filter(({ state }) => state === "exited").length < 2
      ) {
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      expect(events).toContainEqual({ service: "missing", state: "exited", code: 127 });
      expect(events).toContainEqual({ service: "killed", state: "exited", code: 137, signal: "SIGKILL" });
      expect(output).toContain("'/no/such/program'");
      expect(existsSync(`${root}/srv/written`)).toBe(false); // the tree is only read
    } finally {
      await container.stop();
    }
    await container.done;
    expect(events.slice(-3)).toEqual([
      { service: "deaf", state: "stopped", killed: true },
      { service: "second", state: "stopped", killed: false },
      { service: "first", state: "stopped", killed: false },
    ]);
    expect(leftovers(folder)).toEqual([]);
    expect(readdirSync(root).sort()).toEqual(["bin", "etc", "srv", "www"]);
  },
);

judge("a container that cannot be made is refused by what is wrong, and leaves nothing", NEEDS, async () => {
  using folder = new TemporaryFolder();
  const root = folder.file("tree");
  makeTree(root);
  const open = (more: Partial<Service>, address = "10.8.0.2", at = root, state?: string): Promise<unknown> =>
    openContainer({
      ...{ root: at, address, services: [{ ...FIRST, ...more }] },
      ...state === undefined ? {} : { state },
    });
  await expect(open({ user: "mysql" })).rejects.toThrow(
    'Cannot launch "first": User "mysql" is not in the tree',
  );
  await expect(open({ env: ["-u"] })).rejects.toThrow('"-u" of its environment is no NAME=value');
  await expect(open({ entrypoint: ["A=1"] })).rejects.toThrow('has a "=" in its name');
  await expect(open({ entrypoint: [] })).rejects.toThrow("it has no program");
  await expect(open({}, "10.8.0.2", root, folder.file("a,b"))).rejects.toThrow("a path without spaces");
  await expect(open({}, "ten.eight")).rejects.toThrow(/Cannot make a container: .*ten\.eight/); // says ip
  symlinkSync(folder.path, `${root}/proc`);
  await expect(open({})).rejects.toThrow("its /proc is a link or of another kind");
  expect(leftovers(folder)).toEqual([]);
  expect(readdirSync(folder.path)).toEqual(["tree"]);
});

/** What answers once a program listens. */
async function retried(question: () => Promise<string>): Promise<string> {
  for (;;) {
    try {
      return await question();
    } catch (error) {
      if (!(error instanceof errors.ConnectionRefused)) throw error;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

for (
  const [runtime, ending, signal] of [["deno", "asked to", "SIGTERM"], ["bun", "killed", "SIGKILL"]] as const
) {
  judge(
    `torpor appliance launch --container on ${runtime}: curl reaches what the firewall lets through, and ${ending} end it leaves nothing running`,
    [
      ...[...NEEDS, "curl"],
    ],
    async () => {
      using folder = new TemporaryFolder();
      using netns = new NetworkNamespace();
      const root = folder.file("tree");
      makeTree(root);
      const { name: first } = FIRST;
      writeFileSync(folder.file("services.json"), JSON.stringify(servicesIn(folder)));
      writeFileSync(
        folder.file("rules.nft"),
        "table ip t { chain c { type filter hook forward priority 0; tcp dport 7 reject with tcp reset; }; }\n",
      );
      netns.run("ip", "tuntap", "add", "tor0", "mode", "tun");
      netns.configure("tor0", "10.7.0.2/24");
      const options = [
        "--container",
        "--state",
        folder.file("kept"),
        "--firewall",
        folder.file("rules.nft"),
        "--json",
      ];
      const command = [CLI, "appliance", "launch", root, folder.file("services.json"), ...options];
      const [program, ...args] = RUN_ON[runtime];
      const child = netns.start(program!, [...args, ...command]);
      let out = "";
      child.stdout!.on("data", (bytes: Uint8Array) => void (out += new TextDecoder().decode(bytes)));
      const closed = once(child, "close");
      while (out.split('"started"').length < 3 && child.exitCode === null) {
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      const curl = ["-sS", "--retry", "5", "--retry-connrefused", "--retry-delay", "0"];
      expect(netns.run("curl", ...curl, "http://10.7.0.10/")).toBe("from the first appliance\n");
      expect(() => netns.run("curl", "-sS", "telnet://10.7.0.10:7")).toThrow(/connect to server/); // by the firewall
      child.kill(signal);
      await closed;
      if (signal === "SIGTERM") {
        expect(child.exitCode, out).toBe(0);
        expect(JSON.parse(out.trim().split("\n").at(-1)!)).toEqual({
          ...{ service: first, state: "stopped", killed: false },
        });
      }
      for (let turn = 0; turn < 500 && leftovers(folder).length > 0; turn++) {
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      expect(leftovers(folder)).toEqual([]);
      expect(existsSync(folder.file("kept/upper/etc/hosts"))).toBe(true); // what was written is kept where it was told
    },
  );
}
